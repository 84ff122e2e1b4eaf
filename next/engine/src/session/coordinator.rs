//! [`Coordinator`]: the loop of a session. It passes what workers, the writer, signals and requests report to [`Schedule`], and
//! carries out the effects.

use std::{
    collections::VecDeque, env, panic::resume_unwind, sync::mpsc::SyncSender, thread,
    time::Duration,
};

use runner_model::{Reason, RunTime, Stage, StopSignal, WorkerId, prepare::Ready, row::Actor};
use runner_record::{
    Fold, Live, Manifest, Owned, RecordError, Request, ResultsRoot, RowFacts, Scratch, Share,
    Writer,
};
use tracing::debug;

use super::{
    in_flight::{CheckedReport, InFlight},
    live::write_live,
    requests,
    watchdog::Watchdog,
};
use crate::{
    clock::{Clock, monotonic},
    event::{Ended, Observer, RunEvent},
    input::Input,
    plan::{Checks, Plan},
    schedule::{Assignment, Effect, Schedule, StopMode},
    signals::SignalEvent,
    workers::{Next, Pool, PoolEvent, ReadyWorker},
};

/// Interval of progress events, in microseconds.
pub(super) const PROGRESS_EVERY: u64 = 100_000;
/// Run time before the first `live.json`, in microseconds. A shorter run has none.
const FIRST_LIVE: u64 = 50_000;
/// Bytes of an attempt's progress text in `live.json`.
pub(super) const MAX_WORD: usize = 300;
/// Inputs handled before the schedule decides.
const MAX_TURN: usize = 1000;
/// How often a waiting session tries to get the results root, in microseconds.
const TRY_ROOT_EVERY: u64 = 50_000;

/// A session while it runs.
pub(super) struct Coordinator<'a> {
    pub(super) plan: &'a Plan,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) pool: Pool,
    /// Dropped after the pool: it waits for the list of runs, which is written while the pool's folder is removed.
    pub(super) root: ResultsRoot,
    pub(super) share: Share,
    pub(super) schedule: Schedule,
    pub(super) clock: Clock,
    pub(super) fold: Fold,
    pub(super) watchdog: Watchdog,
    pub(super) run: Option<ActiveRun>,
    /// A run that waits until the results root is free.
    pub(super) waiting: Option<Owned>,
    pub(super) now: RunTime,
    pub(super) in_flight: InFlight,
    /// Trials and facts of the rows that the writer has and the disk does not, in order.
    pub(super) handed: VecDeque<(u64, RowFacts)>,
    pub(super) described: Option<Ready>,
    /// The checks of inputs before the first attempt, and their worker.
    pub(super) checks: Option<(Checks, ReadyWorker)>,
    pub(super) has_started: bool,
    pub(super) stop: StopRequest,
    pub(super) pause: PauseRequest,
    pub(super) timers: Timers,
    /// The first failure of the disk.
    pub(super) failure: Option<String>,
    end: Option<(Option<Reason>, Option<String>)>,
    pub(super) has_lacked_memory: bool,
}

/// A run on disk that is being worked on.
pub(super) struct ActiveRun {
    pub(super) owned: Owned,
    pub(super) writer: Writer,
    pub(super) live: SyncSender<Live>,
    /// The session's number.
    pub(super) session: u32,
}

/// How the session was asked to stop.
#[derive(Default)]
pub(super) struct StopRequest {
    pub(super) is_stopping: bool,
    pub(super) signal: Option<StopSignal>,
    /// The author of another process's request.
    pub(super) by: Option<Actor>,
    /// When the trials that a long stop waits for are listed; `None` before the stop is reported.
    pub(super) report_at: Option<u64>,
}

/// The pause that lasts or was asked for.
#[derive(Default)]
pub(super) struct PauseRequest {
    /// The author of a request that the schedule has not turned into a pause yet.
    by: Option<Actor>,
    /// When the pause started, by the monotonic clock.
    pub(super) at: Option<u64>,
}

/// Run times at which something is due, in microseconds.
pub(super) struct Timers {
    pub(super) progress: u64,
    pub(super) live: u64,
    pub(super) sweep: u64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { progress: 0, live: FIRST_LIVE, sweep: u64::MAX }
    }
}

/// What a coordinator works on.
pub(super) struct CoordinatorParts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) pool: Pool,
    pub(super) root: ResultsRoot,
    pub(super) share: Share,
    pub(super) schedule: Schedule,
    pub(super) clock: Clock,
    pub(super) fold: Fold,
    pub(super) watchdog: Watchdog,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(parts: CoordinatorParts<'a>) -> Self {
        let CoordinatorParts { plan, observer, pool, root, share, schedule, clock, fold, watchdog } =
            parts;
        Self {
            plan,
            observer,
            pool,
            root,
            share,
            schedule,
            clock,
            fold,
            watchdog,
            run: None,
            waiting: None,
            now: RunTime::default(),
            in_flight: InFlight::default(),
            handed: VecDeque::new(),
            described: None,
            checks: None,
            has_started: false,
            stop: StopRequest::default(),
            pause: PauseRequest::default(),
            timers: Timers::new(),
            failure: None,
            end: None,
            has_lacked_memory: false,
        }
    }

    /// Works until nothing is left to do or nothing more can be done.
    ///
    /// # Errors
    ///
    /// The run cannot be created or written.
    pub(super) fn run(mut self) -> Result<Ended, RecordError> {
        loop {
            self.now = self.clock.now();
            let mut wait = self.wait();
            // All inputs that are there are handled before the schedule decides.
            for _ in 0..MAX_TURN {
                let Some(next) = self.pool.next(wait) else { break };
                self.now = self.clock.now();
                match next {
                    Next::Pool(event) => self.handle_pool(event),
                    Next::Input(input) => self.handle(input)?,
                }
                wait = Duration::ZERO;
            }
            self.now = self.clock.now();
            self.try_root()?;
            self.check_tests();
            self.add_ready_workers();
            self.tick();
            self.pool.flush();
            self.record_start();
            self.report_progress();
            if let Some(end) = self.end.take() {
                match (self.run.take(), self.waiting.take()) {
                    (Some(run), _) => return self.close(run, end),
                    (None, Some(owned)) => return self.close_waiting(owned, end),
                    (None, None) => self.end = Some(end),
                }
            }
        }
    }

    /// The time until something is due.
    fn wait(&self) -> Duration {
        let wait = match (&self.waiting, self.pause.at) {
            (Some(_), _) => TRY_ROOT_EVERY,
            // Run time stands still.
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
            Input::Created(created) => {
                let owned = created.unwrap_or_else(|panic| resume_unwind(panic))?;
                self.created(owned)?;
            }
            Input::Notice(notice) => self.notice(&notice),
            // The feed handles these.
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
                Some((reason, problems)) => self.fail(reason, problems),
                None => {
                    let checks = Checks::from_descriptions(&ready, self.plan);
                    self.checks = self.pool.next_ready().map(|worker| (checks, worker));
                    self.described = Some(ready);
                }
            },
            PoolEvent::Compiling(plugin) => {
                self.log(&format!("plugin `{plugin}` is being compiled"));
                self.event(&RunEvent::Compiling { plugin: &plugin });
            }
            PoolEvent::Failed(reason, message) => self.fail(reason, message),
        }
    }

    /// Takes over the run that is on disk now. Reports it, and waits for the root if the run was created to wait.
    fn created(&mut self, owned: Owned) -> Result<(), RecordError> {
        let session = owned.manifest().sessions.last().map_or(1, |session| session.number);
        self.watchdog.watch(owned.live_writer(), session);
        let watching = requests::watch(owned.requests(), self.watchdog.clone(), self.pool.sender());
        if let Err(error) = watching {
            owned.log(&format!("requests cannot be looked for: {error}"));
        }
        self.observer.event(&RunEvent::Created {
            manifest: owned.manifest(),
            directory: &owned.dir().path(),
            log: owned.log_file(),
        });
        self.root.note(owned.manifest());
        if owned.manifest().stage == Stage::Waiting {
            self.wait_for_root(owned)
        } else {
            self.open(owned, session)
        }
    }

    /// Starts to write rows of the run.
    pub(super) fn open(&mut self, owned: Owned, session: u32) -> Result<(), RecordError> {
        let inputs = self.pool.sender();
        let writer = owned.writer(Box::new(move |ack| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Ack(ack));
        }))?;
        for notice in owned.notices() {
            self.observer.event(&RunEvent::Notice(notice));
        }
        for notice in &self.plan.notices {
            owned.log(notice);
            self.observer.event(&RunEvent::Notice(notice));
        }
        self.run =
            Some(ActiveRun { live: write_live(owned.live_writer()), owned, writer, session });
        Ok(())
    }

    /// Has inputs checked by the worker whose plugins have described them, which goes on with trials if they are right.
    fn check_tests(&mut self) {
        let Some((checks, ReadyWorker { worker, .. })) =
            self.checks.as_mut().filter(|_| !self.stop.is_stopping)
        else {
            return;
        };
        let (plan, fold, pool) = (self.plan, &self.fold, &mut self.pool);
        let is_pending = |trial| fold.trial(trial).is_pending;
        let sent = checks.fill(plan, is_pending, |task, line| pool.assign(*worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("a test cannot be sent: {error}"));
        } else if checks.is_done(plan)
            && self.run.is_some()
            && let Some((checks, worker)) = self.checks.take()
        {
            self.pool.checked();
            match checks.lines() {
                Some(lines) => self.fail(Reason::Plugin, lines),
                None => self.add_worker(&worker),
            }
        }
    }

    /// Gives workers to the schedule once there is a run and its plugins were described.
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

    /// Writes down that trials run, while the first ones do.
    fn record_start(&mut self) {
        let (Some(run), Some(ready), None, false) =
            (&mut self.run, &self.described, &self.checks, self.stop.is_stopping)
        else {
            return;
        };
        let mut providers = run.owned.manifest().providers.clone();
        for about in &ready.providers {
            if let Some(provider) = providers.get_mut(usize::from(about.provider)) {
                provider.description.clone_from(&about.description);
            }
        }
        run.owned.note_wall(ready.standing.to_string());
        // Nothing depends on it; a disk that is full shows itself at the first row.
        run.owned.note_stage(Stage::Run, providers);
        (self.described, self.has_started) = (None, true);
        self.timers.live = self.timers.live.min(self.now.0 + FIRST_LIVE);
        self.observer.event(&RunEvent::Started {
            manifest: run.owned.manifest(),
            directory: &run.owned.dir().path(),
            pending: self.schedule.left(),
            jobs: self.plan.settings.jobs,
        });
        self.timers.sweep = 0;
    }

    /// Gives dead runs of the root their true status, while workers run.
    pub(super) fn sweep(&self) {
        // A root of its own: the session's one ends with the session.
        let (path, inputs) = (self.root.path().to_owned(), self.pool.sender());
        let sweep = move || {
            // Those who work on trials go first.
            let _ = rustix::process::nice(10);
            Scratch::sweep(&env::temp_dir());
            let swept = ResultsRoot::existing(&path).and_then(|root| root.sweep());
            for Manifest { id, status, .. } in swept.unwrap_or_default() {
                let notice = format!("the process of run {id} is dead; the run is {status} now");
                let _ = inputs.send(Input::Notice(notice));
            }
        };
        // Without a thread nothing is swept, and no run starts worse for it.
        let _ = thread::Builder::new().name("sweep".into()).spawn(sweep);
    }

    fn receive_signal(&mut self, signal: StopSignal, is_second: bool) {
        self.stop.signal.get_or_insert(signal);
        let mode = if is_second { StopMode::Kill } else { StopMode::Stop };
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

    /// Stops this process until SIGCONT, with its workers paused.
    fn suspend(&mut self) {
        let was_paused = self.pause.at.is_some();
        self.apply(|schedule| schedule.pause(true));
        // The threads that send to workers are stopped, too; what they do not send now, they send afterwards.
        thread::sleep(Duration::from_millis(20));
        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGSTOP);
        if !was_paused {
            self.now = self.clock.now();
            self.apply(|schedule| schedule.pause(false));
        }
    }

    fn pause(&mut self, is_paused: bool) {
        self.pool.pause(is_paused);
        self.clock.pause(is_paused);
        self.pause.at = is_paused.then(monotonic);
        let by = self.pause.by.take();
        self.log(&match (is_paused, &by) {
            (true, None) => "paused by Ctrl-Z".to_owned(),
            (true, Some(by)) => format!("paused by {}", requests::describe_actor(by)),
            (false, _) => "the run goes on".to_owned(),
        });
        let owned = match &mut self.run {
            Some(run) => {
                let worked = Duration::from(self.now - RunTime::default());
                run.owned.note_times(worked, self.clock.suspended());
                Some(&mut run.owned)
            }
            None => self.waiting.as_mut(),
        };
        if let Some(owned) = owned {
            let noted = owned.note_pause(is_paused, by.clone());
            self.root.note(owned.manifest());
            if let Err(error) = noted {
                self.notice(&error.to_string());
            }
        }
        self.event(&if is_paused {
            RunEvent::Paused { by: by.as_ref() }
        } else {
            RunEvent::Unpaused
        });
    }

    /// Ends a session that cannot go on.
    pub(super) fn fail(&mut self, reason: Reason, message: String) {
        self.stop.is_stopping = true;
        self.apply(|schedule| schedule.stop(StopMode::Kill, reason, Some(message)));
    }

    fn stop_workers(&mut self, kill: bool) {
        self.stop.is_stopping = true;
        self.report_stopping();
        self.pool.stop(kill);
    }

    /// Tells the schedule what event and does what it says.
    pub(super) fn apply(&mut self, event: impl FnOnce(&mut Schedule)) {
        let effects = self.schedule.apply(self.now, event);
        self.carry_out(effects, None);
    }

    /// Lets the schedule decide what follows from all that it was told.
    fn tick(&mut self) {
        // A session that waits for its root does nothing but stop.
        if self.waiting.is_some() && !self.schedule.is_stopping() {
            return;
        }
        let trials = (&self.plan.suite, &self.fold);
        let schedule = &mut self.schedule;
        let effects = schedule.apply(self.now, |schedule| schedule.tick(&trials));
        self.carry_out(effects, None);
    }

    /// Does what the schedule says. `report` is what it has decided about.
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
                        let message = format!("a worker cannot be started: {error}");
                        self.fail(Reason::Internal, message);
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
                Effect::Finish { reason, message } => self.end = Some((reason, message)),
            }
        }
    }

    fn send(&mut self, worker: WorkerId, assignment: &Assignment) {
        let task = self.in_flight.add(self.plan, self.now, worker, assignment);
        let sent = task.and_then(|(task, line)| self.pool.assign(worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("a test cannot be sent: {error}"));
        }
    }
}
