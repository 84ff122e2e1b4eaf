//! The local pool: it takes assignments, its executors make the attempts, and what happened goes back.
//!
//! It stands behind the dispatcher's seam as one executor with a slot for each of its own.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc::UnboundedSender},
    task::JoinSet,
};

use super::{
    executor::{Executor, Task},
    warm::WarmInstances,
};
use crate::{
    plugin::{Interrupt, Moment, clock, panic_text},
    record::{AttemptKey, InFlight},
    run::{
        clock::wall_clock,
        seam::{Assignment, Capacity, ExecutorId, FromExecutors, Loss, ToExecutor},
    },
};

/// The pool's name. There is one in a session, and it is there first.
const POOL: ExecutorId = ExecutorId(0);

/// Executors on the guests' runtime.
pub(in crate::run) struct Pool {
    shared: Arc<PoolState>,
    /// Held so that they end with the pool.
    _executors: JoinSet<()>,
}

/// What a pool works with.
pub(in crate::run) struct PoolHost {
    /// Where guests run.
    pub(in crate::run) guests: Handle,
    /// Ends them.
    pub(in crate::run) interrupt: Interrupt,
    /// Where each of its executors notes what it has begun, in the slot with its number. An attempt that ends this process
    /// must have been noted before, so no message would do.
    pub(in crate::run) in_flight: InFlight,
    /// Where its messages go.
    pub(in crate::run) dispatcher: UnboundedSender<FromExecutors>,
}

struct PoolState {
    queue: Mutex<VecDeque<Task>>,
    /// Counts the tasks in `queue`.
    queued: Semaphore,
    /// How many executors have not left.
    left: AtomicUsize,
    executor: Executor,
    interrupt: Interrupt,
    in_flight: InFlight,
    dispatcher: UnboundedSender<FromExecutors>,
}

impl Pool {
    /// Starts an executor for each slot, and joins.
    pub(in crate::run) fn start(capacity: Capacity, executor: Executor, host: PoolHost) -> Self {
        let PoolHost {
            guests,
            interrupt,
            in_flight,
            dispatcher,
        } = host;
        let shared = Arc::new(PoolState {
            queue: Mutex::default(),
            queued: Semaphore::new(0),
            left: AtomicUsize::new(capacity.slots),
            executor,
            interrupt,
            in_flight,
            dispatcher,
        });
        shared.send(FromExecutors::Joined {
            who: POOL,
            capacity,
        });
        let mut executors = JoinSet::new();
        for slot in 0..capacity.slots {
            executors.spawn_on(Arc::clone(&shared).execute(slot), &guests);
        }
        Self {
            shared,
            _executors: executors,
        }
    }

    /// Takes a message, and has done what it says when this returns. Needs the runtime of the session around it.
    pub(in crate::run) fn take(&self, message: ToExecutor) {
        match message {
            ToExecutor::Assign(batch) => self.assign(batch),
            ToExecutor::TakeBack => self.return_queued(),
            ToExecutor::Stop { grace } => self.stop(grace),
            // Executors end once nothing lies ready for them.
            ToExecutor::Close => self.shared.queued.close(),
        }
    }

    fn assign(&self, batch: Vec<Assignment>) {
        let now = Moment::now();
        let count = batch.len();
        let tasks = batch.into_iter();
        lock(&self.shared.queue).extend(tasks.map(|assignment| Task::arrived(assignment, now)));
        self.shared.queued.add_permits(count);
    }

    fn return_queued(&self) {
        let mut queue = lock(&self.shared.queue);
        // An executor that already holds a permit finds nothing.
        self.shared.queued.forget_permits(queue.len());
        let attempts: Vec<_> = queue.drain(..).map(|task| task.assignment.key()).collect();
        drop(queue);
        if !attempts.is_empty() {
            self.shared.send(FromExecutors::Returned {
                who: POOL,
                attempts,
            });
        }
    }

    fn stop(&self, grace: Duration) {
        let interrupt = self.shared.interrupt.clone();
        interrupt.request();
        if grace.is_zero() {
            interrupt.now();
            return;
        }
        let ends = Moment::now() + grace;
        // Not on the guests' runtime, which they may keep busy.
        tokio::spawn(async move {
            clock::sleep_until(ends).await;
            interrupt.now();
        });
    }
}

impl PoolState {
    /// Works, and says so if the runner itself fails.
    async fn execute(self: Arc<Self>, slot: usize) {
        let work = AssertUnwindSafe(Arc::clone(&self).work(slot));
        if let Err(panic) = work.catch_unwind().await {
            self.send(FromExecutors::Lost {
                who: POOL,
                attempts: Vec::new(),
                why: Loss::Broken(panic_text(&*panic).to_owned()),
            });
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.send(FromExecutors::Left { who: POOL });
        }
    }

    async fn work(self: Arc<Self>, slot: usize) {
        let mut kept = WarmInstances::new(self.executor.memory_share);
        while let Ok(permit) = self.queued.acquire().await {
            permit.forget();
            let next = lock(&self.queue).pop_front();
            // It was taken back.
            let Some(task) = next else { continue };
            let key = task.assignment.key();
            let started_at = wall_clock();
            self.in_flight
                .begin(slot, key.ordinal, key.number, started_at);
            let is_heard = self.begun(key);
            let before = clock::suspended();
            let run = self
                .executor
                .run(task, started_at, &self.interrupt, &mut kept);
            let mut attempt = run.await;
            attempt.suspended = clock::suspended().saturating_sub(before);
            self.in_flight.end(slot);

            let report = FromExecutors::Reports {
                who: POOL,
                attempts: vec![attempt],
            };
            if !(is_heard && self.send(report)) {
                break;
            }
        }
        kept.tear_down(&self.interrupt).await;
    }

    fn begun(&self, key: AttemptKey) -> bool {
        self.send(FromExecutors::Started {
            who: POOL,
            attempts: vec![key],
        })
    }

    /// Tells the dispatcher something, and whether it is still there.
    fn send(&self, message: FromExecutors) -> bool {
        self.dispatcher.send(message).is_ok()
    }
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
