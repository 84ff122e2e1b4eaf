//! What the control thread and the guest thread both see: tasks that wait, what each slot runs, and the way out.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use runner_model::{
    Digest, TaskId,
    protocol::{Doing, FromWorker, SlotWord, Task},
};
use runner_sandbox::{Activity, Interrupt, cut};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use crate::{link::Outgoing, report::AttemptReport};

/// Reports that may wait for others; fewer where few tasks wait, or their sender would send more too late.
const MAX_BATCH: usize = 64;
/// Bytes that are told of what a guest does.
const MAX_WORD: usize = 200;

pub struct WorkerState {
    /// Told when a task or a file has come.
    pub wake: Notify,
    queue: Mutex<Queue>,
    out: Mutex<Outgoing>,
    slots: File,
    /// What `slots` has, and how long the clock of calls had not gone on when each slot was written.
    words: Mutex<Vec<(SlotWord, Duration)>>,
    pub interrupt: Interrupt,
    /// By slot: the task that it runs, or 0.
    running: Vec<AtomicU64>,
    /// The task whose guest is on the processor, or 0.
    on_processor: AtomicU64,
    /// By slot: what its guest does.
    pub activities: Vec<Activity>,
}

/// A task with what came with it.
pub struct QueuedTask {
    pub task: Task,
    /// The test's line, if it is not a blob.
    pub line: Vec<u8>,
    /// The stored row of a task that has one.
    pub row: Vec<u8>,
}

#[derive(Default)]
struct Queue {
    orders: VecDeque<QueuedTask>,
    /// Plugins and blobs that the supervisor says are there now.
    arrived: HashSet<Digest>,
    /// No task begins any more.
    is_stopped: bool,
    /// No task begins until the pause is over.
    is_paused: bool,
    /// Slots tear down what they keep.
    is_finished: bool,
}

impl WorkerState {
    pub fn new(out: Outgoing, slots: File, count: u32, interrupt: Interrupt) -> Self {
        Self {
            wake: Notify::new(),
            queue: Mutex::default(),
            out: Mutex::new(out),
            slots,
            words: Mutex::new(vec![Default::default(); count as usize]),
            interrupt,
            running: (0..count).map(|_| AtomicU64::new(0)).collect(),
            on_processor: AtomicU64::new(0),
            activities: (0..count).map(|_| Activity::default()).collect(),
        }
    }

    /// Number of slots.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Queues tasks; gives them back if none may begin any more.
    pub fn push(&self, tasks: Vec<Task>, body: &[u8]) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        let mut rest = body;
        for task in tasks {
            let (own, others) = rest.split_at(task.body_bytes());
            let (line, row) = own.split_at(own.len() - task.row_bytes as usize);
            queue.orders.push_back(QueuedTask { line: line.to_vec(), row: row.to_vec(), task });
            rest = others;
        }
        let is_stopped = queue.is_stopped;
        drop(queue);
        self.wake.notify_waiters();
        match is_stopped {
            true => self.take_back(0),
            false => Ok(()),
        }
    }

    /// Takes the task that came first, if one may begin.
    pub fn next(&self) -> Option<QueuedTask> {
        let mut queue = lock(&self.queue);
        let may_begin = !queue.is_paused && !queue.is_stopped;
        may_begin.then(|| queue.orders.pop_front())?
    }

    /// Lets no task begin and guests wait, or lets all go on.
    pub fn pause(&self, is_paused: bool) -> io::Result<()> {
        lock(&self.queue).is_paused = is_paused;
        self.interrupt.pause(is_paused);
        self.shift()?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Moves the times at which slots have begun by as much as the clock of calls has not gone on since then, so that
    /// deadlines that are reckoned by them move, too.
    pub fn shift(&self) -> io::Result<()> {
        let suspended = self.interrupt.suspended();
        for (slot, (word, before)) in lock(&self.words).iter_mut().enumerate() {
            let late = suspended.saturating_sub(*before);
            if !late.is_zero() && word.task != 0 {
                word.began += late.as_micros() as u64;
                *before = suspended;
                self.write(slot, *word)?;
            }
        }
        Ok(())
    }

    /// Gives back tasks that have not begun, the newest first, but keeps so many.
    pub fn take_back(&self, keep: u32) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        let keep = queue.orders.len().min(keep as usize);
        let returned = queue.orders.split_off(keep);
        drop(queue);
        self.say(&FromWorker::Returned(returned.iter().map(|order| order.task.id).collect()))
    }

    /// Lets no task begin any more, and gives back those that have not.
    pub fn stop(&self) -> io::Result<()> {
        lock(&self.queue).is_stopped = true;
        self.take_back(0)
    }

    /// Lets every slot that is free tear down what it keeps, and end.
    pub fn finish(&self) {
        lock(&self.queue).is_finished = true;
        self.wake.notify_waiters();
    }

    /// Tells whether slots tear down what they keep.
    pub fn is_finished(&self) -> bool {
        lock(&self.queue).is_finished
    }

    /// Notes that a plugin or blob is there.
    pub fn arrive(&self, digest: Digest) {
        lock(&self.queue).arrived.insert(digest);
        self.wake.notify_waiters();
    }

    /// Waits until a plugin or blob is there.
    pub async fn arrival(&self, digest: &Digest) {
        loop {
            let wake = self.wake.notified();
            if lock(&self.queue).arrived.contains(digest) {
                return;
            }
            wake.await;
        }
    }

    /// Notes for all who watch that a slot begins a task.
    pub fn begin(&self, slot: usize, task: TaskId) -> io::Result<()> {
        self.running[slot].store(task.0, Relaxed);
        let now = clock_gettime(ClockId::Monotonic);
        let began = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000;
        self.note(slot, SlotWord { task: task.0, began })
    }

    /// Adds a slot's report to those that wait. The slot's word stays until the slot begins another task or
    /// [`Self::rest`]s: the report may still be lost with this process.
    pub fn report(&self, slot: usize, task: TaskId, report: &AttemptReport) -> io::Result<()> {
        let batch = (lock(&self.queue).orders.len() / 2).clamp(1, MAX_BATCH);
        lock(&self.out).report(task, report, batch)?;
        self.running[slot].store(0, Relaxed);
        Ok(())
    }

    /// Sends the reports that wait, and notes that the slot is empty.
    pub fn rest(&self, slot: usize) -> io::Result<()> {
        self.flush()?;
        self.note(slot, SlotWord::default())
    }

    fn note(&self, slot: usize, word: SlotWord) -> io::Result<()> {
        let suspended = self.interrupt.suspended();
        let mut words = lock(&self.words);
        words[slot] = (word, suspended);
        self.write(slot, word)
    }

    fn write(&self, slot: usize, word: SlotWord) -> io::Result<()> {
        let at = (slot * SlotWord::LENGTH) as u64;
        self.slots.write_all_at(&word.encode(), at)
    }

    /// Notes that a task's guest is on the processor, or with 0 that none is.
    pub fn put_on_processor(&self, task: TaskId) {
        self.on_processor.store(task.0, Relaxed);
    }

    /// Sends the reports that wait.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.out).flush()
    }

    /// Sends a frame behind the reports that wait.
    pub fn say(&self, message: &FromWorker) -> io::Result<()> {
        lock(&self.out).say(message)
    }

    /// Tells whether a slot runs a task.
    pub fn is_running(&self) -> bool {
        self.running.iter().any(|task| task.load(Relaxed) != 0)
    }

    /// Says what runs at the moment.
    pub fn say_doing(&self) -> io::Result<()> {
        let on_processor = self.on_processor.load(Relaxed);
        let running = self.running.iter().map(|task| task.load(Relaxed));
        let running = running.zip(&self.activities).filter(|(task, _)| *task != 0);
        let doing = running.map(|(task, activity)| {
            let on_processor = task == on_processor;
            Doing {
                task: TaskId(task),
                on_processor,
                word: match on_processor {
                    true => "computes".into(),
                    false => cut(MAX_WORD, activity.word()),
                },
            }
        });
        self.say(&FromWorker::Doing(doing.collect()))
    }
}

/// A panic elsewhere leaves nothing half done in what these hold.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
