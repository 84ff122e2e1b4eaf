//! A session from the moment its run can be listed until its end is written down; the same for `exec` and `resume`.

use std::{
    io::{self, IsTerminal as _},
    num::NonZeroUsize,
    panic::{self, AssertUnwindSafe},
    path::Path,
    thread,
    time::Duration,
};

use miette::miette;
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use super::{
    Surroundings,
    closing::{Closing, close},
    detach::leave_terminal,
    session_log::SessionLog,
    story,
};
use crate::{
    cli::TalkArgs,
    error::{Error, ExitStatus},
    model::Counts,
    output::{Begin, Mode, Output, Report},
    plugin::{self, Engine, EngineOptions, Interrupt},
    record::{History, RecordError, Recorder, Store, Written},
    run::{self, Message, Plan, Session, SessionError, StopRequest, StopSignals, Watch, Watchdog},
};

/// How long compiling one plugin may take.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a session that waits for others looks for them.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// As long as any process lives.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A session that has begun.
pub(super) struct Live<'a> {
    plan: &'a Plan,
    recorder: Recorder,
    report: Report,
    inbox: UnboundedReceiver<Message>,
    interrupt: Interrupt,
    watchdog: Watchdog,
    /// Why it ended before it began to work.
    ended: Option<SessionError>,
}

/// What a session needs of its process.
pub(super) struct Around<'a> {
    pub(super) signals: &'a StopSignals,
    pub(super) log: &'a SessionLog,
    pub(super) surroundings: &'a Surroundings,
    /// Whether it waits for others before it works, which its time does not count.
    pub(super) waits: bool,
}

/// How the recorder acknowledges rows.
pub(super) type Acks = Box<dyn Fn(Written) + Send>;

impl<'a> Live<'a> {
    /// Begins a session; from here on signals and requests stop it in order.
    ///
    /// `open` makes the recorder: a birth, or another session of a run that exists.
    pub(super) fn begin(
        plan: &'a Plan,
        around: &Around<'_>,
        mut report: Report,
        open: impl FnOnce(Acks) -> Result<Recorder, RecordError>,
    ) -> Result<Self, Error> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let interrupt = Interrupt::default();
        let stop = stopper(&sender, &interrupt);
        // A signal that comes before the watchdog is there reaches the dispatcher all the same.
        around.signals.listen(stop.clone());

        let acks: Acks = Box::new(move |written| drop(sender.send(Message::Written(written))));
        let recorder = open(acks).map_err(Error::record)?;
        match recorder.open_log() {
            Ok(file) => around.log.go_to(file, plan.given_secrets()),
            Err(error) => tracing::warn!("cannot write the session's log: {error}"),
        }
        story::begin(plan, &recorder, around.surroundings);
        let timeout = (!around.waits).then(|| plan.timeout());
        let watchdog = watch(plan, &recorder, timeout, stop.clone())?;
        let told = watchdog.told();
        around.signals.listen(move |request| {
            told(&request);
            stop(request);
        });

        let grants = plan.access();
        report.begin(&Begin {
            run: recorder.run_id().as_str(),
            run_dir: recorder.run_dir(),
            scenario: plan.scenario().name(),
            planned: plan.trial_count(),
            providers: plan.provider_count(),
            grants: grants
                .map(|(provider, _, grants)| (provider.as_str(), grants))
                .collect(),
            jobs: plan.jobs(),
        });
        Ok(Self {
            plan,
            recorder,
            report,
            inbox,
            interrupt,
            watchdog,
            ended: None,
        })
    }

    /// Waits until this session is alone in its results root; a stop ends the wait, and then the session.
    pub(super) fn wait_until_alone(&mut self, store: &Store) {
        tracing::info!("waiting for the other runs in the results root to end");
        self.ended = loop {
            if let Ok(Message::Stop(request)) = self.inbox.try_recv() {
                break Some(SessionError::Stopped(request.cause()));
            }
            match store.try_alone(run::wall_clock()) {
                Ok(true) => break None,
                Ok(false) => thread::sleep(ASK_EVERY),
                Err(error) => break Some(SessionError::Storage(error)),
            }
        };
        self.watchdog.bound(self.plan.timeout());
    }

    /// Says the run's id, and leaves the terminal.
    pub(super) fn detach(&self, mode: Mode, output: &Output) {
        // The event stream has said it already.
        if mode != Mode::Json {
            output.data(self.recorder.run_id().as_str());
        }
        match self.recorder.open_log().and_then(leave_terminal) {
            Ok(()) => output.go_to_log(),
            Err(error) => output.warn(&format!("the run stays with this terminal: {error}")),
        }
    }

    /// Runs the trials that are left, writes down how it ended, and says so.
    ///
    /// `root` is the results root.
    pub(super) fn run(
        self,
        history: History,
        surroundings: &Surroundings,
        root: &Path,
    ) -> ExitStatus {
        let Self {
            plan,
            mut recorder,
            mut report,
            inbox,
            interrupt,
            watchdog,
            ended,
        } = self;
        let counts = history.state.counts();
        if let Some(ended) = ended {
            let closing = Closing::of(Err(ended), counts, &plan.time_limit());
            return close(recorder, watchdog, report, closing, surroundings);
        }
        plugin::sweep_folders(&surroundings.host.scratch_root, run::wall_clock().into());
        let set_up = contained(|| set_up(plan, engine_options(surroundings, root)));
        // The engine stays until the end is written down: its ticker tells the watchdog's clock that the process runs.
        let (closing, _engine) = match set_up {
            Err(panic) => {
                let ended = Err(broken(&panic, counts));
                (Closing::of(ended, counts, &plan.time_limit()), None)
            }
            Ok(Err(problem)) => (Closing::not_set_up(problem, counts), None),
            Ok(Ok((engine, guests, main))) => {
                let session = Session {
                    engine: &engine,
                    guests: guests.handle().clone(),
                    recorder: &mut recorder,
                    history,
                    inbox,
                    interrupt,
                    scratch_root: surroundings.host.scratch_root.clone(),
                    observe: &mut |event| {
                        story::goes_on(&event);
                        report.observe(&event);
                    },
                };
                let ended = contained(|| main.block_on(run::run(plan, session)));
                let ended = ended.unwrap_or_else(|panic| Err(broken(&panic, counts)));
                // A guest inside one long instruction cannot be joined.
                guests.shutdown_background();
                let closing = Closing::of(ended, counts, &plan.time_limit());
                (closing, Some(engine))
            }
        };
        close(recorder, watchdog, report, closing, surroundings)
    }
}

/// Sees to it that this process can do what a plan asks for, before anything is created.
pub(super) fn make_room(plan: &mut Plan, output: &Output) -> Result<(), Error> {
    let reduced = plan.make_room().map_err(|no_room| Error {
        status: ExitStatus::Failed,
        report: no_room.into(),
    })?;
    for reduced in reduced {
        output.warn(&reduced.to_string());
    }
    Ok(())
}

/// How a session is reported.
pub(super) fn mode(is_json: bool, talk: &TalkArgs, surroundings: &Surroundings) -> Mode {
    if is_json {
        return Mode::Json;
    }
    if talk.quiet {
        return Mode::Quiet;
    }
    if io::stderr().is_terminal() && !surroundings.is_detached {
        return Mode::Terminal;
    }
    Mode::Plain
}

/// Where the engine finds its compiler and its cache.
pub(super) fn engine_options(surroundings: &Surroundings, root: &Path) -> EngineOptions {
    let cache = surroundings.host.cache.clone();
    EngineOptions {
        compiler: surroundings.host.program.clone(),
        cache: cache.unwrap_or_else(|| root.join(".cache")),
        compile_timeout: COMPILE_TIMEOUT,
    }
}

fn stopper(
    sender: &UnboundedSender<Message>,
    interrupt: &Interrupt,
) -> impl Fn(StopRequest) + Clone + Send + 'static {
    let (sender, interrupt) = (sender.clone(), interrupt.clone());
    move |request| {
        if request.interrupts() {
            interrupt.request();
        }
        // Without a dispatcher there is nothing left to stop.
        drop(sender.send(Message::Stop(request)));
    }
}

fn watch(
    plan: &Plan,
    recorder: &Recorder,
    timeout: Option<Duration>,
    stop: impl Fn(StopRequest) + Send + 'static,
) -> Result<Watchdog, Error> {
    let watch = Watch {
        run_dir: recorder.run_dir().into(),
        holding: recorder.holding(),
        timeout,
        grace: plan.grace(),
        exit_code: |reason, signal| ExitStatus::of_unkept_stop(reason, signal).code().into(),
    };
    Watchdog::start(watch, stop)
        .map_err(|error| Error::internal(miette!("cannot start the watchdog: {error}")))
}

/// Keeps a panic from ending the process before the run is closed; it is the text of the error.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| plugin::panic_text(&*panic).to_owned())
}

/// How a session ends in which the runner has panicked. What is on disk is counted when that is written down.
fn broken(panic: &str, counts: Counts) -> SessionError {
    let error = format!("the runner itself failed: {panic}; this is a bug, please report it");
    SessionError::Run { error, counts }
}

/// Makes the engine, the guests' runtime, and the one that the dispatcher has for itself.
fn set_up(plan: &Plan, options: EngineOptions) -> Result<(Engine, Runtime, Runtime), String> {
    let engine = Engine::new(options).map_err(|error| error.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let guests = runtime::Builder::new_multi_thread()
        .worker_threads(plan.jobs().min(cores))
        .thread_name("guest")
        .thread_keep_alive(FOR_EVER)
        .enable_all()
        .build();
    let main = runtime::Builder::new_current_thread().enable_all().build();
    match (guests, main) {
        (Ok(guests), Ok(main)) => {
            // One thread for what blocks is made now and stays: where no other can be started, that is all there is to
            // wait for.
            drop(guests.spawn_blocking(|| ()));
            Ok((engine, guests, main))
        }
        (Err(error), _) | (_, Err(error)) => Err(format!("cannot start threads: {error}")),
    }
}
