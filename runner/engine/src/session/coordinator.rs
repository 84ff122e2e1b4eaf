//! [`Coordinator`]: the loop of a session. It passes events of workers, the writer, signals and requests to [`Schedule`], and
//! carries out its effects. [`Stage`] has the data of the session's current stage.

use std::time::{Duration, Instant};
use std::{panic::resume_unwind, thread};

use runner_model::{
    Reason, RunTime, StopSignal, WorkerId, protocol::FromWorker, row::Actor, units::show_duration,
    visible::visible_line,
};
use runner_prepare::machine;
use runner_record::{Fold, RecordError, Request, ResultsRoot, Share};
use tracing::debug;

use super::in_flight::CheckedReport;
use super::run_log::{describe, describe_actor};
use super::stage::{Stage, Sweep};
use super::{requests, watchdog::Watchdog};
use crate::clock::{Clock, monotonic};
use crate::event::{Ended, Observer, RunEvent};
use crate::plan::{Ids, Plan, provider_problems};
use crate::schedule::{Effect, Schedule, StopMode};
use crate::workers::{Input, Pool, WorkerExit};
use crate::{
    EngineError,
    signals::{self, SignalEvent},
};

/// Interval of progress events, in microseconds.
pub(super) const PROGRESS_EVERY: u64 = 100_000;
/// Run time before the first `live.json`, in microseconds. A shorter run has none.
pub(super) const FIRST_LIVE: u64 = 50_000;
/// Number of messages and other inputs after which the schedule decides.
const MAX_TURN: usize = 1000;
/// Time for the acknowledgements of rows before Ctrl-Z stops the process.
const ACKS_WITHIN: Duration = Duration::from_millis(200);
/// Interval at which a waiting session tries to lock the results root, in microseconds.
const TRY_ROOT_EVERY: u64 = 50_000;

/// The parts of a session that all of its stages use.
pub(super) struct Coordinator<'a> {
    pub(super) plan: &'a Plan,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) pool: Pool,
    /// Declared after `pool` to be dropped after it. Dropping it waits for the list of runs to be written, which can happen
    /// while the pool's folder is removed.
    pub(super) root: ResultsRoot,
    pub(super) share: Share,
    pub(super) schedule: Schedule,
    pub(super) clock: Clock,
    pub(super) fold: Fold,
    pub(super) watchdog: Watchdog,
    pub(super) stage: Stage,
    pub(super) now: RunTime,
    /// Run times of the next progress event and of the next `live.json`, in microseconds.
    pub(super) next_progress: u64,
    pub(super) next_live: u64,
    /// Plugins that are being compiled, with the start of each.
    pub(super) compiling: Vec<(String, RunTime)>,
    pub(super) stop: StopRequest,
    pub(super) pause: PauseRequest,
    pub(super) sweep: Sweep,
    /// Reason and message of [`Effect::Finish`], until the run is on disk and can be closed.
    pub(super) end: Option<(Option<Reason>, Option<String>)>,
}

/// A requested stop.
#[derive(Default)]
pub(super) struct StopRequest {
    pub(super) is_stopping: bool,
    pub(super) signal: Option<StopSignal>,
    /// Author of another process's request.
    pub(super) by: Option<Actor>,
    /// Run time at which a long stop lists its running trials. `None` before the stop is reported.
    pub(super) report_at: Option<u64>,
}

/// A requested or current pause.
#[derive(Default)]
pub(super) struct PauseRequest {
    /// Author of a request, until the schedule pauses.
    by: Option<Actor>,
    /// Start of the current pause by the monotonic clock, in microseconds.
    pub(super) at: Option<u64>,
}

impl Coordinator<'_> {
    /// Runs the session to its end.
    ///
    /// # Errors
    ///
    /// The run cannot be created or written, has problems, or is stopped before its first trial.
    pub(super) fn run(mut self) -> Result<Ended, EngineError> {
        loop {
            self.now = self.clock.now();
            let mut wait = self.wait();
            // Deciding once for many inputs sends fewer and larger frames.
            let mut handled = 0;
            while handled < MAX_TURN
                && let Some(input) = self.pool.next(wait)
            {
                self.now = self.clock.now();
                handled += if let Input::Messages(_, all) = &input { all.len() } else { 1 };
                self.handle(input)?;
                wait = Duration::ZERO;
            }
            self.now = self.clock.now();
            self.try_root()?;
            self.check_tests();
            self.add_ready_workers();
            self.check_for_workers();
            self.tick();
            self.pool.flush();
            self.report_progress();
            if self.has_ended() {
                return self.finish();
            }
        }
    }

    /// Returns the time until the next timer.
    fn wait(&self) -> Duration {
        let wait = match (&self.stage, self.pause.at) {
            (Stage::Waiting(_), _) => TRY_ROOT_EVERY,
            // Run time does not advance, so no timer of the schedule becomes due.
            (_, Some(_)) => PROGRESS_EVERY,
            (_, None) => {
                let wake = self.schedule.wake_at();
                let wake = wake.map_or(self.next_progress, |at| at.0.min(self.next_progress));
                wake.saturating_sub(self.now.0)
            }
        };
        Duration::from_micros(wait)
    }

    fn handle(&mut self, input: Input) -> Result<(), RecordError> {
        match input {
            Input::Messages(worker, messages) => {
                for message in messages {
                    self.receive(worker, message);
                }
            }
            Input::Ack(ack) => self.receive_ack(ack),
            Input::Compared(compared) => self.compared(&compared),
            Input::Signal(SignalEvent::Stop(signal, is_second)) => {
                self.receive_signal(signal, is_second);
            }
            Input::Signal(SignalEvent::Suspend) => self.suspend()?,
            Input::Request(request) => self.receive_request(*request),
            Input::Pause(by) => {
                let is_paused = by.is_some();
                self.pause.by = by.map(|by| *by);
                self.apply(|schedule| schedule.pause(is_paused));
            }
            Input::Labels(request) => {
                // If the session has ended, the sender sets the labels itself.
                if let Some(Err(error)) = self.stage.owned().map(|owned| owned.label(&request)) {
                    self.notice(&error.to_string());
                }
            }
            Input::Created(created) => {
                let owned = created.unwrap_or_else(|panic| resume_unwind(panic))?;
                self.created(owned)?;
            }
            Input::Exited(worker, exit) => self.handle_exit(worker, &exit),
            Input::Described(ready) => match self.pool.problems(&ready) {
                Some((reason, lines)) => {
                    let found = provider_problems(self.plan, &ready);
                    self.refuse(reason, lines, self.plan.scenario.provider_problems(&found));
                }
                None => self.described(ready),
            },
            Input::Compiling(plugin) => {
                self.log(&format!("plugin `{plugin}` is being compiled"));
                self.observer.event(&RunEvent::Compiling { plugin: &plugin });
                self.compiling.push((plugin, self.now));
            }
            Input::Compiled(plugin) => {
                let at = self.compiling.iter().position(|(name, _)| *name == plugin);
                if let Some((plugin, since)) = at.map(|at| self.compiling.remove(at)) {
                    let took = (self.now - since).into();
                    self.observer.event(&RunEvent::Compiled { plugin: &plugin, took });
                }
            }
            Input::Notice(notice) => self.notice(&notice),
            Input::NotSupplied { lacking, message } => {
                // Workers that have the content may have reported their last tasks, and not have the next ones yet.
                self.add_ready_workers();
                self.tick();
                if self.schedule.left() > 0 && !self.schedule.can_continue_without(&lacking) {
                    self.fail(Reason::Workers, message);
                }
            }
            Input::Failed(reason, message) => self.fail(reason, message),
            Input::Interrupted(message) => {
                if let Stage::Checking(checking) = &mut self.stage {
                    checking.interrupted = Some(message.clone());
                }
                self.fail(Reason::Machine, message);
            }
            // The pool handles these.
            Input::Supplied(..) | Input::Source(..) => {}
        }
        Ok(())
    }

    fn receive(&mut self, worker: WorkerId, message: FromWorker) {
        // The message may have been read together with the one that the worker is killed for.
        if !self.pool.trusts(worker) {
            return;
        }
        if let FromWorker::Log(line) = &message {
            return self.log_line_of(worker, line);
        }
        match &mut self.stage {
            Stage::Checking(checking) => checking.receive(&message),
            Stage::Running(_) => self.receive_task(worker, message),
            Stage::Waiting(_) | Stage::Ending => {}
        }
    }

    /// Logs a line that a worker has sent.
    pub(super) fn log_line_of(&mut self, worker: WorkerId, line: &str) {
        let line = format!("worker {}: {}", self.pool.shown(worker), visible_line(line));
        self.log_worker(&line);
    }

    fn handle_exit(&mut self, worker: WorkerId, exit: &WorkerExit) {
        debug!(worker = worker.0, ?exit, "a worker exited");
        // A stop ends all workers: their deaths are not failures.
        if !self.stop.is_stopping || exit.blame.is_some() {
            let trials = self.named(&exit.started);
            let ran = if trials.is_empty() { trials } else { format!(" while it ran {trials}") };
            self.log_worker(&format!("worker {} {}{ran}", self.pool.shown(worker), exit.how));
        }
        match &mut self.stage {
            Stage::Checking(checking) => checking.lose(worker),
            Stage::Running(_) => self.lose(worker, exit),
            Stage::Waiting(_) | Stage::Ending => {}
        }
    }

    fn receive_signal(&mut self, signal: StopSignal, is_second: bool) {
        self.stop.signal.get_or_insert(signal);
        let mode = if is_second { StopMode::Kill } else { StopMode::Stop };
        let verb = if is_second { "killed" } else { "stopped" };
        self.log(&format!("{verb} by {signal}"));
        self.apply(|schedule| schedule.stop(mode, Reason::Interrupted, None));
    }

    fn receive_request(&mut self, request: Request) {
        let Some((mode, reason)) = requests::stop_mode(request.mode) else {
            return;
        };
        self.log(&describe(&request));
        let message = request.by.reason.clone();
        if self.stop.by.is_none() || reason == Reason::Cancelled {
            self.stop.by = Some(request.by);
        }
        self.apply(|schedule| schedule.stop(mode, reason, message));
        self.report_stopping();
    }

    /// Pauses the workers and stops this process until SIGCONT.
    fn suspend(&mut self) -> Result<(), RecordError> {
        // The signal may have waited here for the disk, a worker or the results root.
        if !signals::is_suspending() {
            return Ok(());
        }
        let was_paused = self.pause.at.is_some();
        self.apply(|schedule| schedule.pause(true));
        self.receive_late_acks()?;
        self.write_live();
        // SIGSTOP stops the threads that send to workers and write `live.json`, too. Give them time.
        thread::sleep(Duration::from_millis(20));
        signals::suspend();
        if !was_paused {
            self.now = self.clock.now();
            self.apply(|schedule| schedule.pause(false));
        }
        Ok(())
    }

    /// Counts the rows that the writer has written, and waits a moment for the others.
    fn receive_late_acks(&mut self) -> Result<(), RecordError> {
        let until = Instant::now() + ACKS_WITHIN;
        let mut later = Vec::new();
        while matches!(&self.stage, Stage::Running(running) if running.awaits_acks())
            && Instant::now() < until
        {
            match self.pool.next(Duration::from_millis(5)) {
                Some(input @ (Input::Ack(_) | Input::Messages(..) | Input::Exited(..))) => {
                    self.handle(input)?;
                }
                Some(input) => later.push(input),
                None => {}
            }
        }
        let inputs = self.pool.sender();
        // The pool is the receiver.
        later.into_iter().for_each(|input| drop(inputs.send(input)));
        Ok(())
    }

    fn pause(&mut self, is_paused: bool) {
        // Checks of a new run end in a pause, too.
        self.pool.pause(is_paused && !self.stage.is_unreported());
        self.clock.pause(is_paused);
        self.pause.at = is_paused.then(monotonic);
        let by = self.pause.by.take();
        self.log(&match (is_paused, &by) {
            (true, None) => "paused by Ctrl-Z".to_owned(),
            (true, Some(by)) => format!("paused by {}", describe_actor(by)),
            (false, _) => "continued".to_owned(),
        });
        if let Some(run) = self.stage.run() {
            let worked = Duration::from(self.now - RunTime::default());
            run.owned.note_times(worked, self.clock.suspended());
        }
        // Run time does not advance in a pause, so the timer would not become due.
        self.next_live = self.now.0;
        let noted = self.stage.owned().map(|owned| owned.note_pause(is_paused, by.clone()));
        if let Some(Err(error)) = noted {
            self.notice(&error.to_string());
        }
        self.observer.event(&if is_paused {
            RunEvent::Paused { by: by.as_ref() }
        } else {
            RunEvent::Unpaused
        });
    }

    /// Stops the session immediately, because it cannot continue.
    pub(super) fn fail(&mut self, reason: Reason, message: String) {
        self.stop.is_stopping = true;
        self.apply(|schedule| schedule.stop(StopMode::Kill, reason, Some(message)));
    }

    /// Applies an event to the schedule and carries out the effects.
    pub(super) fn apply(&mut self, event: impl FnOnce(&mut Schedule)) {
        let effects = self.schedule.apply(self.now, event);
        self.carry_out(effects, None);
    }

    /// Lets the schedule decide, after all events.
    pub(super) fn tick(&mut self) {
        // A session that waits for its results root starts no trial.
        if matches!(self.stage, Stage::Waiting(_)) && !self.schedule.is_stopping() {
            return;
        }
        if self.schedule.is_ending() && self.awaits_comparisons() {
            return;
        }
        let trials = (self.plan, &self.fold);
        let effects = self.schedule.apply(self.now, |schedule| schedule.tick(&trials));
        self.carry_out(effects, None);
    }

    /// Carries out effects. `report` is the report that they decide about. If one fails, the stop's effects come before
    /// the remaining ones: workers return tasks that arrive after a stop.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, mut report: Option<CheckedReport>) {
        for effect in effects {
            debug!(?effect);
            match effect {
                Effect::Send { worker, assignment } => self.send(worker, &assignment),
                Effect::TakeBack { worker, keep } => self.pool.take_back(worker, keep),
                Effect::Stop { kill } => {
                    self.stop.is_stopping = true;
                    self.report_stopping();
                    self.pool.stop(kill);
                }
                Effect::Pause(is_paused) => self.pause(is_paused),
                Effect::Kill(worker) => self.pool.kill(worker),
                Effect::StartAlone { for_grader } => {
                    if let Err(error) = self.pool.start_alone(for_grader) {
                        let message = machine::failure("cannot start a worker", error);
                        self.fail(Reason::Machine, message);
                    }
                }
                Effect::Write { task, lost, form, is_final, flaky } => {
                    let report = match lost {
                        Some(reason) => self.report_for(task, reason),
                        None => report.take(),
                    };
                    if let Some(report) = report {
                        self.write(task, report, form, is_final, flaky);
                    }
                }
                Effect::LeaveOutRetry { trial, wait, bound } => {
                    let mut ids = Ids::new(&self.plan.suite, &self.plan.scenario.providers);
                    if let Ok(trial) = ids.trial(trial) {
                        let wait = show_duration(wait.into());
                        self.log(&format!(
                            "{trial} gets no retry: it would wait {wait}, beyond {bound}"
                        ));
                    }
                }
                Effect::Finish { reason, message } => self.end = Some((reason, message)),
            }
        }
    }
}
