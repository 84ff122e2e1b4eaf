//! [`WorkerState`], which the control thread and the guest thread share: queued tasks, running tasks and the outgoing
//! socket.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use runner_model::protocol::{Doing, FromWorker, MAX_PIECE, SlotWord, Task, TaskKind};
use runner_model::{Digest, GuestPhase, TaskId, recent_output::MOST_SHOWN};
use runner_sandbox::{Activity, Interrupt, cut};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, oneshot};

use crate::{link::Outgoing, report::AttemptReport};

/// Most reports in one batch. If few tasks are queued, batches are smaller, or the supervisor would send more too late.
const MAX_BATCH: usize = 256;
/// Bytes of a guest's activity in one [`Doing`].
const MAX_WORD: usize = 200;
/// Age in microseconds from which the output of an attempt is sent. Those of short attempts cost nothing.
const OUTPUT_AFTER: u64 = 1_000_000;

pub struct WorkerState {
    /// The first slots are for attempts of providers, the others for graders.
    attempt_slots: usize,
    /// Notified when a task or a file has arrived.
    pub wake: Notify,
    queue: Mutex<Queue>,
    out: Mutex<Outgoing>,
    /// The file that outlives this process. It holds one [`SlotWord`] per slot.
    slots: File,
    /// By slot: the content of `slots`, and [`Interrupt::suspended`] when it was written.
    words: Mutex<Vec<(SlotWord, Duration)>>,
    pub interrupt: Interrupt,
    /// By slot: the running task, or 0.
    running: Vec<AtomicU64>,
    /// The task whose guest is on the processor, or 0.
    on_processor: AtomicU64,
    /// By slot.
    pub activities: Vec<Activity>,
    /// By slot: the task whose output was sent, and the bytes of its output then.
    outputs: Mutex<Vec<(u64, u64)>>,
    /// By task: the entries of journals that are not on disk, the oldest first.
    entries: Mutex<HashMap<TaskId, VecDeque<oneshot::Sender<()>>>>,
}

pub struct QueuedTask {
    pub task: Task,
    /// The bodies of all tasks that came in the same frame.
    body: Arc<Vec<u8>>,
    at: usize,
}

impl QueuedTask {
    /// Returns the test's line. Empty if it is a blob.
    pub fn line(&self) -> &[u8] {
        let own = &self.body[self.at..][..self.task.body_bytes()];
        &own[..own.len() - self.task.row_bytes as usize]
    }

    /// Returns the stored row to grade or judge. Empty for other tasks.
    pub fn row(&self) -> &[u8] {
        &self.body[self.at + self.line().len()..][..self.task.row_bytes as usize]
    }
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<QueuedTask>,
    /// Plugins and blobs that the supervisor has supplied.
    arrived: HashSet<Digest>,
    /// Blobs that were requested. Slots share one request, because the supervisor bounds their number.
    requested: HashSet<Digest>,
    /// No task starts any more.
    is_stopped: bool,
    /// No task starts until the pause is over.
    is_paused: bool,
    /// Slots tear down their instances and end.
    is_finished: bool,
}

impl WorkerState {
    /// `attempt_slots` are for attempts of providers, the others of `count` slots for graders.
    pub fn new(
        out: Outgoing,
        slots: File,
        attempt_slots: u32,
        count: u32,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            attempt_slots: attempt_slots as usize,
            wake: Notify::new(),
            queue: Mutex::default(),
            out: Mutex::new(out),
            slots,
            words: Mutex::new(vec![Default::default(); count as usize]),
            interrupt,
            running: (0..count).map(|_| AtomicU64::new(0)).collect(),
            on_processor: AtomicU64::new(0),
            activities: (0..count).map(|_| Activity::default()).collect(),
            outputs: Mutex::new(vec![(0, 0); count as usize]),
            entries: Mutex::default(),
        }
    }

    /// Returns the number of slots.
    pub fn slot_count(&self) -> usize {
        self.running.len()
    }

    /// Queues tasks, or returns them to the supervisor after a stop.
    pub fn push_tasks(&self, tasks: Vec<Task>, body: Vec<u8>) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        let body = Arc::new(body);
        let mut at = 0;
        for task in tasks {
            let bytes = task.body_bytes();
            queue.tasks.push_back(QueuedTask { task, body: Arc::clone(&body), at });
            at += bytes;
        }
        let is_stopped = queue.is_stopped;
        drop(queue);
        self.wake.notify_waiters();
        if is_stopped { self.take_back(0) } else { Ok(()) }
    }

    /// Removes the oldest queued task that may run in a slot. `None` if there is none, or the queue is paused or stopped.
    pub fn pop_task(&self, slot: usize) -> Option<QueuedTask> {
        let mut queue = lock(&self.queue);
        if queue.is_paused || queue.is_stopped {
            return None;
        }
        let is_for_graders = slot >= self.attempt_slots;
        let at = queue
            .tasks
            .iter()
            .position(|queued| (queued.task.kind == TaskKind::Grade) == is_for_graders)?;
        queue.tasks.remove(at)
    }

    /// Suspends guests and holds back queued tasks, or resumes both.
    pub fn pause(&self, is_paused: bool) -> io::Result<()> {
        lock(&self.queue).is_paused = is_paused;
        self.interrupt.pause(is_paused);
        self.postpone_starts()?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Moves the start times of slots by the time for which calls were suspended since. The supervisor computes deadlines
    /// from them and would otherwise kill this worker after a pause.
    pub fn postpone_starts(&self) -> io::Result<()> {
        let suspended = self.interrupt.suspended();
        for (slot, (word, before)) in lock(&self.words).iter_mut().enumerate() {
            let late = suspended.saturating_sub(*before);
            if !late.is_zero() && word.task != 0 {
                word.started += late.as_micros() as u64;
                *before = suspended;
                self.write_slot(slot, *word)?;
            }
        }
        Ok(())
    }

    /// Returns queued tasks to the supervisor, the newest first, but keeps the `keep` oldest.
    pub fn take_back(&self, keep: u32) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        let keep = queue.tasks.len().min(keep as usize);
        let returned = queue.tasks.split_off(keep);
        drop(queue);
        self.send(&FromWorker::Returned(returned.iter().map(|queued| queued.task.id).collect()))
    }

    /// Lets no further task start, and returns the queued ones.
    pub fn stop(&self) -> io::Result<()> {
        lock(&self.queue).is_stopped = true;
        self.take_back(0)
    }

    /// Lets every free slot tear down its instances and end.
    pub fn finish(&self) {
        lock(&self.queue).is_finished = true;
        self.wake.notify_waiters();
    }

    pub fn is_finished(&self) -> bool {
        lock(&self.queue).is_finished
    }

    /// Requests a blob, unless it was requested before.
    pub fn request_blob(&self, digest: Digest) -> io::Result<()> {
        let is_new = lock(&self.queue).requested.insert(digest);
        if is_new { self.send(&FromWorker::NeedBlob(digest)) } else { Ok(()) }
    }

    /// Records that a plugin or blob has arrived.
    pub fn add_arrived(&self, digest: Digest) {
        lock(&self.queue).arrived.insert(digest);
        self.wake.notify_waiters();
    }

    /// Waits until a plugin or blob has arrived.
    pub async fn wait_for(&self, digest: &Digest) {
        loop {
            let wake = self.wake.notified();
            if lock(&self.queue).arrived.contains(digest) {
                return;
            }
            wake.await;
        }
    }

    /// Marks the slot as running `task`, also in the slots' file.
    pub fn start_task(&self, slot: usize, task: TaskId) -> io::Result<()> {
        self.activities[slot].start();
        self.running[slot].store(task.0, Relaxed);
        self.set_slot(slot, SlotWord { task: task.0, started: monotonic() })
    }

    /// Adds a slot's report to the batch. The slot's word stays until the slot starts another task or is cleared: the
    /// report is lost if this process dies before the batch is sent.
    pub fn report(&self, slot: usize, task: TaskId, report: &AttemptReport) -> io::Result<()> {
        let batch = (lock(&self.queue).tasks.len() / 2).clamp(1, MAX_BATCH);
        lock(&self.out).report(task, report, batch)?;
        self.running[slot].store(0, Relaxed);
        Ok(())
    }

    /// Sends the batched reports, then marks the slot as empty.
    pub fn clear_slot(&self, slot: usize) -> io::Result<()> {
        self.flush()?;
        self.set_slot(slot, SlotWord::default())
    }

    fn set_slot(&self, slot: usize, word: SlotWord) -> io::Result<()> {
        let suspended = self.interrupt.suspended();
        let mut words = lock(&self.words);
        words[slot] = (word, suspended);
        self.write_slot(slot, word)
    }

    fn write_slot(&self, slot: usize, word: SlotWord) -> io::Result<()> {
        let at = (slot * SlotWord::LENGTH) as u64;
        self.slots.write_all_at(&word.encode(), at)
    }

    /// Records whose guest is on the processor; 0 if no guest is.
    pub fn set_on_processor(&self, task: TaskId) {
        self.on_processor.store(task.0, Relaxed);
    }

    /// Sends the batched reports.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.out).flush()
    }

    /// Sends the batched reports, then a frame.
    pub fn send(&self, message: &FromWorker) -> io::Result<()> {
        lock(&self.out).send(message)
    }

    /// Sends an entry of a task's journal. The receiver resolves once it is on disk, and fails if it never will be.
    pub fn keep_entry(&self, task: TaskId, entry: &[u8]) -> io::Result<oneshot::Receiver<()>> {
        let (kept, wait) = oneshot::channel();
        lock(&self.entries).entry(task).or_default().push_back(kept);
        let mut pieces = entry.chunks(MAX_PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let is_last = pieces.peek().is_none();
            self.send(&FromWorker::Entry { task, is_last, bytes: piece.to_vec() })?;
        }
        Ok(wait)
    }

    /// Resolves the wait for the oldest entry of a task.
    pub fn entry_kept(&self, task: TaskId) {
        let mut entries = lock(&self.entries);
        if let Some(waits) = entries.get_mut(&task) {
            // The guest may have ended meanwhile.
            let _ = waits.pop_front().map(|kept| kept.send(()));
            if waits.is_empty() {
                entries.remove(&task);
            }
        }
    }

    /// Returns whether a slot runs a task.
    pub fn is_running(&self) -> bool {
        self.running.iter().any(|task| task.load(Relaxed) != 0)
    }

    /// Returns whether tasks wait for a blob.
    pub fn is_waiting(&self) -> bool {
        let queue = lock(&self.queue);
        !queue.requested.is_subset(&queue.arrived)
    }

    /// Sends the running tasks, and the outputs that have changed if `with_output`.
    pub fn send_doing(&self, with_output: bool) -> io::Result<()> {
        let on_processor = self.on_processor.load(Relaxed);
        let shown = if with_output { self.oldest() } else { HashSet::new() };
        let mut outputs = lock(&self.outputs);
        let running = self.running.iter().map(|task| task.load(Relaxed));
        let running = running.zip(&self.activities).zip(&mut *outputs);
        let doing = running.filter(|((task, _), _)| *task != 0).map(|((task, activity), sent)| {
            let output = shown.contains(&task).then(|| activity.output());
            let output = output.filter(|output| {
                let is_same = *sent == (task, output.bytes);
                *sent = (task, output.bytes);
                output.bytes > 0 && !is_same
            });
            let phase = match activity.is_ready() {
                _ if task == on_processor => GuestPhase::Computing,
                true => GuestPhase::Ready,
                false => GuestPhase::Waiting,
            };
            let word = cut(MAX_WORD, activity.word(phase == GuestPhase::Waiting));
            Doing { task: TaskId(task), phase, word, output }
        });
        self.send(&FromWorker::Doing(doing.collect()))
    }

    /// Returns the oldest tasks whose output is shown.
    fn oldest(&self) -> HashSet<u64> {
        let before = monotonic().saturating_sub(OUTPUT_AFTER);
        let words = lock(&self.words);
        let old = words.iter().filter(|(word, _)| word.task != 0 && word.started <= before);
        let mut old: Vec<_> = old.map(|(word, _)| *word).collect();
        old.sort_unstable_by_key(|word| word.started);
        old.iter().take(MOST_SHOWN).map(|word| word.task).collect()
    }
}

/// Returns microseconds of the monotonic clock.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Locks a mutex, also after a panic: no change under these locks can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
