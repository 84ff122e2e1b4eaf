//! [`SettingUp`]: what guests run in is made while the run's directory waits for the disk.

use std::{
    panic::{self, AssertUnwindSafe, resume_unwind},
    path::Path,
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use tokio::runtime::{self, Runtime};

use super::{Host, engine::engine_options};
use crate::{
    plugin::{self, Engine},
    run::Plan,
};

/// As long as any process lives.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What guests run in, and what the dispatcher has for itself.
pub(super) struct SetUp {
    pub(super) engine: Engine,
    /// Guests are on this one, and nothing else.
    pub(super) guests: Runtime,
    pub(super) main: Runtime,
}

/// A [`SetUp`] that is being made.
pub(super) struct SettingUp<'a> {
    plan: &'a Plan,
    host: &'a Host,
    root: &'a Path,
    thread: Option<ScopedJoinHandle<'a, Result<Result<SetUp, String>, String>>>,
}

impl<'a> SettingUp<'a> {
    /// Begins for a session of a plan, whose run is in the results root `root`.
    pub(super) fn begin<'env: 'a>(
        scope: &'a Scope<'a, 'env>,
        plan: &'env Plan,
        host: &'env Host,
        root: &'env Path,
    ) -> Self {
        let set_up = move || contained(|| SetUp::new(plan, host, root));
        let thread = thread::Builder::new().spawn_scoped(scope, set_up);
        Self {
            plan,
            host,
            root,
            // Where no more threads are to be had, it is made when it is needed.
            thread: thread.ok(),
        }
    }

    /// Waits until it is made. The outer error is the text of a panic, the inner one says why there is none.
    pub(super) fn finish(self) -> Result<Result<SetUp, String>, String> {
        let Some(thread) = self.thread else {
            return contained(|| SetUp::new(self.plan, self.host, self.root));
        };
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl SetUp {
    fn new(plan: &Plan, host: &Host, root: &Path) -> Result<Self, String> {
        let threads = plan.threads();
        let pool = host.pools_sandboxes.then(|| plan.pool(threads));
        let engine =
            Engine::new(engine_options(host, root, pool)).map_err(|error| error.to_string())?;
        let guests = runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("guest")
            .thread_keep_alive(FOR_EVER)
            .enable_all()
            .build();
        let main = runtime::Builder::new_current_thread().enable_all().build();
        match (guests, main) {
            (Ok(guests), Ok(main)) => {
                plan.link_ahead(&engine);
                // One thread for what blocks is made now and stays: where no other can be started, that is all there is to
                // wait for.
                drop(guests.spawn_blocking(|| ()));
                Ok(Self {
                    engine,
                    guests,
                    main,
                })
            }
            (Err(error), _) | (_, Err(error)) => Err(format!("cannot start threads: {error}")),
        }
    }
}

/// Keeps a panic from ending the process before the run is closed; it is the text of the error.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| plugin::panic_text(&*panic).to_owned())
}
