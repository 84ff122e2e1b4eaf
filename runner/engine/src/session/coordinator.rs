//! [`Coordinator`]: the loop of a session. It passes events of workers, the writer, signals and requests to [`Schedule`], and
//! carries out its effects.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};
use std::{panic::resume_unwind, thread};

use runner_model::{
    Reason, RunTime, StopSignal, WorkerId, prepare::Ready, row::Actor, units::show_duration,
};
use runner_prepare::machine;
use runner_record::{
    Fold, Live, Manifest, Owned, RecordError, Request, ResultsRoot, RowFacts, Share, Writer,
};
use runner_scenario::Problems;
use tracing::debug;

use super::in_flight::{CheckedReport, TasksInFlight};
use super::run_log::{WorkerLog, describe, describe_actor};
use super::{requests, watchdog::Watchdog};
use crate::clock::{Clock, monotonic};
use crate::event::{Ended, Observer, RunEvent};
use crate::plan::{Checks, Ids, Plan, RowPlace, StoredRow, provider_problems};
use crate::schedule::{Assignment, Effect, Schedule, StopMode};
use crate::workers::{Input, Next, Pool, PoolEvent, ReadyWorker};
use crate::{
    EngineError,
    signals::{self, SignalEvent},
};

/// Interval of progress events, in microseconds.
pub(super) const PROGRESS_EVERY: u64 = 100_000;
/// Run time before the first `live.json`, in microseconds. A shorter run has none.
pub(super) const FIRST_LIVE: u64 = 50_000;
/// Bytes of an attempt's progress text in `live.json`.
pub(super) const MAX_WORD: usize = 300;
/// Maximum number of inputs handled before the schedule decides.
const MAX_TURN: usize = 1000;
/// Time for the acknowledgements of rows before Ctrl-Z stops the process.
const ACKS_WITHIN: Duration = Duration::from_millis(200);
/// Interval at which a waiting session tries to lock the results root, in microseconds.
const TRY_ROOT_EVERY: u64 = 50_000;

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
    pub(super) run: Option<ActiveRun>,
    /// The run while it waits for the results root.
    pub(super) waiting: Option<Owned>,
    pub(super) now: RunTime,
    pub(super) in_flight: TasksInFlight,
    /// Trials and facts of the rows that are not on disk yet, in the order of writing.
    pub(super) unacked: VecDeque<(u64, RowFacts)>,
    /// The newest rows of trials that graders have yet to judge, by trial. Their places are known once they are on disk.
    pub(super) ungraded: BTreeMap<u64, RowPlace>,
    /// Descriptions of the plugins, until the start is recorded.
    pub(super) described: Option<Ready>,
    /// Checks before the first attempt, and the worker that runs them.
    pub(super) checks: Option<(Checks, ReadyWorker)>,
    /// Run time of the first assignments. `None` before them.
    pub(super) started: Option<RunTime>,
    /// Start of the time without a connected worker, and the message about it once that is sent. `None` while a worker is
    /// connected or none is needed.
    pub(super) without_workers: Option<(RunTime, Option<String>)>,
    /// Notices from before the run's log exists.
    pub(super) early_notices: Vec<String>,
    /// Plugins that are being compiled, with the start of each.
    pub(super) compiling: Vec<(String, RunTime)>,
    pub(super) stop: StopRequest,
    pub(super) pause: PauseRequest,
    pub(super) timers: Timers,
    /// Message of the first failed write.
    pub(super) failure: Option<String>,
    /// Reason and message of [`Effect::Finish`], until the run is on disk and can be closed.
    pub(super) end: Option<(Option<Reason>, Option<String>)>,
    /// Whether the run is new and its checks have not passed. It is removed if it is refused or stopped.
    pub(super) is_unreported: bool,
    /// Problems of a run to remove, without and with their places.
    pub(super) refused: Option<(String, Problems)>,
    pub(super) has_lacked_memory: bool,
    /// Plain commands that have printed an answer of the JSON protocol, by index.
    pub(super) answering: HashSet<u16>,
    pub(super) worker_log: WorkerLog,
    /// The runs that the current sweep ends. Disconnected at its end.
    pub(super) sweeping: Option<Receiver<Vec<Manifest>>>,
    /// Ids of dead runs that the session has ended.
    pub(super) swept: Vec<String>,
}

/// A run on disk whose trials can run.
pub(super) struct ActiveRun {
    pub(super) owned: Owned,
    pub(super) writer: Writer,
    pub(super) live: SyncSender<Live>,
    /// Number of the session.
    pub(super) session: u32,
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

/// Run times of the next progress event, `live.json` and sweep, in microseconds.
pub(super) struct Timers {
    pub(super) progress: u64,
    pub(super) live: u64,
    pub(super) sweep: u64,
    /// End of the last long wait of a trial.
    pub(super) long_wait: u64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { progress: 0, live: FIRST_LIVE, sweep: u64::MAX, long_wait: 0 }
    }
}

impl<'a> Coordinator<'a> {
    /// Creates the coordinator of a session that shares its results root and continues a run.
    pub(super) fn new(
        plan: &'a Plan,
        fold: Fold,
        root: ResultsRoot,
        pool: Pool,
        clock: Clock,
        watchdog: Watchdog,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            schedule: Schedule::new(plan.schedule_settings(), plan.left(&fold), &(plan, &fold)),
            plan,
            observer,
            pool,
            root,
            share: Share::default(),
            clock,
            fold,
            watchdog,
            run: None,
            waiting: None,
            now: RunTime::default(),
            in_flight: TasksInFlight::default(),
            unacked: VecDeque::new(),
            ungraded: BTreeMap::new(),
            described: None,
            checks: None,
            started: None,
            without_workers: None,
            early_notices: Vec::new(),
            compiling: Vec::new(),
            stop: StopRequest::default(),
            pause: PauseRequest::default(),
            timers: Timers::new(),
            failure: None,
            end: None,
            is_unreported: false,
            refused: None,
            has_lacked_memory: false,
            answering: HashSet::new(),
            worker_log: WorkerLog::new(),
            sweeping: None,
            swept: Vec::new(),
        }
    }

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
            for _ in 0..MAX_TURN {
                let Some(next) = self.pool.next(wait) else { break };
                self.now = self.clock.now();
                match next {
                    Next::Pool(event) => self.handle_pool(event),
                    Next::Input(input) => self.handle(input)?,
                    Next::Handled => {}
                }
                wait = Duration::ZERO;
            }
            self.now = self.clock.now();
            self.try_root()?;
            self.check_tests();
            if let Some(run) = self.run.take_if(|_| self.refused.is_some()) {
                let (lines, problems) = self.refused.take().unwrap_or_default();
                self.discard(run, Some(Reason::Plugin), Some(lines));
                return Err(EngineError::Scenario(problems));
            }
            self.add_ready_workers();
            self.check_for_workers();
            self.tick();
            self.pool.flush();
            self.record_start();
            self.report_progress();
            if let Some(end) = self.end.take() {
                let is_unstarted = self.is_unreported
                    && matches!(
                        end.0,
                        Some(Reason::Interrupted | Reason::Stopped | Reason::Cancelled)
                    );
                if !is_unstarted {
                    self.report_created();
                }
                match (self.run.take(), self.waiting.take()) {
                    (Some(run), _) if is_unstarted => {
                        let signal = self.stop.signal;
                        self.discard(run, end.0, end.1);
                        return Err(signal.map_or(EngineError::Unstarted, EngineError::Stopped));
                    }
                    (Some(run), _) => return Ok(self.close(run, end)?),
                    (None, Some(owned)) => return Ok(self.close_waiting(owned, end)?),
                    // The run is still being created.
                    (None, None) => self.end = Some(end),
                }
            }
        }
    }

    /// Returns the time until the next timer.
    fn wait(&self) -> Duration {
        let wait = match (&self.waiting, self.pause.at) {
            (Some(_), _) => TRY_ROOT_EVERY,
            // Run time does not advance, so no timer of the schedule becomes due.
            (None, Some(_)) => PROGRESS_EVERY,
            (None, None) => {
                let wake = self.schedule.wake_at();
                let wake = wake.map_or(self.timers.progress, |at| at.0.min(self.timers.progress));
                wake.saturating_sub(self.now.0)
            }
        };
        Duration::from_micros(wait)
    }

    fn handle(&mut self, input: Input) -> Result<(), RecordError> {
        match input {
            Input::Ack(ack) => self.receive_ack(ack),
            Input::Signal(SignalEvent::Stop(signal, is_second)) => {
                self.receive_signal(signal, is_second);
            }
            Input::Signal(SignalEvent::Suspend) => self.suspend(),
            Input::Request(request) => self.receive_request(*request),
            Input::Pause(by) => {
                let is_paused = by.is_some();
                self.pause.by = by.map(|by| *by);
                self.apply(|schedule| schedule.pause(is_paused));
            }
            Input::Labels(request) => {
                // If the session has ended, the sender sets the labels itself.
                if let Some(Err(error)) = self.owned().map(|owned| owned.label(&request)) {
                    self.notice(&error.to_string());
                }
            }
            Input::Created(created) => {
                let owned = created.unwrap_or_else(|panic| resume_unwind(panic))?;
                self.created(owned)?;
            }
            // The pool handles these.
            Input::Link(..) | Input::Supplied(..) | Input::Source(..) => {}
        }
        Ok(())
    }

    fn handle_pool(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Message(worker, message) => self.receive(worker, message),
            PoolEvent::Exited(worker, exit) => {
                debug!(worker = worker.0, ?exit, "a worker exited");
                self.handle_exit(worker, exit);
            }
            PoolEvent::Described(ready) => match self.pool.problems(&ready) {
                Some((reason, lines)) => {
                    let found = provider_problems(self.plan, &ready);
                    self.refuse(reason, lines, self.plan.scenario.provider_problems(&found));
                }
                None => {
                    let checks = Checks::from_descriptions(&ready, self.plan);
                    self.checks = self.pool.next_ready().map(|worker| (checks, worker));
                    self.described = Some(ready);
                }
            },
            PoolEvent::Compiling(plugin) => {
                self.log(&format!("plugin `{plugin}` is being compiled"));
                self.observer.event(&RunEvent::Compiling { plugin: &plugin });
                self.compiling.push((plugin, self.now));
            }
            PoolEvent::Compiled(plugin) => {
                let at = self.compiling.iter().position(|(name, _)| *name == plugin);
                if let Some((plugin, since)) = at.map(|at| self.compiling.remove(at)) {
                    let took = (self.now - since).into();
                    self.observer.event(&RunEvent::Compiled { plugin: &plugin, took });
                }
            }
            PoolEvent::Notice(notice) => self.notice(&notice),
            PoolEvent::Failed(reason, message) => self.fail(reason, message),
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
    fn suspend(&mut self) {
        // The signal may have waited here for the disk, a worker or the results root.
        if !signals::is_suspending() {
            return;
        }
        let was_paused = self.pause.at.is_some();
        self.apply(|schedule| schedule.pause(true));
        self.receive_late_acks();
        self.write_live();
        // SIGSTOP stops the threads that send to workers and write `live.json`, too. Give them time.
        thread::sleep(Duration::from_millis(20));
        signals::suspend();
        if !was_paused {
            self.now = self.clock.now();
            self.apply(|schedule| schedule.pause(false));
        }
    }

    /// Counts the rows that the writer has written, and waits a moment for the others.
    fn receive_late_acks(&mut self) {
        let (until, mut later) = (Instant::now() + ACKS_WITHIN, Vec::new());
        while !self.unacked.is_empty() && Instant::now() < until {
            match self.pool.next(Duration::from_millis(5)) {
                Some(Next::Pool(event)) => self.handle_pool(event),
                Some(Next::Input(Input::Ack(ack))) => self.receive_ack(ack),
                Some(Next::Input(input)) => later.push(input),
                Some(Next::Handled) | None => {}
            }
        }
        let inputs = self.pool.sender();
        // The pool is the receiver.
        later.into_iter().for_each(|input| drop(inputs.send(input)));
    }

    /// Returns the run on disk, also while it waits.
    fn owned(&mut self) -> Option<&mut Owned> {
        self.run.as_mut().map(|run| &mut run.owned).or(self.waiting.as_mut())
    }

    fn pause(&mut self, is_paused: bool) {
        // Checks of a new run end in a pause, too.
        self.pool.pause(is_paused && !self.is_unreported);
        self.clock.pause(is_paused);
        self.pause.at = is_paused.then(monotonic);
        let by = self.pause.by.take();
        self.log(&match (is_paused, &by) {
            (true, None) => "paused by Ctrl-Z".to_owned(),
            (true, Some(by)) => format!("paused by {}", describe_actor(by)),
            (false, _) => "continued".to_owned(),
        });
        if let Some(run) = &mut self.run {
            let worked = Duration::from(self.now - RunTime::default());
            run.owned.note_times(worked, self.clock.suspended());
        }
        // Run time does not advance in a pause, so the timer would not become due.
        self.timers.live = self.now.0;
        let noted = self.owned().map(|owned| owned.note_pause(is_paused, by.clone()));
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

    fn stop_workers(&mut self, kill: bool) {
        self.stop.is_stopping = true;
        self.report_stopping();
        self.pool.stop(kill);
    }

    /// Applies an event to the schedule and carries out the effects.
    pub(super) fn apply(&mut self, event: impl FnOnce(&mut Schedule)) {
        let effects = self.schedule.apply(self.now, event);
        self.carry_out(effects, None);
    }

    /// Lets the schedule decide, after all events.
    fn tick(&mut self) {
        // A session that waits for its results root starts no trial.
        if self.waiting.is_some() && !self.schedule.is_stopping() {
            return;
        }
        let trials = (self.plan, &self.fold);
        let schedule = &mut self.schedule;
        let effects = schedule.apply(self.now, |schedule| schedule.tick(&trials));
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
                Effect::Stop { kill } => self.stop_workers(kill),
                Effect::Pause(is_paused) => self.pause(is_paused),
                Effect::Kill(worker) => self.pool.kill(worker),
                Effect::StartAlone { for_grader } => {
                    if let Err(error) = self.pool.start_alone(for_grader) {
                        let message = machine::failure("cannot start a worker", error);
                        self.fail(Reason::Machine, message);
                    }
                }
                Effect::Write { task, lost, is_final, flaky } => {
                    let report = match lost {
                        Some(reason) => self.report_for(task, reason),
                        None => report.take(),
                    };
                    if let Some(report) = report {
                        self.write(task, report, is_final, flaky);
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

    fn send(&mut self, worker: WorkerId, assignment: &Assignment) {
        let place = match assignment.grader {
            Some(_) => self.ungraded.get(&assignment.trial).copied(),
            None => self.plan.rejudge.place(assignment.trial),
        };
        let run = place.zip(self.run.as_ref());
        let stored = run.and_then(|(place, run)| StoredRow::read(run.owned.dir(), place));
        if stored.is_none() && (assignment.grader.is_some() || place.is_some()) {
            let message = "cannot read a row or an output to judge".to_owned();
            return self.fail(Reason::Storage, message);
        }
        let task = self.in_flight.add(self.plan, self.now, worker, assignment, stored);
        let sent = task.and_then(|(task, line)| self.pool.assign(worker, task, line));
        if let Err(error) = sent {
            // The schedule takes the task back when the killed worker exits.
            self.fail(Reason::Internal, format!("cannot send a test: {error}"));
        }
    }
}
