//! [`PreparedSession`]: runs a session of a new or a resumed run.

use std::panic::{self, AssertUnwindSafe};
use std::{io, sync::mpsc::Sender, thread};

use runner_model::{Reason, RunTime, SessionSettings};
use runner_record::{Fold, NewPlan, NewSession, Owned, RecordError, ResultsRoot, Share};

use super::coordinator::{Coordinator, FIRST_LIVE, PauseRequest, StopRequest};
use super::stage::{Checking, Stage, Sweep};
use super::watchdog::Watchdog;
use crate::error::{EngineError, machine_error};
use crate::event::{Ended, Observer};
use crate::signals::{self, SignalEvent};
use crate::workers::{Input, Pool, PrestartedWorker};
use crate::{clock::Clock, plan::Plan, schedule::Schedule};

/// The plan and the state of a session's run.
pub(crate) struct PlannedSession {
    /// The run's id.
    pub(crate) id: String,
    pub(crate) plan: Plan,
    /// State by the rows of earlier sessions.
    pub(crate) fold: Fold,
    /// Number of the session, from 1.
    pub(crate) session: u32,
    pub(crate) root: ResultsRoot,
    pub(crate) share: Share,
}

impl PlannedSession {
    /// Plans a further session of a claimed run.
    pub(super) fn further(owned: &Owned, plan: Plan, fold: Fold, share: Share) -> Self {
        let id = owned.dir().id().to_owned();
        let session = owned.manifest().last_session() + 1;
        Self { id, plan, fold, session, root: owned.root().clone(), share }
    }
}

/// Locks the results root for a session, shared or exclusively. Returns `false` if the session must wait for the lock.
///
/// # Errors
///
/// [`RecordError::RootHeld`] if `share` does not allow waiting.
pub(crate) fn lock_root(root: &ResultsRoot, share: Share) -> Result<bool, RecordError> {
    match root.share(share) {
        Ok(()) => Ok(true),
        Err(RecordError::RootHeld { .. }) if share == Share::AloneOnce => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs a further session of a claimed run to its end. `store` stores content of the session, and returns a plan that replaces
/// the stored one.
///
/// # Errors
///
/// Those of [`PreparedSession`], or another session uses the results root, and `share` does not allow waiting.
pub(super) fn run_further(
    prestarted: PrestartedWorker,
    work: PlannedSession,
    mut owned: Owned,
    session: NewSession,
    store: impl FnOnce(&ResultsRoot) -> Result<Option<NewPlan>, RecordError> + Send + 'static,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let waits = !lock_root(&work.root, work.share)?;
    let session = NewSession {
        last_seq: work.fold.last_seq(),
        pending: Some(work.fold.selected()),
        removed: work.fold.removed(),
        waits,
        ..session
    };
    let reopen = move || {
        let plan = store(owned.root())?;
        owned.open_session(session, plan)?;
        Ok(owned)
    };
    PreparedSession::new(prestarted, &work, waits)?.run(work, reopen, observer)
}

/// The workers and threads of a session whose run is not created or reopened yet.
pub(crate) struct PreparedSession {
    waits: bool,
    pool: Pool,
    clock: Clock,
    watchdog: Watchdog,
    _listener: signals::ListenerGuard,
}

impl PreparedSession {
    /// Starts workers, unless the session `waits` for its results root.
    ///
    /// # Errors
    ///
    /// A process, thread or file cannot be created, or the session cannot be offered to other machines.
    pub(crate) fn new(
        prestarted: PrestartedWorker,
        work: &PlannedSession,
        waits: bool,
    ) -> Result<Self, EngineError> {
        let PlannedSession { id, plan, fold, session, root, .. } = work;
        plan.check_room(fold)?;
        let supplies = plan.supplies(id, *session, Some(root));
        let pool = Pool::new(prestarted, supplies, plan.remote_workers());
        let mut pool = pool.map_err(machine_error)?;
        let clock = Clock::start();
        let SessionSettings { timeout, grace, .. } = plan.settings;
        let watchdog = Watchdog::start(clock.clone(), grace).map_err(machine_error)?;
        if !waits {
            watchdog.start_time(timeout);
            pool.start(&plan.shapes(plan.left(fold))).map_err(machine_error)?;
            pool.offer().map_err(EngineError::Machine)?;
        }
        let listener = listen_for_signals(watchdog.clone(), pool.sender());
        Ok(Self { waits, pool, clock, watchdog, _listener: listener.map_err(machine_error)? })
    }

    /// Runs the session to its end. `create` creates or reopens the run, on a separate thread while workers start.
    ///
    /// # Errors
    ///
    /// The run cannot be created or written. If a new run's configurations or tests have problems, there is no run.
    pub(crate) fn run(
        self,
        work: PlannedSession,
        create: impl FnOnce() -> Result<Owned, RecordError> + Send + 'static,
        observer: &mut dyn Observer,
    ) -> Result<Ended, EngineError> {
        let PlannedSession { plan, fold, session, root, share, .. } = work;
        let Self { waits, pool, clock, watchdog, _listener } = self;
        let sender = pool.sender();
        signals::pass("create");
        let create = move || {
            let created = panic::catch_unwind(AssertUnwindSafe(create));
            // Without a receiver the session has ended.
            let _ = sender.send(Input::Created(Box::new(created)));
        };
        if waits {
            // No worker starts meanwhile, and a thread that cannot be started would drop the claim of a run.
            create();
        } else {
            thread::Builder::new().name("create".into()).spawn(create).map_err(machine_error)?;
        }

        let coordinator = Coordinator {
            schedule: Schedule::new(plan.schedule_settings(), plan.left(&fold), &(&plan, &fold)),
            plan: &plan,
            observer,
            pool,
            root,
            share,
            clock,
            fold,
            watchdog: watchdog.clone(),
            stage: Stage::Checking(Checking::new(session == 1 && !waits)),
            now: RunTime::default(),
            next_progress: 0,
            next_live: FIRST_LIVE,
            compiling: Vec::new(),
            stop: StopRequest::default(),
            pause: PauseRequest::default(),
            sweep: Sweep::new(),
            end: None,
        };
        let ended = panic::catch_unwind(AssertUnwindSafe(|| coordinator.run()));
        let ended = ended.unwrap_or_else(|panic| {
            watchdog.panicked(&*panic);
            panic::resume_unwind(panic)
        });
        watchdog.end();
        ended
    }
}

/// Sends signals to the coordinator, and also to the watchdog, because the coordinator may be stuck.
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
