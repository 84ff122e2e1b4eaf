//! The coordinator's loop: takes what workers, the writer and signals say, asks [`Schedule`] what to do, and does it.

use std::{
    collections::VecDeque,
    env,
    panic::resume_unwind,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::Duration,
};

use runner_model::{
    Reason, RunTime, Stage, StopSignal, TaskId, WorkerId, prepare::Ready, protocol::FromWorker,
    row::Actor, visible::visible_line,
};
use runner_record::{
    Ack, End, Fold, Live, Manifest, Owned, RecordError, Request, ResultsRoot, RowFacts, Scratch,
    Writer,
};

use crate::{
    Ended, EngineError, Observer, RunEvent,
    checks::Checks,
    clock::{Clock, monotonic},
    in_flight::InFlight,
    plan::Plan,
    pool::{Pool, PoolEvent, ReadyWorker, Supply},
    requests,
    schedule::{Assignment, Blame, Effect, Schedule, StopMode},
    session,
    signals::SignalEvent,
    watchdog::Watchdog,
    workers::{LinkEvent, WorkerExit},
};

mod progress;
mod rows;

use self::{progress::write_live, rows::CheckedReport};

/// What the coordinator waits for.
pub(crate) enum Input {
    /// Something was heard of a worker.
    Link(WorkerId, LinkEvent),
    /// Rows are on disk, or never will be.
    Ack(Ack),
    /// A signal came.
    Signal(SignalEvent),
    /// Another process asks that the session ends.
    Asked(Box<Request>),
    /// Another process asks that the session pauses, or with none that it goes on.
    Pause(Option<Box<Actor>>),
    /// The run is on disk, or the thread that was to see to it panicked.
    Born(Box<thread::Result<Result<Owned, RecordError>>>),
    /// What came of making something that workers wait for.
    Supplied(Supply, Result<(), EngineError>),
    /// Something that a user should know.
    Notice(String),
}

/// How often the screen is told what runs.
const PROGRESS_EVERY: u64 = 100_000;
/// A run that ends sooner has no `live.json`.
const FIRST_LIVE: u64 = 50_000;
/// Bytes that `live.json` has of what an attempt does.
const MAX_WORD: usize = 300;
/// How long workers may take that tear down instances, which may take them 5 s.
const TEARDOWN_WITHIN: Duration = Duration::from_millis(5_500);
/// How much is heard at most before something is decided.
const MAX_TURN: usize = 1000;

/// A session while it goes on.
pub(crate) struct Coordinator<'a> {
    begin: Begin<'a>,
    run: Option<ActiveRun>,
    now: RunTime,
    flights: InFlight,
    /// The trials of rows that were handed to the writer and are not on disk, in order, and what the rows say.
    handed: VecDeque<(u64, RowFacts)>,
    described: Option<Ready>,
    /// The checks of inputs before the first attempt, and who makes them.
    checks: Option<(Checks, ReadyWorker)>,
    has_started: bool,
    is_stopping: bool,
    signal: Option<StopSignal>,
    /// Who asked from another process that the session ends.
    stopped_by: Option<Actor>,
    /// Who asks for a pause.
    pause_by: Option<Actor>,
    /// Since when the session is paused, by the monotonic clock.
    paused_at: Option<u64>,
    /// When a stop that goes on is told of again.
    next_waiting: Option<u64>,
    /// What went wrong with the disk.
    failure: Option<String>,
    end: Option<(Option<Reason>, Option<String>)>,
    has_lacked_memory: bool,
    next_progress: u64,
    next_live: u64,
    next_sweep: u64,
}

/// A run that is on disk.
struct ActiveRun {
    owned: Owned,
    writer: Writer,
    live: SyncSender<Live>,
    session: u32,
}

/// What a coordinator begins with.
pub(crate) struct Begin<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) crew: Pool,
    /// Dropped behind the crew: it waits for the list of runs, which is written while the crew's folder is removed.
    pub(crate) root: ResultsRoot,
    pub(crate) schedule: Schedule,
    pub(crate) clock: Clock,
    pub(crate) fold: Fold,
    pub(crate) watchdog: Watchdog,
}

impl<'a> Coordinator<'a> {
    pub(crate) fn new(begin: Begin<'a>) -> Self {
        Self {
            begin,
            run: None,
            now: RunTime::default(),
            flights: InFlight::default(),
            handed: VecDeque::new(),
            described: None,
            checks: None,
            has_started: false,
            is_stopping: false,
            signal: None,
            stopped_by: None,
            pause_by: None,
            paused_at: None,
            next_waiting: None,
            failure: None,
            end: None,
            has_lacked_memory: false,
            next_progress: 0,
            next_live: FIRST_LIVE,
            next_sweep: u64::MAX,
        }
    }

    /// Works until nothing is left to do or nothing more can be done.
    ///
    /// # Errors
    ///
    /// The run cannot be made.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) -> Result<Ended, RecordError> {
        loop {
            self.now = self.begin.clock.now();
            let wake = self.begin.schedule.wake_at();
            let wake = wake.map_or(self.next_progress, |at| at.0.min(self.next_progress));
            let wait = match self.paused_at {
                // Nothing comes nearer.
                Some(_) => PROGRESS_EVERY,
                None => wake.saturating_sub(self.now.0),
            };
            let wait = Duration::from_micros(wait);
            match inputs.recv_timeout(wait) {
                Ok(input) => self.take(input)?,
                Err(RecvTimeoutError::Timeout) => self.now = self.begin.clock.now(),
                // It has a sender itself.
                Err(RecvTimeoutError::Disconnected) => {}
            }
            // All that has come is heard before anything is decided.
            for input in inputs.try_iter().take(MAX_TURN) {
                self.take(input)?;
            }
            self.check_tests();
            self.tell_ready();
            self.tick();
            self.begin.crew.flush();
            self.start();
            self.tell();
            if let Some(end) = self.end.take() {
                match self.run.take() {
                    Some(run) => return self.close(run, end, inputs),
                    None => self.end = Some(end),
                }
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<(), RecordError> {
        self.now = self.begin.clock.now();
        match input {
            Input::Link(worker, event) => {
                let mut news = Vec::new();
                self.begin.crew.hear(worker, event, &mut news);
                self.take_news(news);
            }
            Input::Supplied(supply, result) => {
                let mut news = Vec::new();
                self.begin.crew.supplied(supply, result, &mut news);
                self.take_news(news);
            }
            Input::Ack(ack) => self.take_ack(ack),
            Input::Signal(SignalEvent::Stop(signal, is_second)) => {
                self.take_signal(signal, is_second);
            }
            Input::Signal(SignalEvent::Suspend) => self.suspend(),
            Input::Asked(request) => self.take_request(*request),
            Input::Pause(by) => {
                let is_paused = by.is_some();
                self.pause_by = by.map(|by| *by);
                self.on(|schedule| schedule.pause(is_paused));
            }
            Input::Born(born) => self.born(born.unwrap_or_else(|panic| resume_unwind(panic))?)?,
            Input::Notice(notice) => self.notice(&notice),
        }
        Ok(())
    }

    fn take_news(&mut self, news: Vec<PoolEvent>) {
        for news in news {
            match news {
                PoolEvent::Said(worker, message) => self.hear(worker, message),
                PoolEvent::Lost(worker, loss) => self.lose(worker, loss),
                PoolEvent::Described(ready) => match self.begin.crew.problems(&ready) {
                    Some((reason, problems)) => self.fail(reason, problems),
                    None => {
                        let checks = Checks::of_described(&ready, self.begin.plan);
                        self.checks = self.begin.crew.next_ready().map(|who| (checks, who));
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
    }

    fn born(&mut self, owned: Owned) -> Result<(), RecordError> {
        let inputs = self.begin.crew.sender();
        let writer = owned.writer(Box::new(move |ack| {
            // Without a receiver the session has ended.
            let _ = inputs.send(Input::Ack(ack));
        }))?;
        let session = owned.manifest().sessions.last();
        let session = session.map_or(1, |session| session.number);
        self.begin.watchdog.born(owned.live_writer(), session);
        let inputs = self.begin.crew.sender();
        let watching = requests::watch(owned.requests(), self.begin.watchdog.clone(), inputs);
        if let Err(error) = watching {
            owned.log(&format!("requests cannot be looked for: {error}"));
        }
        self.begin.observer.event(&RunEvent::Born {
            manifest: owned.manifest(),
            directory: &owned.dir().path(),
            log: owned.log_file(),
        });
        for notice in owned.notices() {
            self.begin.observer.event(&RunEvent::Notice(notice));
        }
        for notice in &self.begin.plan.notices {
            owned.log(notice);
            self.begin.observer.event(&RunEvent::Notice(notice));
        }
        self.begin.root.note(owned.manifest());
        self.run =
            Some(ActiveRun { live: write_live(owned.live_writer()), owned, writer, session });
        Ok(())
    }

    /// Has inputs checked by the worker whose plugins have described them, which goes on with trials if they are right.
    fn check_tests(&mut self) {
        let Some((checks, (worker, ..))) = self.checks.as_mut().filter(|_| !self.is_stopping)
        else {
            return;
        };
        let (plan, fold, crew) = (self.begin.plan, &self.begin.fold, &mut self.begin.crew);
        let is_pending = |trial| fold.trial(trial).is_pending;
        let sent = checks.fill(plan, is_pending, |task, line| crew.assign(*worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("a test cannot be sent: {error}"));
        } else if checks.is_over(plan)
            && self.run.is_some()
            && let Some((checks, worker)) = self.checks.take()
        {
            self.begin.crew.checked();
            match checks.lines() {
                Some(lines) => self.fail(Reason::Plugin, lines),
                None => self.worker_ready(worker),
            }
        }
    }

    /// Gives workers to the schedule once there is a run and its plugins were described.
    fn tell_ready(&mut self) {
        while self.run.is_some()
            && self.checks.is_none()
            && let Some(worker) = self.begin.crew.next_ready()
        {
            self.worker_ready(worker);
        }
    }

    fn worker_ready(&mut self, (worker, shape, alone): ReadyWorker) {
        self.on(|schedule| schedule.worker_ready(worker, shape.slots, shape.memory, alone));
    }

    /// Writes down that trials run, while the first ones do.
    fn start(&mut self) {
        let (Some(run), Some(ready), None, false) =
            (&mut self.run, &self.described, &self.checks, self.is_stopping)
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
        self.next_live = self.next_live.min(self.now.0 + FIRST_LIVE);
        self.begin.observer.event(&RunEvent::Started {
            manifest: run.owned.manifest(),
            directory: &run.owned.dir().path(),
            pending: self.begin.schedule.left(),
            jobs: self.begin.plan.settings.jobs,
        });
        self.next_sweep = 0;
    }

    /// Gives dead runs of the root their true status, while workers run.
    fn sweep(&self) {
        // A root of its own: the session's one ends with the session.
        let (path, inputs) = (self.begin.root.path().to_owned(), self.begin.crew.sender());
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

    fn hear(&mut self, worker: WorkerId, message: FromWorker) {
        // It may have come together with what the worker is killed for.
        if !self.begin.crew.believes(worker) {
            return;
        }
        match message {
            FromWorker::Report { head, body } => match &mut self.checks {
                Some((checks, _)) => checks.take(head.task, &body[..head.row_bytes as usize]),
                None => self.report(worker, &head, body),
            },
            FromWorker::Artifact { task, index, bytes } => {
                self.add_piece(worker, task, index, &bytes);
            }
            FromWorker::Returned(tasks) => {
                let mut tasks = tasks;
                tasks.retain(|task| self.flights.at(worker, *task).is_some());
                for task in &tasks {
                    self.flights.all.remove(task);
                }
                self.on(|schedule| schedule.returned(worker, &tasks));
            }
            FromWorker::Log(line) => {
                self.log(&format!("worker {}: {}", worker.0, visible_line(&line)));
            }
            FromWorker::Doing(doing) => {
                for mut doing in doing {
                    if let Some(flight) = self.flights.at(worker, doing.task) {
                        let most = doing.word.floor_char_boundary(MAX_WORD);
                        doing.word.truncate(most);
                        flight.word = doing.word;
                    }
                }
            }
            // The others are heard by the crew and the link.
            _ => {}
        }
    }

    fn lose(&mut self, worker: WorkerId, WorkerExit { begun, blame, how }: WorkerExit) {
        if !self.is_stopping {
            self.log(&format!("worker {} {how}", worker.0));
        }
        let checks = self.checks.take_if(|(_, (checker, ..))| *checker == worker);
        if checks.is_some() {
            // Another one is asked what inputs have to be.
            self.described = None;
        }
        let flights = self.flights.all.values_mut();
        for flight in flights.filter(|flight| flight.worker == worker) {
            flight.lost = Some((monotonic(), how.clone()));
        }
        let paused_at = self.paused_at;
        let begun = begun.iter().filter(|word| {
            let flight = self.flights.at(worker, TaskId(word.task));
            let lost = flight.and_then(|flight| flight.lost.as_mut());
            lost.is_some_and(|(began, _)| {
                // Its worker has not moved it by the pause that lasts.
                let standing =
                    paused_at.map_or(0, |at| monotonic().saturating_sub(at.max(word.began)));
                *began = word.began + standing;
                true
            })
        });
        let begun: Vec<_> = begun.map(|word| TaskId(word.task)).collect();
        let stuck = match blame {
            Some(Blame::Stuck(task)) => self.flights.at(worker, task),
            _ => None,
        };
        let policy = stuck.map(|flight| flight.policy.clone());
        self.on(|schedule| schedule.worker_lost(worker, &begun, blame, policy.as_ref()));
        let flights = &mut self.flights.all;
        flights.retain(|_, flight| flight.worker != worker);
    }

    fn take_signal(&mut self, signal: StopSignal, is_second: bool) {
        self.signal.get_or_insert(signal);
        let mode = if is_second { StopMode::Kill } else { StopMode::Stop };
        self.on(|schedule| schedule.stop(mode, Reason::Interrupted, None));
    }

    fn take_request(&mut self, request: Request) {
        let Some((mode, reason)) = requests::ending(request.mode) else {
            return;
        };
        self.log(&requests::words(&request));
        let message = request.by.reason.clone();
        if self.stopped_by.is_none() || reason == Reason::Cancelled {
            self.stopped_by = Some(request.by);
        }
        self.on(|schedule| schedule.stop(mode, reason, message));
        self.tell_stopping();
    }

    /// Stops this process until SIGCONT, with its workers paused.
    fn suspend(&mut self) {
        let was_paused = self.paused_at.is_some();
        self.on(|schedule| schedule.pause(true));
        // The threads that send to workers are stopped, too; what they do not send now, they send afterwards.
        thread::sleep(Duration::from_millis(20));
        let _ = signal_hook::low_level::raise(signal_hook::consts::SIGSTOP);
        if !was_paused {
            self.now = self.begin.clock.now();
            self.on(|schedule| schedule.pause(false));
        }
    }

    fn pause(&mut self, is_paused: bool) {
        self.begin.crew.pause(is_paused);
        self.begin.clock.pause(is_paused);
        self.paused_at = is_paused.then(monotonic);
        let by = self.pause_by.take();
        self.log(&match (is_paused, &by) {
            (true, None) => "paused by Ctrl-Z".to_owned(),
            (true, Some(by)) => format!("paused by {}", requests::words_of(by)),
            (false, _) => "the run goes on".to_owned(),
        });
        if let Some(run) = &mut self.run {
            let worked = Duration::from(self.now - RunTime::default());
            let suspended = self.begin.clock.suspended();
            run.owned.note_times(worked, suspended);
            let noted = run.owned.note_pause(is_paused, by.clone());
            self.begin.root.note(run.owned.manifest());
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
    fn fail(&mut self, reason: Reason, message: String) {
        self.is_stopping = true;
        self.on(|schedule| schedule.stop(StopMode::Kill, reason, Some(message)));
    }

    fn stop_crew(&mut self, kill: bool) {
        self.is_stopping = true;
        self.tell_stopping();
        self.begin.crew.stop(kill);
    }

    /// Tells the schedule what happened and does what it says.
    fn on(&mut self, happened: impl FnOnce(&mut Schedule)) {
        let effects = self.begin.schedule.on(self.now, happened);
        self.act(effects, None);
    }

    /// Lets the schedule decide what follows from all that it was told.
    fn tick(&mut self) {
        let trials = (&self.begin.plan.suite, &self.begin.fold);
        let schedule = &mut self.begin.schedule;
        let effects = schedule.on(self.now, |schedule| schedule.tick(&trials));
        self.act(effects, None);
    }

    /// Does what the schedule says. `report` is what it has decided about.
    fn act(&mut self, effects: Vec<Effect>, mut report: Option<CheckedReport>) {
        for effect in effects {
            match effect {
                Effect::Send { worker, assignment } => self.send(worker, &assignment),
                Effect::TakeBack { worker, keep } => self.begin.crew.take_back(worker, keep),
                Effect::Stop { kill } => self.stop_crew(kill),
                Effect::Pause(is_paused) => self.pause(is_paused),
                Effect::Kill(worker) => self.begin.crew.kill(worker),
                Effect::StartAlone => {
                    if let Err(error) = self.begin.crew.start_alone() {
                        let message = format!("a worker cannot be started: {error}");
                        self.fail(Reason::Internal, message);
                    }
                }
                Effect::Write { task, fate, is_final, flaky } => {
                    let report = match fate {
                        Some(fate) => self.report_for(task, fate),
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
        let task = self.flights.add(self.begin.plan, self.now, worker, assignment);
        let sent = task.and_then(|(task, line)| self.begin.crew.assign(worker, task, line));
        if let Err(error) = sent {
            self.fail(Reason::Internal, format!("a test cannot be sent: {error}"));
        }
    }

    /// Waits for the disk, and tells what is acknowledged last.
    fn close(
        mut self,
        mut run: ActiveRun,
        (mut reason, mut message): (Option<Reason>, Option<String>),
        inputs: &Receiver<Input>,
    ) -> Result<Ended, RecordError> {
        self.begin.crew.finish();
        let closed = run.writer.close();
        let (mut is_hurried, mut news) = (false, Vec::new());
        for input in inputs.try_iter() {
            match input {
                Input::Signal(_) => is_hurried = true,
                Input::Ack(Ack::Written { lines, .. }) => self.take_lines(&lines),
                Input::Link(worker, event) => self.begin.crew.hear(worker, event, &mut news),
                _ => {}
            }
        }
        let crew = &mut self.begin.crew;
        if crew.keeps_instances() && !is_hurried {
            crew.wait_for(TEARDOWN_WITHIN, inputs, &mut news);
        }
        for news in news {
            if let PoolEvent::Said(_, FromWorker::Log(line)) = news {
                run.owned.log(&visible_line(&line));
            }
        }
        if let Err(error) = closed {
            reason = Some(Reason::Storage);
            self.failure.get_or_insert(error.to_string());
        }
        if reason == Some(Reason::Storage) {
            message = message.or(self.failure.take());
        }
        if let Some(message) = &message {
            run.owned.log(message);
        }
        for budget in self.begin.schedule.spending().unmeasured() {
            let notice =
                format!("no attempt has measured `{budget}`, so its budget bounds nothing");
            run.owned.log(&notice);
            self.begin.observer.event(&RunEvent::Notice(&notice));
        }
        let directory = run.owned.dir().path();
        let end = End {
            reason,
            signal: self.signal.filter(|_| reason == Some(Reason::Interrupted)),
            message,
            at: runner_record::now(),
        };
        let took = Duration::from(self.begin.clock.now() - RunTime::default());
        run.owned.note_times(took, self.begin.clock.suspended());
        let stopped_by = self.stopped_by.take();
        if let (Some(by), Some(Reason::Stopped | Reason::Cancelled)) = (stopped_by, reason) {
            run.owned.note_stopped_by(by);
        }
        let manifest = run.owned.finish(end, &self.begin.fold)?;
        self.begin.root.note(&manifest);
        self.begin.crew.wait(inputs);
        Ok(session::ended(manifest, directory, took, self.begin.observer))
    }
}
