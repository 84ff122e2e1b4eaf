//! The local pool: it takes assignments, its executors make the attempts, and what happened goes back.
//!
//! It stands behind the dispatcher's seam as one executor with a slot for each of its own. Slots are opened and closed while
//! it works, because those of a run are shared out among its processes.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{AcquireError, Semaphore, SemaphorePermit, mpsc::UnboundedSender},
    task::JoinSet,
};

use super::{
    executor::{Around, Executor, Task},
    phases::Phases,
    voice::Voices,
    warm::WarmInstances,
};
use crate::{
    plugin::{Interrupt, Moment, clock, panic_text},
    record::{AttemptKey, InFlight},
    run::{
        clock::wall_clock,
        seam::{Assignment, ExecutorId, FromExecutors, Loss, ToExecutor},
    },
};

/// The name of the pool that makes a process's attempts on providers.
pub(in crate::run) const POOL: ExecutorId = ExecutorId(0);

/// Executors on the guests' runtime.
pub(in crate::run) struct Pool {
    shared: Arc<PoolState>,
    guests: Handle,
    /// Held so that they end with the pool.
    executors: JoinSet<()>,
    /// Writes what guests say and do. It ends with the pool, too.
    _writing: JoinSet<()>,
}

/// What a pool works with.
pub(in crate::run) struct PoolHost {
    /// Its name in the session.
    pub(in crate::run) who: ExecutorId,
    /// Where guests run.
    pub(in crate::run) guests: Handle,
    /// Ends them.
    pub(in crate::run) interrupt: Interrupt,
    /// Where each of its executors notes what it has begun, in the slot with its number. An attempt that ends this process
    /// must have been noted before, so no message would do. None for a pool whose attempts have no number in the run.
    pub(in crate::run) in_flight: Option<InFlight>,
    /// Where what guests say that take their time is to be read meanwhile, if it is.
    pub(in crate::run) run_dir: Option<PathBuf>,
    /// Where its messages go.
    pub(in crate::run) dispatcher: UnboundedSender<FromExecutors>,
    /// Who hears that a slot was closed.
    pub(in crate::run) closed: Box<dyn Fn(usize) + Send + Sync>,
}

struct PoolState {
    who: ExecutorId,
    queue: Mutex<Queue<Task>>,
    /// Counts what is in the queue.
    queued: Semaphore,
    executor: Executor,
    interrupt: Interrupt,
    in_flight: Option<InFlight>,
    phases: Option<Arc<Phases>>,
    voices: Option<Arc<Voices>>,
    dispatcher: UnboundedSender<FromExecutors>,
    closed: Box<dyn Fn(usize) + Send + Sync>,
}

struct Queue<T> {
    items: VecDeque<Item<T>>,
    /// How many executors have not left.
    executors: usize,
    /// How many of them are not told to: that one takes its order to leave out of the queue says nothing of when it has left.
    staying: usize,
    /// Whether those that are left are the last.
    is_closing: bool,
}

/// What an executor does next.
enum Item<T> {
    Attempt(T),
    /// It leaves, and closes its slot.
    Leave,
}

impl Pool {
    /// A pool without slots. Needs the runtime of the session around it.
    pub(in crate::run) fn new(executor: Executor, host: PoolHost) -> Self {
        let PoolHost {
            who,
            guests,
            interrupt,
            in_flight,
            run_dir,
            dispatcher,
            closed,
        } = host;
        let voices = run_dir.map(|run_dir| Arc::new(Voices::new(run_dir)));
        let mut writing = JoinSet::new();
        if let Some(voices) = &voices {
            writing.spawn(Arc::clone(voices).write());
        }
        let phases = in_flight.clone();
        let phases = phases.map(|in_flight| Arc::new(Phases::new(in_flight)));
        if let Some(phases) = &phases {
            writing.spawn(Arc::clone(phases).write());
        }
        let shared = PoolState {
            who,
            queue: Mutex::new(Queue::new()),
            queued: Semaphore::new(0),
            executor,
            interrupt,
            in_flight,
            phases,
            voices,
            dispatcher,
            closed,
        };
        Self {
            shared: Arc::new(shared),
            guests,
            executors: JoinSet::new(),
            _writing: writing,
        }
    }

    /// Opens a slot, by its number among those of the run.
    pub(in crate::run) fn open(&mut self, slot: usize) {
        lock(&self.shared.queue).open();
        let executor = Arc::clone(&self.shared).execute(slot);
        self.executors.spawn_on(executor, &self.guests);
    }

    /// Closes one of the open slots, which is heard of once its executor has ended what it does. The last one is closed when
    /// nothing lies ready any more, so nothing may be assigned behind that.
    pub(in crate::run) fn close_one(&self) {
        lock(&self.shared.queue).close_one();
        self.shared.queued.add_permits(1);
    }

    /// How many attempts lie ready that nobody has begun.
    pub(in crate::run) fn queued(&self) -> usize {
        lock(&self.shared.queue).items.len()
    }

    /// An attempt that has gone on for so long behind its deadline.
    pub(in crate::run) fn overdue(&self, by: Duration) -> Option<AttemptKey> {
        self.shared.phases.as_ref()?.overdue(by)
    }

    /// Takes a message, and has done what it says when this returns. Needs the runtime of the session around it.
    pub(in crate::run) fn take(&self, message: ToExecutor) {
        match message {
            ToExecutor::Assign(batch) => self.assign(batch),
            ToExecutor::TakeBack => self.return_queued(),
            ToExecutor::SetAside { .. } => {
                self.return_queued();
                self.shared.close();
            }
            ToExecutor::Stop { grace } => self.stop(grace),
            ToExecutor::Close => self.shared.close(),
        }
    }

    fn assign(&self, batch: Vec<Assignment>) {
        let now = Moment::now();
        let count = batch.len();
        let tasks = batch.into_iter();
        let tasks = tasks.map(|assignment| Item::Attempt(Task::arrived(assignment, now)));
        lock(&self.shared.queue).items.extend(tasks);
        self.shared.queued.add_permits(count);
    }

    fn return_queued(&self) {
        let mut queue = lock(&self.shared.queue);
        let (tasks, leaving) = queue
            .items
            .drain(..)
            .partition::<Vec<_>, _>(|item| matches!(item, Item::Attempt(_)));
        queue.items = leaving.into();
        // An executor that already holds a permit finds nothing.
        self.shared.queued.forget_permits(tasks.len());
        drop(queue);
        let attempts = tasks.iter().filter_map(Item::key).collect();
        self.shared.returned(attempts);
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

impl<T> Queue<T> {
    fn new() -> Self {
        Self {
            items: VecDeque::new(),
            executors: 0,
            staying: 0,
            is_closing: false,
        }
    }

    fn open(&mut self) {
        self.executors += 1;
        self.staying += 1;
    }

    fn close_one(&mut self) {
        self.staying = self.staying.saturating_sub(1);
        match self.staying {
            0 => self.items.push_back(Item::Leave),
            _ => self.items.push_front(Item::Leave),
        }
    }
}

impl Item<Task> {
    fn key(&self) -> Option<AttemptKey> {
        match self {
            Self::Attempt(task) => Some(task.assignment.key()),
            Self::Leave => None,
        }
    }
}

impl PoolState {
    /// Works, and says so if the runner itself fails.
    async fn execute(self: Arc<Self>, slot: usize) {
        let work = AssertUnwindSafe(Arc::clone(&self).work(slot));
        if let Err(panic) = work.catch_unwind().await {
            self.send(FromExecutors::Lost {
                who: self.who,
                attempts: Vec::new(),
                why: Loss::Broken(panic_text(&*panic).to_owned()),
            });
        }
        let is_last = {
            let mut queue = lock(&self.queue);
            queue.executors -= 1;
            queue.is_closing && queue.executors == 0
        };
        (self.closed)(slot);
        if is_last {
            self.send(FromExecutors::Left { who: self.who });
        }
    }

    async fn work(self: Arc<Self>, slot: usize) {
        let mut kept = WarmInstances::new(self.executor.memory_share);
        let voice = self.voices.as_ref().map(|voices| voices.open());
        let watched = self.phases.as_ref().map(|phases| phases.open(slot));
        while let Ok(permit) = self.next(slot).await {
            permit.forget();
            self.wait_while_paused(slot).await;
            let next = lock(&self.queue).items.pop_front();
            let task = match next {
                Some(Item::Attempt(task)) => task,
                Some(Item::Leave) => break,
                // It was taken back.
                None => continue,
            };
            let key = task.assignment.key();
            let started_at = wall_clock();
            let mut noted = key;
            if let Some(in_flight) = &self.in_flight {
                if in_flight.is_of_graders() {
                    noted.number = u32::try_from(task.assignment.provider).unwrap_or(u32::MAX);
                }
                in_flight.begin(slot, noted.ordinal, noted.number, started_at);
            }
            let is_heard = self.begun(key);
            let before = clock::suspended();
            if let Some((voice, _)) = &voice {
                voice.begin(key, task.assignment.trial.clone());
            }
            if let Some(watched) = &watched {
                watched.begin(noted);
            }
            let around = Around {
                started_at,
                interrupt: &self.interrupt,
                listener: voice.as_ref().map(|(_, listener)| listener),
                watched: watched.as_deref(),
            };
            let run = self.executor.run(task, around, &mut kept);
            let mut attempt = run.await;
            if let Some((voice, _)) = &voice {
                voice.end();
            }
            if let Some(watched) = &watched {
                watched.end();
            }
            attempt.suspended = clock::suspended().saturating_sub(before);

            let report = FromExecutors::Reports {
                who: self.who,
                attempts: vec![attempt],
            };
            if !(is_heard && self.send(report)) {
                break;
            }
        }
        self.ended(slot);
        kept.tear_down(&self.interrupt).await;
        if let (Some(voices), Some((voice, _))) = (&self.voices, &voice) {
            voices.close(voice);
        }
        if let (Some(phases), Some(watched)) = (&self.phases, &watched) {
            phases.close(watched);
        }
    }

    /// Waits until something lies ready. What begins at once takes the place of what the slot has noted, which is ended only
    /// where nothing does: each of these notes is a system call.
    async fn next(&self, slot: usize) -> Result<SemaphorePermit<'_>, AcquireError> {
        if let Ok(permit) = self.queued.try_acquire() {
            return Ok(permit);
        }
        self.ended(slot);
        self.queued.acquire().await
    }

    /// Begins nothing while the process is paused.
    async fn wait_while_paused(&self, slot: usize) {
        if clock::is_paused() {
            self.ended(slot);
            clock::while_paused().await;
        }
    }

    /// Notes that nothing is being executed in a slot.
    fn ended(&self, slot: usize) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.end(slot);
        }
    }

    /// Executors end once nothing lies ready for them.
    fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closing = true;
        let is_empty = queue.executors == 0;
        drop(queue);
        self.queued.close();
        if is_empty {
            self.send(FromExecutors::Left { who: self.who });
        }
    }

    /// Gives back what was not begun.
    fn returned(&self, attempts: Vec<AttemptKey>) {
        if !attempts.is_empty() {
            self.send(FromExecutors::Returned {
                who: self.who,
                attempts,
            });
        }
    }

    fn begun(&self, key: AttemptKey) -> bool {
        self.send(FromExecutors::Started {
            who: self.who,
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

#[cfg(test)]
mod tests {
    use super::{Item, Queue};

    /// What executors find, in order; `None` tells them to leave.
    fn taken(queue: &mut Queue<u32>) -> Vec<Option<u32>> {
        let items = queue.items.drain(..);
        items
            .map(|item| match item {
                Item::Attempt(number) => Some(number),
                Item::Leave => None,
            })
            .collect()
    }

    #[test]
    fn the_last_slot_is_closed_behind_all_that_lies_ready_however_long_the_others_take_to_leave() {
        let mut queue = Queue::new();
        queue.open();
        queue.open();
        queue.items.extend([1, 2].map(Item::Attempt));
        queue.close_one();
        assert!(matches!(queue.items.pop_front(), Some(Item::Leave)));
        // The first has its order, and is still there.
        queue.close_one();
        assert_eq!(taken(&mut queue), [Some(1), Some(2), None]);

        queue.open();
        queue.items.push_back(Item::Attempt(3));
        queue.close_one();
        assert_eq!(taken(&mut queue), [Some(3), None]);
    }

    #[test]
    fn others_are_closed_before_anything_else_begins() {
        let mut queue = Queue::new();
        (0..3).for_each(|_| queue.open());
        queue.items.extend([1, 2].map(Item::Attempt));
        queue.close_one();
        queue.close_one();
        assert_eq!(taken(&mut queue), [None, None, Some(1), Some(2)]);
    }
}
