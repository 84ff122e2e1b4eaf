//! [`Probe`]: one worker without a run, for `validate`, previews and single calls.

use std::time::{Duration, Instant};
use std::{io, vec};

use runner_model::protocol::{FromWorker, ReportHead, Task, TaskKind};
use runner_model::provider::{Description, Provider};
use runner_model::row::{check_grade, check_row};
use runner_model::{StopSignal, TaskId, WorkerId, prepare::Ready};
use runner_prepare::machine;

use crate::signals::{self, ListenerGuard, SignalEvent};
use crate::workers::{Input, Pool, PrestartedWorker, Supplies, WorkerExit};
use crate::{EngineError, error::machine_error, plan::Checks, schedule::Shape};

/// Time for the worker to exit at the end.
const EXIT_WITHIN: Duration = Duration::from_millis(200);
/// Interval at which the silence of the worker is checked.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Silence after which the worker counts as stuck. Compilations are not silence, and an attempt adds its timeout.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// An event of a call.
#[derive(Debug)]
pub enum CallEvent<'a> {
    /// The cache lacks a plugin, so it is being compiled. Holds its name in the scenario.
    Compiling(&'a str),
    /// A message for the user.
    Notice(&'a str),
    /// The plugin was loaded, but may refuse its configuration. `None` if it does not describe itself, or failed to.
    Described(Option<Description>),
    /// A piece of an artifact. The caller must check names and sizes.
    Artifact {
        /// Index of the artifact in the row.
        index: u32,
        /// Next bytes of the artifact.
        bytes: &'a [u8],
    },
    /// An unchecked log line of the worker.
    Log(&'a str),
}

/// The reply to a call.
#[derive(Clone, Debug, Default)]
pub struct CallReply {
    /// The row, or the grade of a task `Grade`, checked as in runs.
    pub row: Vec<u8>,
    /// Logs and output streams as JSON, see [`runner_model::log`]. Unchecked. Empty without logs.
    pub log: Vec<u8>,
}

/// Reason for a call without an answer.
#[derive(Debug)]
pub enum CallError {
    /// A signal stopped the call, maybe after the last answer.
    Stopped(StopSignal),
    /// The worker died. The text completes a sentence that starts with the worker.
    Lost(String),
    /// The worker sent nothing for too long.
    Late,
    /// The call was not made, or its answer is invalid.
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for CallError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl CallError {
    /// Returns the error of a command. `what` completes a sentence that starts with "while".
    pub(crate) fn into_error(self, what: &str) -> EngineError {
        EngineError::Usage(match self {
            Self::Failed(error) => return error,
            Self::Stopped(signal) => return EngineError::Stopped(signal),
            Self::Lost(how) => format!("while {what}, the worker {how}"),
            Self::Late => format!("while {what}, the worker sent nothing for too long"),
        })
    }
}

/// One worker without a run.
pub(crate) struct Probe {
    pool: Pool,
    /// Longest silence of the worker.
    max_silence: Duration,
    signal: Option<StopSignal>,
    /// `None` before the worker can take tasks.
    worker: Option<WorkerId>,
    /// Received messages that are not handled.
    messages: vec::IntoIter<FromWorker>,
    last_input: Instant,
    _listener: ListenerGuard,
    /// Dropped after the listener.
    _exit: ExitOnSignal,
}

/// Calls [`signals::exit_on_signal`] when it is dropped: the handlers stay after a probe, and planning has no listener.
struct ExitOnSignal;

impl Drop for ExitOnSignal {
    fn drop(&mut self) {
        signals::exit_on_signal();
    }
}

impl Probe {
    /// Starts the worker.
    ///
    /// # Errors
    ///
    /// No temporary folder, thread or process can be created.
    pub(crate) fn start(
        prestarted: PrestartedWorker,
        supplies: Supplies,
    ) -> Result<Self, EngineError> {
        let mut pool = Pool::new(prestarted, supplies, None).map_err(machine_error)?;
        pool.start(&[Shape { slots: 1, graders: 0, memory: machine::memory() }])
            .map_err(machine_error)?;
        let sender = pool.sender();
        let listening = signals::add_listener(move |signal| {
            // Without a receiver the probe has ended.
            let _ = sender.send(Input::Signal(signal));
        });
        Ok(Self {
            pool,
            max_silence: MAX_SILENCE,
            signal: None,
            worker: None,
            messages: Vec::new().into_iter(),
            last_input: Instant::now(),
            _listener: listening.map_err(machine_error)?,
            _exit: ExitOnSignal,
        })
    }

    /// Waits for the descriptions of all plugins. Some may have problems.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be compiled, or a worker that cannot be used or has ended.
    pub(crate) fn describe(&mut self, compiling: &mut dyn FnMut(&str)) -> Result<Ready, CallError> {
        loop {
            match self.next()? {
                Input::Described(ready) => return Ok(ready),
                Input::Compiling(plugin) => compiling(&plugin),
                _ => {}
            }
        }
    }

    /// Fails if a plugin has problems.
    pub(super) fn check(&self, ready: &Ready) -> Result<(), EngineError> {
        let problems = self.pool.problems(ready);
        problems.map_or(Ok(()), |(reason, problems)| Err(EngineError::of_pool(reason, problems)))
    }

    pub(crate) fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// Queues a task with its test's line for the next call of [`Self::next_message`]. No provider may have problems.
    ///
    /// # Errors
    ///
    /// A long line cannot be written to the temporary folder.
    pub(crate) fn assign(&mut self, task: Task, line: &[u8]) -> io::Result<()> {
        if self.worker.is_none() {
            self.worker = self.pool.next_ready().map(|ready| ready.worker);
        }
        if let Some(worker) = self.worker {
            self.pool.assign(worker, task, line)?;
        }
        Ok(())
    }

    /// Waits for the next report of a task.
    ///
    /// # Errors
    ///
    /// A worker that cannot be used or has ended.
    pub(crate) fn next_report(&mut self) -> Result<(ReportHead, Vec<u8>), CallError> {
        loop {
            if let FromWorker::Report { head, body } = self.next_message()? {
                return Ok((head, body));
            }
        }
    }

    /// Waits for the next message about a task or for the log.
    fn next_message(&mut self) -> Result<FromWorker, CallError> {
        loop {
            if let Some(message) = self.messages.next() {
                return Ok(message);
            }
            if let Input::Messages(_, messages) = self.next()? {
                self.messages = messages.into_iter();
            }
        }
    }

    /// Waits for the next event.
    fn next(&mut self) -> Result<Input, CallError> {
        loop {
            self.pool.flush();
            let input = self.pool.next(POLL_EVERY);
            if input.is_some() {
                self.last_input = Instant::now();
            }
            match input {
                Some(Input::Interrupted(message)) => {
                    return Err(EngineError::Interrupted(message).into());
                }
                Some(Input::Failed(reason, message)) => {
                    return Err(EngineError::of_pool(reason, message).into());
                }
                // The pool replaces a worker that dies before it takes tasks.
                Some(Input::Exited(_, WorkerExit { how, .. }))
                    if self.worker.is_some() || self.signal.is_some() =>
                {
                    // The exit is a consequence of the signal.
                    return Err(self.signal.map_or(CallError::Lost(how), CallError::Stopped));
                }
                Some(Input::Messages(_, messages))
                    if let Some(signal) = self.signal
                        && messages.iter().any(|one| matches!(one, FromWorker::Returned(_))) =>
                {
                    // A worker that had not started the task does not exit by itself.
                    return Err(CallError::Stopped(signal));
                }
                Some(Input::Signal(SignalEvent::Stop(signal, is_second))) => {
                    self.signal = Some(signal);
                    if is_second || self.worker.is_none() {
                        return Err(CallError::Stopped(signal));
                    }
                    // The exit of the worker that has the task ends the call.
                    self.pool.stop(false);
                }
                Some(Input::Signal(SignalEvent::Suspend)) => signals::suspend(),
                Some(input) => return Ok(input),
                None if self.last_input.elapsed() > self.max_silence
                    && !self.pool.is_supplying() =>
                {
                    return Err(self.signal.map_or(CallError::Late, CallError::Stopped));
                }
                None => {}
            }
        }
    }

    /// Checks a task's input by the schema of its provider.
    pub(super) fn check_input(&mut self, task: &Task, body: &[u8]) -> Result<(), CallError> {
        let check = Task { id: TaskId(0), kind: TaskKind::Check, ..task.clone() };
        self.assign(check, body).map_err(machine_error)?;
        let (head, answer) = self.next_report()?;
        let mut problems = Checks::read_answer(&answer[..head.row_bytes as usize]).into_iter();
        let Some(refusal) = problems.find(|problem| problem.code == "input") else { return Ok(()) };
        let (provider, message) = (&task.trial.provider, refusal.message);
        Err(EngineError::Usage(format!("provider `{provider}` {message}")).into())
    }

    /// Runs one attempt to its end.
    pub(super) fn run(
        &mut self,
        task: &Task,
        body: &[u8],
        provider: &Provider,
        on_event: &mut dyn FnMut(CallEvent<'_>),
    ) -> Result<CallReply, CallError> {
        self.max_silence += Duration::from(task.timeout);
        self.assign(task.clone(), body).map_err(machine_error)?;
        loop {
            match self.next_message()? {
                FromWorker::Artifact { task: id, index, bytes } if id == task.id => {
                    on_event(CallEvent::Artifact { index, bytes: &bytes });
                }
                FromWorker::Report { head, body } if head.task == task.id => {
                    let (row, log) = body.split_at(head.row_bytes as usize);
                    let checked = match task.kind {
                        TaskKind::Grade => check_grade(row, &provider.name, task.attempt).map(drop),
                        _ => check_row(row, task, &provider.limits).map(drop),
                    };
                    checked.map_err(|error| {
                        EngineError::Usage(format!("the worker reported {error}"))
                    })?;
                    let reply = CallReply { row: row.to_vec(), log: log.to_vec() };
                    return self.signal.map_or(Ok(reply), |signal| Err(CallError::Stopped(signal)));
                }
                // The other run has it.
                FromWorker::Entry { task: id, is_last: true, .. } if id == task.id => {
                    if let Some(worker) = self.worker {
                        self.pool.answer_entry(worker, id);
                    }
                }
                FromWorker::Log(line) => on_event(CallEvent::Log(&line)),
                _ => {}
            }
        }
    }
}

impl Drop for Probe {
    /// Waits up to [`EXIT_WITHIN`] for the worker to exit by itself. Dropping the pool kills it.
    fn drop(&mut self) {
        self.pool.finish();
        self.pool.wait_for_exits(EXIT_WITHIN);
    }
}
