//! The local pool of executors: it takes tasks, runs their attempts, and sends back what happened.
//!
//! It stands behind the dispatcher's one seam: tasks go in, [`Message`]s come out, nothing is shared but the display's
//! view of what is running.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender},
    task::JoinSet,
};

use super::{
    Running,
    dispatcher::Message,
    executor::{Executor, Task},
    kept::Kept,
};
use crate::{
    plugin::{Interrupt, Moment, clock, panic_text},
    record::InFlight,
};

/// Executors on the guests' runtime.
pub(super) struct Pool {
    shared: Arc<Shared>,
    executors: JoinSet<()>,
    size: usize,
}

/// An attempt that an executor has begun.
#[derive(Clone)]
pub(super) struct Begun {
    pub(super) ordinal: u64,
    pub(super) number: u32,
    pub(super) trial: Arc<str>,
    pub(super) at: Moment,
    /// For how long the process had been stopped before.
    pub(super) suspended: Duration,
    pub(super) started_at: Timestamp,
}

impl Begun {
    pub(super) fn running(&self, now: Moment) -> Running<'_> {
        Running {
            trial: &self.trial,
            elapsed: now.saturating_duration_since(self.at),
        }
    }
}

struct Shared {
    queue: Mutex<VecDeque<Task>>,
    /// Counts the tasks in `queue`.
    queued: Semaphore,
    slots: Vec<Mutex<Option<Begun>>>,
    executor: Executor,
    interrupt: Interrupt,
    in_flight: InFlight,
    reports: UnboundedSender<Message>,
}

impl Pool {
    /// Starts `size` executors on `runtime`.
    pub(super) fn start(
        runtime: &tokio::runtime::Handle,
        size: usize,
        executor: Executor,
        interrupt: Interrupt,
        in_flight: InFlight,
        reports: UnboundedSender<Message>,
    ) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            queued: Semaphore::new(0),
            slots: (0..size).map(|_| Mutex::default()).collect(),
            executor,
            interrupt,
            in_flight,
            reports,
        });
        let mut executors = JoinSet::new();
        for slot in 0..size {
            executors.spawn_on(Arc::clone(&shared).execute(slot), runtime);
        }
        Self {
            shared,
            executors,
            size,
        }
    }

    /// How many attempts run at the same time.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Hands over tasks; executors begin them in this order.
    pub(super) fn assign(&self, tasks: Vec<Task>) {
        let count = tasks.len();
        lock(&self.shared.queue).extend(tasks);
        self.shared.queued.add_permits(count);
    }

    /// Takes back what no executor has begun.
    pub(super) fn take_back(&self) -> Vec<Task> {
        let mut queue = lock(&self.shared.queue);
        // An executor that already holds a permit finds nothing.
        self.shared.queued.forget_permits(queue.len());
        queue.drain(..).collect()
    }

    /// Lets executors end once nothing lies ready for them; they tear down what they keep.
    pub(super) fn close(&self) {
        self.shared.queued.close();
    }

    /// Waits until they have ended.
    pub(super) async fn closed(&mut self) {
        while self.executors.join_next().await.is_some() {}
    }

    /// What executors have begun and not answered.
    pub(super) fn begun(&self) -> Vec<Begun> {
        let slots = self.shared.slots.iter();
        slots.filter_map(|slot| lock(slot).clone()).collect()
    }
}

impl Shared {
    /// Works, and says so if the runner itself fails.
    async fn execute(self: Arc<Self>, slot: usize) {
        let work = AssertUnwindSafe(Arc::clone(&self).work(slot));
        if let Err(panic) = work.catch_unwind().await {
            let text = panic_text(&*panic).to_owned();
            drop(self.reports.send(Message::Broken(text)));
        }
    }

    async fn work(self: Arc<Self>, slot: usize) {
        let mut kept = Kept::new(self.executor.memory_share);
        while let Ok(permit) = self.queued.acquire().await {
            permit.forget();
            let Some((task, started_at)) = self.begin(slot) else {
                continue;
            };
            self.in_flight
                .begin(slot, task.ordinal, task.number, super::wall_clock());
            let before = clock::suspended();
            let run = self
                .executor
                .run(&task, started_at, &self.interrupt, &mut kept);
            let mut attempt = run.await;
            attempt.suspended = clock::suspended().saturating_sub(before);
            self.in_flight.end(slot);
            *lock(&self.slots[slot]) = None;

            if self.reports.send(Message::Report(attempt)).is_err() {
                break;
            }
        }
        kept.let_go(&self.interrupt).await;
    }

    /// Takes the next task, unless it was taken back. It is in the queue or in a slot, whoever looks.
    fn begin(&self, slot: usize) -> Option<(Task, Timestamp)> {
        let mut queue = lock(&self.queue);
        let task = queue.pop_front()?;
        let started_at = super::wall_clock();
        *lock(&self.slots[slot]) = Some(Begun {
            ordinal: task.ordinal,
            number: task.number,
            trial: Arc::clone(&task.trial_text),
            at: Moment::now(),
            suspended: clock::suspended(),
            started_at,
        });
        Some((task, started_at))
    }
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
