//! Runs a session: one function for `exec` and `resume`, which differ in how they take hold of the run.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::mpsc::Sender,
    thread,
};

use runner_model::{Reason, SessionSettings};
use runner_prepare::machine::raise_open_files;
use runner_record::{Fold, Owned, RecordError, ResultsRoot, Share};

use super::{
    coordinator::{Coordinator, CoordinatorParts},
    watchdog::Watchdog,
};
use crate::{
    clock::Clock,
    error::{EngineError, machine},
    event::{Ended, Observer},
    input::Input,
    plan::Plan,
    schedule::Schedule,
    signals::{self, SignalEvent},
    workers::{Launch, Pool, PrestartedWorker, WorkerProcess},
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
    Box::new(move |sink| Ok(Box::new(WorkerProcess::start(&name, sink)?)))
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

/// Starts the first worker before the session is planned, because starting takes a while.
///
/// # Errors
///
/// The machine allows too few open files or no process.
pub(crate) fn prestart() -> Result<PrestartedWorker, EngineError> {
    raise_open_files().map_err(EngineError::Machine)?;
    PrestartedWorker::start(processes()).map_err(machine)
}

/// Runs a session to its end. `create` takes hold of the run, on a thread of its own. If it `waits`, the run starts once no
/// other session works in its results root.
///
/// # Errors
///
/// The run cannot be created or written.
pub(crate) fn run(
    prestarted: PrestartedWorker,
    work: Work,
    waits: bool,
    create: impl FnOnce() -> Result<Owned, RecordError> + Send + 'static,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let Work { plan, fold, session, root, share } = work;
    let schedule = Schedule::new(plan.settings(), fold.left(), &(&plan.suite, &fold));
    let supplies = plan.supplies(session, Some(&root));
    let mut pool = Pool::new(prestarted, supplies).map_err(machine)?;
    let clock = Clock::start();
    let SessionSettings { timeout, grace, .. } = plan.settings;
    let watchdog = Watchdog::start(clock.clone(), grace).map_err(machine)?;
    if !waits {
        watchdog.start_time(timeout);
        pool.start(&plan.shapes(schedule.left())).map_err(machine)?;
    }
    let sender = pool.sender();
    let _listener = listen_for_signals(watchdog.clone(), sender.clone()).map_err(machine)?;
    let create = move || {
        let created = panic::catch_unwind(AssertUnwindSafe(create));
        // Without a receiver the session has ended.
        let _ = sender.send(Input::Created(Box::new(created)));
    };
    thread::Builder::new().name("create".into()).spawn(create).map_err(machine)?;

    let coordinator = Coordinator::new(CoordinatorParts {
        plan: &plan,
        observer,
        pool,
        root,
        share,
        schedule,
        clock,
        fold,
        watchdog: watchdog.clone(),
    });
    let ended = panic::catch_unwind(AssertUnwindSafe(|| coordinator.run()));
    let ended = ended.unwrap_or_else(|panic| {
        watchdog.panicked(&*panic);
        panic::resume_unwind(panic)
    });
    watchdog.end();
    Ok(ended?)
}

/// Sends signals to the coordinator, and tells the watchdog of them, because the coordinator may be what is stuck.
fn listen_for_signals(
    watchdog: Watchdog,
    inputs: Sender<Input>,
) -> io::Result<signals::ListenerGuard> {
    signals::add_listener(move |event| {
        if let SignalEvent::Stop(signal, is_second) = event {
            watchdog.stopping(is_second, Reason::Interrupted, Some(signal));
        }
        // Without a receiver the session has ended.
        let _ = inputs.send(Input::Signal(event));
    })
}

#[cfg(test)]
#[path = "../tests/session.rs"]
mod tests;
