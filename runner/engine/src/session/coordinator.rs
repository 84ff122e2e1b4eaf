//! [`Coordinator`]: the loop of a session. It passes events of workers, the writer, signals and requests to [`Schedule`], and
//! carries out its effects.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    env,
    io::ErrorKind,
    mem,
    panic::resume_unwind,
    path::Path,
    sync::mpsc::SyncSender,
    thread,
    time::{Duration, Instant},
};

use runner_model::{
    Micros, Reason, RunTime, Stage, StopSignal, WorkerId, prepare::Ready, row::Actor,
    units::show_duration,
};
use runner_prepare::machine;
use runner_record::{
    Fold, Live, Manifest, Owned, RecordError, Request, ResultsRoot, RowFacts, Scratch, Share,
    Writer, sweep_every,
};
use runner_scenario::Problems;
use tracing::debug;

use super::in_flight::{CheckedReport, InFlight};
use super::run_log::{WorkerLog, log_plan};
use super::{requests, watchdog::Watchdog};
use crate::clock::{Clock, monotonic};
use crate::event::{Ended, Observer, RunEvent};
use crate::plan::{Checks, Ids, Place, Plan, StoredRow, provider_problems};
use crate::schedule::{Assignment, Effect, Schedule, StopMode};
use crate::workers::{Next, Pool, PoolEvent, ReadyWorker};
use crate::{EngineError, input::Input, signals::SignalEvent};

/// Interval of progress events, in microseconds.
pub(super) const PROGRESS_EVERY: u64 = 100_000;
/// Run time before the first `live.json`, in microseconds. A shorter run has none.
const FIRST_LIVE: u64 = 50_000;
/// Run time before the first sweep, so that a short run does not wait for it.
const FIRST_SWEEP: Duration = Duration::from_secs(1);
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
    pub(super) in_flight: InFlight,
    /// Trials and facts of the rows that are not on disk yet, in the order of writing.
    pub(super) unacked: VecDeque<(u64, RowFacts)>,
    /// The newest rows of trials that graders have yet to judge, by trial. Their places are known once they are on disk.
    pub(super) ungraded: BTreeMap<u64, Place>,
    /// Descriptions of the plugins, until the start is recorded.
    pub(super) described: Option<Ready>,
    /// Checks before the first attempt, and the worker that runs them.
    pub(super) checks: Option<(Checks, ReadyWorker)>,
    /// Run time of the first assignments. `None` before them.
    pub(super) started: Option<RunTime>,
    /// Plugins that are being compiled, with the start of each.
    pub(super) compiling: Vec<(String, RunTime)>,
    pub(super) stop: StopRequest,
    pub(super) pause: PauseRequest,
    pub(super) timers: Timers,
    /// Message of the first failed write.
    pub(super) failure: Option<String>,
    /// Reason and message of [`Effect::Finish`], until the run is on disk and can be closed.
    end: Option<(Option<Reason>, Option<String>)>,
    /// Whether the run is new and its checks have not passed. It is removed if it is refused or stopped.
    pub(super) is_unreported: bool,
    /// Problems of a run to remove, without and with their places.
    refused: Option<(String, Problems)>,
    pub(super) has_lacked_memory: bool,
    /// Plain commands that have printed an answer of the JSON protocol, by index.
    pub(super) answering: HashSet<u16>,
    pub(super) worker_log: WorkerLog,
}

fn created<'a>(owned: &'a Owned, directory: &'a Path) -> RunEvent<'a> {
    RunEvent::Created { manifest: owned.manifest(), directory, log: owned.log_file() }
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

/// Arguments of [`Coordinator::new`].
pub(super) struct CoordinatorParts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) pool: Pool,
    pub(super) root: ResultsRoot,
    pub(super) share: Share,
    pub(super) clock: Clock,
    pub(super) fold: Fold,
    pub(super) watchdog: Watchdog,
    /// Whether the session creates its run and does not wait.
    pub(super) is_new: bool,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(parts: CoordinatorParts<'a>) -> Self {
        let CoordinatorParts { plan, observer, pool, root, share, clock, fold, watchdog, is_new } =
            parts;
        Self {
            schedule: Schedule::new(plan.schedule_settings(), plan.left(&fold), &(plan, &fold)),
            plan,
            observer,
            pool,
            root,
            share,
            clock,
            fold,
            watchdog,
            run: None,
            waiting: None,
            now: RunTime::default(),
            in_flight: InFlight::default(),
            unacked: VecDeque::new(),
            ungraded: BTreeMap::new(),
            described: None,
            checks: None,
            started: None,
            compiling: Vec::new(),
            stop: StopRequest::default(),
            pause: PauseRequest::default(),
            timers: Timers::new(),
            failure: None,
            end: None,
            is_unreported: is_new,
            refused: None,
            has_lacked_memory: false,
            answering: HashSet::new(),
            worker_log: WorkerLog::new(),
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
            Input::Notice(notice) => self.notice(&notice),
            // The pool handles these.
            Input::Link(..) | Input::Supplied(..) => {}
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
            PoolEvent::Failed(reason, message) => self.fail(reason, message),
        }
    }

    /// Handles the created or reopened run: reports it and starts it, or waits for the results root.
    fn created(&mut self, owned: Owned) -> Result<(), RecordError> {
        let session = owned.manifest().sessions.last().map_or(1, |session| session.number);
        self.watchdog.watch(owned.live_writer(), session);
        let watching = requests::watch(owned.requests(), self.watchdog.clone(), self.pool.sender());
        if let Err(error) = watching {
            owned.log(&format!("cannot watch for requests of other processes: {error}"));
        }
        if !self.is_unreported {
            self.observer.event(&created(&owned, &owned.dir().path()));
        }
        if owned.manifest().stage == Stage::Waiting {
            self.wait_for_root(owned)
        } else {
            self.open(owned, session)
        }
    }

    /// Opens the writers of rows and of `live.json`.
    pub(super) fn open(&mut self, owned: Owned, session: u32) -> Result<(), RecordError> {
        let inputs = self.pool.sender();
        let writer = owned.writer(Box::new(move |ack| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Ack(ack));
        }));
        let writer = match writer {
            Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                // The run has not started, so it is closed like a waiting one.
                self.waiting = Some(owned);
                let message = machine::failure("cannot start a thread", source);
                self.fail(Reason::Machine, message);
                return Ok(());
            }
            writer => writer?,
        };
        log_plan(&owned, self.plan, session, self.plan.left(&self.fold));
        for notice in owned.notices() {
            self.observer.event(&RunEvent::Notice(notice));
        }
        let replaced = mem::take(&mut *self.root.replaced()).into_iter();
        let replaced =
            replaced.map(|digest| format!("{digest} in the store was damaged and is replaced"));
        for notice in self.plan.notices.iter().cloned().chain(replaced) {
            owned.log(&notice);
            self.observer.event(&RunEvent::Notice(&notice));
        }
        self.run = Some(ActiveRun { live: owned.live_writer().start(), owned, writer, session });
        Ok(())
    }

    /// Sends checks to the worker that described the plugins. Once all have passed, it takes trials like the others.
    fn check_tests(&mut self) {
        let Some((checks, ReadyWorker { worker, .. })) =
            self.checks.as_mut().filter(|_| !self.stop.is_stopping)
        else {
            return;
        };
        let (plan, fold, pool) = (self.plan, &self.fold, &mut self.pool);
        let is_pending = |trial| fold.trial(trial).is_pending || plan.rejudge.has(trial);
        let sent = checks.fill(plan, is_pending, |task, line| pool.assign(*worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("cannot send a test: {error}"));
        } else if checks.is_done(plan)
            && self.run.is_some()
            && let Some((checks, worker)) = self.checks.take()
        {
            self.pool.checked();
            match checks.lines() {
                Some(lines) => self.refuse(Reason::Plugin, lines, checks.problems(plan)),
                None => {
                    self.report_created();
                    self.add_worker(&worker);
                }
            }
        }
    }

    /// Ends the session because of plugins, configurations or tests. `lines` are the problems without their places. A new run
    /// is removed, unless the machine is at fault.
    fn refuse(&mut self, reason: Reason, lines: String, problems: Problems) {
        if self.is_unreported && reason == Reason::Plugin && !self.stop.is_stopping {
            self.refused = Some((lines, problems));
        } else {
            self.fail(reason, lines);
        }
    }

    /// Reports the creation of a new run, once.
    fn report_created(&mut self) {
        if let Some(run) = &self.run
            && mem::take(&mut self.is_unreported)
        {
            if self.pause.at.is_some() {
                self.pool.pause(true);
            }
            self.observer.event(&created(&run.owned, &run.owned.dir().path()));
        }
    }

    /// Adds ready workers to the schedule, once the run exists and the checks have passed.
    fn add_ready_workers(&mut self) {
        while self.run.is_some()
            && self.checks.is_none()
            && let Some(worker) = self.pool.next_ready()
        {
            self.add_worker(&worker);
        }
    }

    fn add_worker(&mut self, ready: &ReadyWorker) {
        debug!(?ready, "a worker is ready");
        let ReadyWorker { worker, shape, alone } = *ready;
        self.apply(|schedule| schedule.worker_ready(worker, shape.slots, shape.memory, alone));
    }

    /// Records the stage `run`, after the first tasks are sent.
    fn record_start(&mut self) {
        let (Some(run), Some(ready), None, false) =
            (&mut self.run, &self.described, &self.checks, self.stop.is_stopping)
        else {
            return;
        };
        let mut providers = run.owned.manifest().providers.clone();
        // The graders of `rescore` are not those of the manifest.
        let described = ready.providers.iter().filter(|_| self.plan.rescored.is_none());
        for about in described {
            if let Some(provider) = providers.get_mut(usize::from(about.provider)) {
                provider.description.clone_from(&about.description);
            }
        }
        run.owned.note_wall(ready.wall.to_string());
        // The stage is only for display. If the disk is full, the first row fails.
        run.owned.note_stage(Stage::Run, providers);
        (self.described, self.started) = (None, Some(self.now));
        self.timers.live = self.timers.live.min(self.now.0 + FIRST_LIVE);
        self.observer.event(&RunEvent::Started {
            manifest: run.owned.manifest(),
            directory: &run.owned.dir().path(),
            pending: self.schedule.left(),
            jobs: self.plan.settings.jobs,
        });
        self.timers.sweep = self.now.0 + Micros::from(sweep_every().min(FIRST_SWEEP)).0;
    }

    /// Starts a thread that ends dead runs of the results root and removes dead workers' folders.
    pub(super) fn sweep(&self) {
        // The thread may outlive the session, so it opens the root itself.
        let (path, inputs) = (self.root.path().to_owned(), self.pool.sender());
        let sweep = move || {
            // Workers have priority.
            let _ = rustix::process::nice(10);
            Scratch::sweep(&env::temp_dir());
            let swept = ResultsRoot::existing(&path).and_then(|root| root.sweep());
            for Manifest { id, status, .. } in swept.unwrap_or_default() {
                let notice = format!("the process of run {id} has died; the run is now {status}");
                let _ = inputs.send(Input::Notice(notice));
            }
        };
        // The session does not depend on the sweep, so it runs without the thread, too.
        let _ = thread::Builder::new().name("sweep".into()).spawn(sweep);
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
        self.log(&requests::describe(&request));
        let message = request.by.reason.clone();
        if self.stop.by.is_none() || reason == Reason::Cancelled {
            self.stop.by = Some(request.by);
        }
        self.apply(|schedule| schedule.stop(mode, reason, message));
        self.report_stopping();
    }

    /// Pauses the workers and stops this process until SIGCONT.
    fn suspend(&mut self) {
        let was_paused = self.pause.at.is_some();
        self.apply(|schedule| schedule.pause(true));
        self.receive_late_acks();
        self.write_live();
        // SIGSTOP stops the threads that send to workers and write `live.json`, too. Give them time.
        thread::sleep(Duration::from_millis(20));
        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGSTOP);
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
            (true, Some(by)) => format!("paused by {}", requests::describe_actor(by)),
            (false, _) => "continued".to_owned(),
        });
        if let Some(run) = &mut self.run {
            let worked = Duration::from(self.now - RunTime::default());
            run.owned.note_times(worked, self.clock.suspended());
        }
        // Run time stands still in a pause, so the timer would not become due.
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
                Effect::StartAlone => {
                    if let Err(error) = self.pool.start_alone() {
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
