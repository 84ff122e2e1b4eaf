//! Runs a session: one function for `exec` and `resume`, which differ in how the run comes into this process's hands.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    thread,
    time::Duration,
};

use runner_model::{Reason, SessionSettings, exit::Exit};
use runner_record::{Fold, Manifest, Owned, RecordError, ResultsRoot, Share};

use crate::{
    Ended, EngineError, Observer, RunEvent,
    clock::Clock,
    coordinator::{Begin, Coordinator, Input},
    plan::Plan,
    pool::{Launch, Pool, PrestartedWorker},
    root_queue,
    schedule::Schedule,
    signals::{self, SignalEvent},
    watchdog::Watchdog,
    workers::WorkerProcess,
};

/// What a session works on.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    /// The state of the rows that are there.
    pub(crate) fold: Fold,
    /// Number of the session.
    pub(crate) session: u32,
    pub(crate) root: ResultsRoot,
    pub(crate) share: Share,
}

/// Starts worker processes.
pub(crate) fn processes() -> Launch {
    // Tests put a worker there that lies.
    let name = cfg!(debug_assertions).then(|| std::env::var("RUNNER_TEST_WORKER").ok());
    let name = name.flatten().unwrap_or_else(|| "__worker".to_owned());
    Box::new(move |hear| Ok(Box::new(WorkerProcess::start(&name, hear)?)))
}

/// An error of the machine before there is a run.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn machine(error: io::Error) -> EngineError {
    EngineError::Machine(format!("a session cannot be prepared: {error}"))
}

/// Takes the lock of the results root for a session, shared or alone; `false` if the session has to wait for it.
///
/// # Errors
///
/// [`RecordError::RootHeld`] if the session is not to wait.
pub(crate) fn share(root: &ResultsRoot, share: Share) -> Result<bool, RecordError> {
    match root.share(share) {
        Ok(()) => Ok(true),
        Err(RecordError::RootHeld { .. }) if share == Share::AloneOnce => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs a session to its end: at once, or if the root is not free once it is. `birth` brings the run into this process's hands.
pub(crate) fn begin(
    early: PrestartedWorker,
    work: Work,
    birth: impl FnOnce() -> Result<Owned, RecordError> + Send + 'static,
    is_free: bool,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    if is_free {
        return run(early, work, birth, observer);
    }
    drop(early);
    let owned = birth()?;
    work.root.note(owned.manifest());
    root_queue::begin(work, owned, observer)
}

/// Runs a session to its end. `birth` brings the run into this process's hands, on a thread of its own.
pub(crate) fn run(
    early: PrestartedWorker,
    work: Work,
    birth: impl FnOnce() -> Result<Owned, RecordError> + Send + 'static,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let Work { plan, fold, .. } = work;
    let schedule = Schedule::new(plan.settings(), fold.left(), &(&plan.suite, &fold));
    let shapes = plan.shapes(schedule.left());
    let supplies = plan.supplies(work.session, Some(&work.root));
    let crew = Pool::new(early, supplies, &shapes);
    let (crew, inputs) = crew.map_err(machine)?;
    let clock = Clock::start();
    let SessionSettings { timeout, grace, .. } = plan.settings;
    let watchdog = Watchdog::start(clock.clone(), timeout, grace);
    let watchdog = watchdog.map_err(machine)?;
    let sender = crew.sender();
    let _listening = listen(watchdog.clone(), &crew).map_err(machine)?;
    let birth = move || {
        let born = panic::catch_unwind(AssertUnwindSafe(birth));
        // Without a receiver the session has ended.
        let _ = sender.send(Input::Born(Box::new(born)));
    };
    let thread = thread::Builder::new().name("birth".into());
    thread.spawn(birth).map_err(machine)?;

    let coordinator = Coordinator::new(Begin {
        plan: &plan,
        root: work.root,
        observer,
        crew,
        schedule,
        clock,
        fold,
        watchdog: watchdog.clone(),
    });
    let ended = panic::catch_unwind(AssertUnwindSafe(|| coordinator.run(&inputs)));
    let ended = ended.unwrap_or_else(|panic| {
        watchdog.panicked(&*panic);
        panic::resume_unwind(panic)
    });
    watchdog.end();
    Ok(ended?)
}

/// Tells how a session ended that took so long.
pub(crate) fn ended(
    manifest: Manifest,
    directory: PathBuf,
    took: Duration,
    observer: &mut dyn Observer,
) -> Ended {
    observer.event(&RunEvent::Finished { manifest: &manifest, directory: &directory, took });
    Ended { exit: exit_of(&manifest), manifest, directory }
}

/// The exit code of a run.
pub fn exit_of(manifest: &Manifest) -> Exit {
    Exit::of_run(manifest.status, manifest.reason, manifest.signal, manifest.verdict)
}

/// Sends signals to the coordinator, and tells the watchdog of them, because the coordinator may be what is stuck.
fn listen(watchdog: Watchdog, crew: &Pool) -> io::Result<signals::Listening> {
    let inputs = crew.sender();
    signals::listen(move |heard| {
        if let SignalEvent::Stop(signal, is_second) = heard {
            watchdog.stopping(is_second, Reason::Interrupted, Some(signal));
        }
        // Without a receiver the session has ended.
        let _ = inputs.send(Input::Signal(heard));
    })
}

#[cfg(test)]
#[path = "tests/session.rs"]
mod tests;
