//! One worker without a run: for `validate`, dry runs and single calls of a plugin.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{collections::BTreeMap, io, slice, vec};

use runner_model::protocol::{FromWorker, Recorded, ReportHead, Task, TaskKind};
use runner_model::provider::{Description, PreparedProvider, Provider};
use runner_model::{
    Digest, ErrorClass, Limits, Micros, StopSignal, TaskId, Time, WorkerId,
    prepare::Ready,
    row::{check_grade, check_row},
    test::Test,
};
pub use runner_prepare::compiler::Inspection;
use runner_prepare::mounts::{self, Protected};
use runner_prepare::{
    ContentSource, PrepareError, Secrets, compiler, development, machine as limits, plugins,
};
use runner_record::PluginCache;
use runner_scenario::{ProviderProblem, unseen_values};

use crate::signals::{self, ListenerGuard, SignalEvent};
use crate::workers::{Input, Pool, PrestartedWorker, Supplies, WorkerExit, prestart};
use crate::{EngineError, error::machine_error, plan::Checks, schedule::Shape};

/// Time for the worker to exit at the end.
const EXIT_WITHIN: Duration = Duration::from_millis(200);
/// Interval at which the silence of the worker is checked.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Silence after which the worker counts as stuck. Compilations are not silence, and an attempt adds its timeout.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// A call of a plugin outside any run. Writes to the plugin cache only.
#[derive(Clone, Debug)]
pub struct Call {
    /// The provider. Paths are relative to the current folder.
    pub provider: Provider,
    /// Attachments and schemas of the test, by digest.
    pub files: BTreeMap<Digest, PathBuf>,
    /// Files with values of secrets.
    pub secret_files: Vec<PathBuf>,
    /// Folder that the caller writes artifacts to. Mounts that could replace it are refused.
    pub artifacts: Option<PathBuf>,
    /// The attempt with its test's line, and the stored row of a task `Grade`. `None` only describes the plugin.
    pub task: Option<(Task, Vec<u8>)>,
}

/// An event of a call.
#[derive(Debug)]
pub enum CallEvent<'a> {
    /// The cache lacks a plugin, so it is being compiled. Holds its name in the scenario.
    Compiling(&'a str),
    /// A message for the user.
    Notice(&'a str),
    /// The plugin was loaded, but may refuse its configuration. `None` if it does not describe itself, or failed to.
    Described(Option<Description>),
    /// A piece of an artifact. All pieces precede the report. The caller must check names and sizes.
    Artifact {
        /// Index of the artifact in the row.
        index: u32,
        /// Next bytes of the artifact.
        bytes: &'a [u8],
    },
    /// The attempt has ended.
    Report {
        /// The row, or the grade of a task `Grade`, checked as in runs.
        row: &'a [u8],
        /// Logs and output streams as JSON, see [`runner_model::log`]. Unchecked; empty if there are none.
        log: &'a [u8],
    },
    /// An unchecked log line of the worker.
    Log(&'a str),
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// All answers were received.
    Done,
    /// A signal stopped the call, maybe after the last answer.
    Stopped(StopSignal),
    /// The worker died. The text completes a sentence that starts with the worker.
    Lost(String),
    /// The worker sent nothing for too long.
    Late,
}

impl CallEnd {
    /// Returns the error of a call that ended early. `what` completes a sentence that starts with "while".
    pub fn into_error(self, what: &str) -> EngineError {
        EngineError::Usage(match self {
            Self::Stopped(signal) => return EngineError::Stopped(signal),
            Self::Lost(how) => format!("while {what}, the worker {how}"),
            Self::Done | Self::Late => {
                format!("while {what}, the worker sent nothing for too long")
            }
        })
    }
}

/// Why a worker gives no answer.
pub(crate) enum ProbeError {
    Ended(CallEnd),
    Failed(EngineError),
}

impl From<EngineError> for ProbeError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

impl ProbeError {
    /// Returns the end of a call.
    pub(crate) fn end(self) -> Result<CallEnd, EngineError> {
        match self {
            Self::Ended(end) => Ok(end),
            Self::Failed(error) => Err(error),
        }
    }

    /// Returns the error. `what` completes a sentence that starts with "while".
    pub(crate) fn into_error(self, what: &str) -> EngineError {
        match self {
            Self::Ended(end) => end.into_error(what),
            Self::Failed(error) => error,
        }
    }
}

/// Starts one worker, makes a call, and passes its events to `on_event`.
///
/// # Errors
///
/// An unusable plugin, secrets without a value, or an invalid report of the worker.
pub fn call(call: Call, on_event: &mut dyn FnMut(CallEvent<'_>)) -> Result<CallEnd, EngineError> {
    let prestarted = prestart()?;
    let cache = PluginCache::open()?;
    let provider = slice::from_ref(&call.provider);
    let (mut providers, plugins, problems) = plugins::find(provider, Path::new("."), &cache)?;
    refuse(&problems)?;
    let problems = mounts::find(&mut providers, Path::new("."), || {
        let files = call.files.values().chain(&call.secret_files);
        let files = files.map(|file| Protected::file("a file of this command", file));
        let mut protected = Protected::for_process(&cache);
        protected.push(Protected::file("a plugin", &call.provider.plugin));
        protected.extend(files);
        let artifacts = call.artifacts.iter();
        protected.extend(artifacts.map(|path| Protected::folder("the folder of artifacts", path)));
        protected
    });
    refuse(&problems)?;
    let secrets = Secrets::read(&providers, None, &call.secret_files)?;
    refuse(&secrets.problems(&providers))?;
    let unseen = call.task.as_ref().map(|(task, line)| unseen(&providers[0], task, line));
    let notices = secrets.notices.iter().cloned().chain(unseen.into_iter().flatten());
    let notices = notices.chain(plugins::unused_keys(&providers, &plugins));
    for notice in notices.chain(development::notices(&providers, &cache)) {
        on_event(CallEvent::Notice(&notice));
    }
    let supplies = Supplies {
        run: "plugin-run".to_owned(),
        session: 1,
        scenario: String::new(),
        grace: Default::default(),
        providers,
        plugins,
        blobs: ContentSource::from_files(call.files),
        secrets: secrets.values,
        cache,
        quick: true,
    };
    call_supplied(prestarted, supplies, call.task, None, on_event).or_else(ProbeError::end)
}

/// Returns a warning for each value that the plugin of a call never gets. The input of a grader is that of the test.
fn unseen(prepared: &PreparedProvider, task: &Task, line: &[u8]) -> Vec<String> {
    let test: Option<Test<'_>> = serde_json::from_slice(line).ok();
    let has_input = test.is_some_and(|test| test.has_only_input());
    if task.kind == TaskKind::Run { unseen_values(prepared, has_input) } else { Vec::new() }
}

/// The calls of an attempt that is replayed.
pub(crate) struct ReplayedCalls {
    /// Its lines in `calls.jsonl`.
    pub(crate) lines: Vec<u8>,
    pub(crate) start: Time,
}

/// Starts the worker of a call with everything that it needs.
pub(crate) fn call_supplied(
    prestarted: PrestartedWorker,
    mut supplies: Supplies,
    task: Option<(Task, Vec<u8>)>,
    replayed: Option<ReplayedCalls>,
    on_event: &mut dyn FnMut(CallEvent<'_>),
) -> Result<CallEnd, ProbeError> {
    // There is no run that could keep a journal.
    for prepared in supplies.providers.iter_mut().filter(|_| replayed.is_none()) {
        prepared.provider.deterministic.iter_mut().for_each(|one| one.journal = None);
    }
    let place = task.as_ref().map_or(0, |(task, _)| usize::from(task.provider));
    let provider = supplies.providers[place].provider.clone();
    let graded = provider.grading.as_ref().and_then(|grading| grading.workspace.as_ref());
    if provider.workspace.is_some() || graded.is_some() {
        limits::check_links().map_err(EngineError::Machine)?;
    }
    let mut probe = Probe::start(prestarted, supplies)?;
    signals::pass("describe");
    let mut ready = probe.describe(&mut |plugin| on_event(CallEvent::Compiling(plugin)))?;
    if task.is_none() {
        // No configuration was given.
        for about in &mut ready.providers {
            about.problem.take_if(|problem| problem.class == ErrorClass::InvalidConfig);
        }
    }
    let problems = probe.pool.problems(&ready);
    let description = ready.providers.into_iter().nth(place).and_then(|about| about.description);
    let has_input = description.as_ref().is_some_and(|about| about.input_schema.is_some());
    on_event(CallEvent::Described(description));
    if let Some((reason, problems)) = problems {
        return Err(EngineError::of_pool(reason, problems).into());
    }
    if let Some((task, line)) = &task
        && has_input
        && task.kind == TaskKind::Run
    {
        probe.check_input(task, line)?;
    }
    signals::pass("call");
    match task {
        Some((mut task, line)) => {
            if let Some(ReplayedCalls { lines, start }) = replayed {
                let sha256 = probe.pool.put_lines(&lines).map_err(machine_error)?;
                let replayed = Some(start);
                task.recorded = Some(Recorded { sha256, continued: 0, used: Micros(0), replayed });
            }
            probe.attempt(&task, &line, &provider, on_event)
        }
        None => Ok(CallEnd::Done),
    }
}

fn refuse(problems: &[ProviderProblem]) -> Result<(), EngineError> {
    let lines = problems.iter().map(|problem| match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    });
    if problems.is_empty() {
        Ok(())
    } else {
        Err(EngineError::Usage(lines.collect::<Vec<_>>().join("\n")))
    }
}

/// Inspects a plugin, whose path is relative to the current folder. Returns the SHA-256 and the length of its file, and its
/// kind, imports and exports.
///
/// # Errors
///
/// A file that is missing or not a plugin.
pub fn inspect(plugin: &str) -> Result<(Digest, u64, Inspection), EngineError> {
    let cache = PluginCache::open()?;
    let inspect = || {
        let found = plugins::read(plugin, Path::new("."), Limits::default().file)?;
        let inspection = compiler::inspect(&cache, &found.digest, found.copy)?;
        Ok((found.digest, found.bytes, inspection))
    };
    inspect().map_err(|error| match error {
        PrepareError::Refused(problem) => {
            EngineError::Usage(format!("plugin `{plugin}` {problem}"))
        }
        PrepareError::Interrupted(problem) => {
            EngineError::Interrupted(format!("plugin `{plugin}` {problem}"))
        }
        error => error.into(),
    })
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
        pool.start(&[Shape { slots: 1, graders: 0, memory: limits::memory() }])
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
    pub(crate) fn describe(
        &mut self,
        compiling: &mut dyn FnMut(&str),
    ) -> Result<Ready, ProbeError> {
        loop {
            match self.next()? {
                Input::Described(ready) => return Ok(ready),
                Input::Compiling(plugin) => compiling(&plugin),
                _ => {}
            }
        }
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
    pub(crate) fn next_report(&mut self) -> Result<(ReportHead, Vec<u8>), ProbeError> {
        loop {
            if let FromWorker::Report { head, body } = self.next_message()? {
                return Ok((head, body));
            }
        }
    }

    /// Waits for the next message about a task or for the log.
    fn next_message(&mut self) -> Result<FromWorker, ProbeError> {
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
    fn next(&mut self) -> Result<Input, ProbeError> {
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
                    return Err(ProbeError::Ended(self.end(CallEnd::Lost(how))));
                }
                Some(Input::Messages(_, messages))
                    if self.signal.is_some()
                        && messages.iter().any(|one| matches!(one, FromWorker::Returned(_))) =>
                {
                    // A worker that had not started the task does not exit by itself.
                    return Err(ProbeError::Ended(self.end(CallEnd::Done)));
                }
                Some(Input::Signal(SignalEvent::Stop(signal, is_second))) => {
                    self.signal = Some(signal);
                    if is_second || self.worker.is_none() {
                        return Err(ProbeError::Ended(self.end(CallEnd::Done)));
                    }
                    // The exit of the worker that has the task ends the call.
                    self.pool.stop(false);
                }
                Some(Input::Signal(SignalEvent::Suspend)) => signals::suspend(),
                Some(input) => return Ok(input),
                None if self.last_input.elapsed() > self.max_silence
                    && !self.pool.is_supplying() =>
                {
                    return Err(ProbeError::Ended(self.end(CallEnd::Late)));
                }
                None => {}
            }
        }
    }

    /// Checks a task's input by the schema of its provider.
    fn check_input(&mut self, task: &Task, line: &[u8]) -> Result<(), ProbeError> {
        let check = Task { id: TaskId(0), kind: TaskKind::Check, ..task.clone() };
        self.assign(check, line).map_err(machine_error)?;
        let (head, body) = self.next_report()?;
        let mut problems = Checks::read_answer(&body[..head.row_bytes as usize]).into_iter();
        let Some(refusal) = problems.find(|problem| problem.code == "input") else { return Ok(()) };
        let (provider, message) = (&task.trial.provider, refusal.message);
        Err(EngineError::Usage(format!("provider `{provider}` {message}")).into())
    }

    /// Runs one attempt to its end.
    fn attempt(
        &mut self,
        task: &Task,
        line: &[u8],
        provider: &Provider,
        on_event: &mut dyn FnMut(CallEvent<'_>),
    ) -> Result<CallEnd, ProbeError> {
        self.max_silence += Duration::from(task.timeout);
        self.assign(task.clone(), line).map_err(machine_error)?;
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
                    on_event(CallEvent::Report { row, log });
                    return Ok(self.end(CallEnd::Done));
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

    /// Returns `end`, or the signal if one was received: the worker's exit is only its consequence.
    fn end(&self, end: CallEnd) -> CallEnd {
        self.signal.map_or(end, CallEnd::Stopped)
    }
}

impl Drop for Probe {
    /// Waits up to [`EXIT_WITHIN`] for the worker to exit by itself. Dropping the pool kills it.
    fn drop(&mut self) {
        self.pool.finish();
        self.pool.wait_for_exits(EXIT_WITHIN);
    }
}
