//! Runs a session: one function for `exec` and `resume`, which differ in how the run comes into this process's hands.

use std::{
    io,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use runner_model::{Reason, exit::Exit};
use runner_record::{Fold, Manifest, Owned, RecordError, ResultsRoot};

use crate::{
    Ended, EngineError, Observer, RunEvent,
    clock::Clock,
    coordinator::{Begin, Coordinator, Done, Input},
    crew::{Crew, Launch},
    plan::Plan,
    schedule::{Pending, Schedule},
    signals,
    watchdog::Watchdog,
    workers::WorkerProcess,
};

/// How long workers are waited for that have nothing more to do.
const FINISH_WITHIN: Duration = Duration::from_millis(200);
/// How long a sweep that goes on is waited for at the end.
const SWEEP_WITHIN: Duration = Duration::from_millis(50);

/// What is there before a session: its clock, its channel, and a worker that starts while the rest is read.
pub(crate) struct Beginning {
    pub(crate) clock: Clock,
    pub(crate) crew: Crew,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) sender: Sender<Input>,
}

/// What a session works on.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    /// The state of the rows that are there.
    pub(crate) fold: Fold,
    /// Number of the session.
    pub(crate) session: u32,
    pub(crate) root: ResultsRoot,
    pub(crate) compile_seconds: Option<u32>,
}

/// Starts worker processes.
pub(crate) fn processes() -> Launch {
    // A worker that lies, in tests.
    let name = cfg!(debug_assertions).then(|| std::env::var("RUNNER_TEST_WORKER").ok());
    let name = name.flatten().unwrap_or_else(|| "__worker".to_owned());
    Box::new(move |_, hear| Ok(Box::new(WorkerProcess::start(&name, hear)?)))
}

impl Beginning {
    /// Starts the first worker.
    pub(crate) fn new(launch: Launch) -> Result<Self, EngineError> {
        let clock = Clock::start();
        let (sender, inputs) = mpsc::channel();
        let mut crew = Crew::new(launch, sender.clone());
        crew.start_early().map_err(machine)?;
        Ok(Self {
            clock,
            crew,
            inputs,
            sender,
        })
    }
}

/// An error of the machine before there is a run.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn machine(error: io::Error) -> EngineError {
    EngineError::Machine(format!("a worker cannot be started: {error}"))
}

/// Runs a session to its end. `birth` brings the run into this process's hands, on a thread of its own.
pub(crate) fn run(
    beginning: Beginning,
    work: Work,
    birth: impl FnOnce() -> Result<Owned, RecordError> + Send + 'static,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let Beginning {
        clock,
        mut crew,
        inputs,
        sender,
    } = beginning;
    let Work {
        plan,
        fold,
        session,
        root,
        compile_seconds,
    } = work;
    let began = clock.began();
    let schedule = Schedule::new(plan.settings(), plan.suite.clone(), |trial| {
        let state = fold.trial(trial);
        state.outcome.is_none().then(|| Pending {
            attempts: fold.attempts(trial),
            had_bad: state.had_bad,
        })
    });
    let pending = schedule.left();
    crew.prepare(&plan, session, &plan.shapes(pending), compile_seconds)
        .map_err(machine)?;
    let watchdog =
        Watchdog::start(plan.timeout, plan.scenario.run.grace.into()).map_err(machine)?;
    let _listening = listen(&watchdog, sender.clone()).map_err(machine)?;
    let (started, swept) = sweep(root.clone(), sender.clone());
    let born = sender.clone();
    let birth = move || {
        // Without a receiver the session has ended.
        let _ = born.send(Input::Born(birth()));
    };
    let thread = thread::Builder::new().name("birth".into());
    thread.spawn(birth).map_err(machine)?;

    let coordinator = Coordinator::new(Begin {
        plan: &plan,
        observer: &mut *observer,
        crew,
        schedule,
        clock,
        fold,
        watchdog: &watchdog,
        inputs: sender,
        started,
        pending,
    });
    let Done {
        owned,
        fold,
        end,
        crew,
    } = coordinator.run(&inputs)?;
    let directory = owned.dir().path();
    let manifest = owned.finish(end, &fold)?;
    root.note(&manifest);
    bid_farewell(crew, &inputs);
    // A sweep that takes longer goes on at the next start of a run.
    let _ = swept.recv_timeout(SWEEP_WITHIN);
    observer.event(&RunEvent::Finished {
        manifest: &manifest,
        took: began.elapsed(),
    });
    Ok(Ended {
        exit: exit_of(&manifest),
        manifest,
        directory,
    })
}

/// Waits a moment for workers that were told to end; those that are left are killed.
pub(crate) fn bid_farewell(mut crew: Crew, inputs: &Receiver<Input>) {
    let until = Instant::now() + FINISH_WITHIN;
    let mut news = Vec::new();
    while crew.len() > 0 {
        let left = until.saturating_duration_since(Instant::now());
        match inputs.recv_timeout(left) {
            Ok(Input::Link(worker, event)) => crew.hear(worker, event, &mut news),
            Ok(_) => {}
            Err(_) => return,
        }
        news.clear();
    }
}

/// The exit code of a run.
pub(crate) fn exit_of(manifest: &Manifest) -> Exit {
    Exit::of_run(
        manifest.status,
        manifest.reason,
        manifest.signal,
        manifest.verdict,
    )
}

/// Sends signals to the coordinator, and tells the watchdog of them, because the coordinator may be what is stuck.
fn listen(watchdog: &Watchdog, inputs: Sender<Input>) -> io::Result<signals::Listening> {
    let watchdog = watchdog.teller();
    signals::listen(move |signal, is_second| {
        let reason = Reason::Interrupted;
        if is_second {
            watchdog.killing(reason, Some(signal));
        } else {
            watchdog.stopping(reason, Some(signal));
        }
        // Without a receiver the session has ended.
        let _ = inputs.send(Input::Signal(signal, is_second));
    })
}

/// Gives dead runs of the root their true status once the sender gets something. The receiver gets something at the end.
fn sweep(root: ResultsRoot, inputs: Sender<Input>) -> (Sender<()>, Receiver<()>) {
    let (start, started) = mpsc::channel();
    let (over, done) = mpsc::channel();
    let sweep = move || {
        if started.recv().is_err() {
            return;
        }
        for manifest in root.sweep().unwrap_or_default() {
            let reason = manifest.reason.map(|reason| format!(" ({reason})"));
            let notice = format!(
                "the process of run {} is dead; the run is {}{}",
                manifest.id,
                manifest.status,
                reason.unwrap_or_default()
            );
            let _ = inputs.send(Input::Notice(notice));
        }
        let _ = over.send(());
    };
    // Without a thread nothing is swept, and no run starts worse for it.
    let _ = thread::Builder::new().name("sweep".into()).spawn(sweep);
    (start, done)
}
