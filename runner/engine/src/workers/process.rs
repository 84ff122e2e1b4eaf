//! [`WorkerProcess`]: a local worker process, and its supervision.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{self, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{fs::FileExt, net::UnixStream},
    },
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use runner_model::protocol::{Doing, FrameBuffer, FromWorker, SlotWord, ToWorker};
use runner_model::{GuestPhase, Micros, TaskId, test_duration};
use runner_prepare::children::{self, CERTIFICATES, Starting};

use super::link::{EventSink, LinkEvent, WorkerExit, WorkerLink};
use crate::{clock::monotonic, schedule::Blame, signals::lock};

/// Time after its deadline for which a guest may stay inside one instruction.
const STUCK_AFTER: Micros = Micros(1_000_000);
/// Time for a worker to end a task after the longest timeout of its tasks has passed. The worker may have to wait for
/// large files and send large artifacts.
const OVERDUE_AFTER: Micros = Micros(120_000_000);
/// Silence after which a worker with tasks counts as dead.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// Silence after which a worker with tasks must have been suspended, because it sends `Doing` every half second.
const SUSPENDED_FOR: Duration = Duration::from_millis(1_500);
/// Interval at which deadlines of tasks are checked.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// Time for a worker to exit after it has closed its socket.
const EXIT_WITHIN: Duration = Duration::from_millis(500);

/// A local worker process.
pub(crate) struct WorkerProcess {
    shared: Arc<WorkerShared>,
    frames: Sender<ToWorker>,
}

struct WorkerShared {
    process: Mutex<Process>,
    socket: UnixStream,
    slots: File,
    stderr: File,
    /// Timeouts of the tasks in flight.
    tasks: Mutex<HashMap<TaskId, Micros>>,
    is_paused: AtomicBool,
}

#[derive(Default)]
struct Process {
    child: Option<Child>,
    /// Whether [`WorkerLink::kill`] was called, maybe before the child existed.
    is_killed: bool,
}

impl WorkerProcess {
    /// Starts a process without waiting for it. `name` is the hidden command.
    ///
    /// # Errors
    ///
    /// The system has no more files or threads.
    pub(crate) fn start(name: &str, sink: EventSink) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(CHECK_EVERY))?;
        let slots = children::memory_file("slots", b"")?;
        let stderr = children::memory_file("stderr", b"")?;
        let mut command = children::program(&[name]);
        // An empty variable counts as not set.
        let value = |name| env::var_os(name).filter(|value| !value.is_empty());
        let certificates = CERTIFICATES.into_iter().filter_map(|name| Some((name, value(name)?)));
        command
            .envs(certificates)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(slots.try_clone()?))
            .stderr(Stdio::from(stderr.try_clone()?));
        let starting = children::start(command);
        let shared = Arc::new(WorkerShared {
            process: Mutex::default(),
            socket: ours,
            slots,
            stderr,
            tasks: Mutex::default(),
            is_paused: AtomicBool::new(false),
        });
        let (frames, to_send) = mpsc::channel();
        let sending = Arc::clone(&shared);
        let thread = thread::Builder::new().name("send".into());
        thread.spawn(move || sending.send_frames(&to_send))?;
        let reading = Arc::clone(&shared);
        let thread = thread::Builder::new().name("receive".into());
        thread.spawn(move || reading.supervise(starting, &sink))?;
        Ok(Self { shared, frames })
    }
}

impl WorkerLink for WorkerProcess {
    fn send(&self, message: ToWorker) {
        if let ToWorker::Tasks { tasks, .. } = &message {
            let tasks = tasks.iter().map(|task| (task.id, task.timeout));
            lock(&self.shared.tasks).extend(tasks);
        }
        if let ToWorker::Pause(is_paused) = message {
            self.shared.is_paused.store(is_paused, Ordering::Release);
        }
        // Without a receiver the worker has exited, which the other thread reports.
        let _ = self.frames.send(message);
    }

    fn kill(&self) {
        self.shared.kill();
    }

    fn slots(&self) -> Vec<SlotWord> {
        self.shared.slots()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

impl WorkerShared {
    fn kill(&self) {
        let mut process = lock(&self.process);
        process.is_killed = true;
        if let Some(child) = &process.child {
            children::kill(child);
        }
    }

    /// Returns the slots with a running task.
    fn slots(&self) -> Vec<SlotWord> {
        let length = self.slots.metadata().map_or(0, |about| about.len());
        // A hostile worker could make the file of any length.
        let mut bytes = vec![0; length.min(1 << 20) as usize];
        if self.slots.read_exact_at(&mut bytes, 0).is_err() {
            return Vec::new();
        }
        let (words, _) = bytes.as_chunks::<{ SlotWord::LENGTH }>();
        let words = words.iter().map(|word| SlotWord::decode(*word));
        words.filter(|word| word.task != 0).collect()
    }

    /// Sends messages until the link is dropped. A separate thread, because a worker that computes does not read.
    fn send_frames(&self, frames: &Receiver<ToWorker>) {
        let mut bytes = Vec::new();
        while let Ok(message) = frames.recv() {
            bytes.clear();
            message.encode(&mut bytes);
            if (&self.socket).write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads messages until the worker exits, and reports its exit.
    fn supervise(&self, starting: Starting, sink: &EventSink) {
        let lost =
            |started, blame, how| sink(LinkEvent::Exited(WorkerExit { started, blame, how }));
        match starting.wait() {
            Ok(child) => {
                let mut process = lock(&self.process);
                if process.is_killed {
                    children::kill(&child);
                }
                process.child = Some(child);
            }
            Err(error) => {
                lost(Vec::new(), None, format!("did not start: {error}"));
                return;
            }
        }
        let fault = self.read_messages(sink);
        let is_ours = fault.is_some() || lock(&self.process).is_killed;
        if is_ours {
            self.kill();
        }
        let status = self.reap();
        let end = status.map_or_else(
            || "exited with an unknown status".to_owned(),
            |status| children::describe_exit(status, &self.stderr),
        );
        let tasks = lock(&self.tasks);
        let mut started = self.slots();
        started.retain(|word| tasks.contains_key(&TaskId(word.task)));
        let is_idle = tasks.is_empty();
        drop(tasks);
        let (blame, how) = match fault {
            Some((blame, why)) => (Some(blame), format!("was killed, because {why}")),
            None if is_ours => (None, "was killed".to_owned()),
            None => {
                // Without blame, a worker that exits with code 0 and leaves tasks would do so again and again.
                let is_exit = status.is_some_and(|status| status.success()) && is_idle;
                ((!is_exit).then_some(Blame::Died), end)
            }
        };
        lost(started, blame, how);
    }

    /// Reads messages until the worker closes its socket or must be killed. Returns the blame and the reason for killing it.
    fn read_messages(&self, sink: &EventSink) -> Option<(Blame, String)> {
        let mut frames = FrameBuffer::default();
        let now = Instant::now();
        let mut liveness = Liveness {
            checked: now,
            received: now,
            doing: Vec::new(),
            doing_at: 0,
            ended_at: 0,
            steady_since: 0,
        };
        loop {
            let is_silent = match frames.fill(&self.socket) {
                Ok(0) => return None,
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            let mut messages = Vec::new();
            let bad = loop {
                match frames.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break None,
                    Err(bad) => break Some((Blame::Died, format!("it sent {bad}"))),
                }
            };
            self.track_tasks(&messages, &mut liveness);
            if !messages.is_empty() {
                sink(LinkEvent::Messages(messages));
            }
            let fault = bad.or_else(|| self.check_liveness(&mut liveness, is_silent));
            if fault.is_some() {
                return fault;
            }
        }
    }

    /// Tracks the tasks in flight by the messages of the worker.
    fn track_tasks(&self, messages: &[FromWorker], liveness: &mut Liveness) {
        let mut tasks = lock(&self.tasks);
        for message in messages {
            match message {
                FromWorker::Report { head, .. } if tasks.remove(&head.task).is_some() => {
                    liveness.ended_at = monotonic();
                }
                FromWorker::Returned(returned) => {
                    for task in returned {
                        tasks.remove(task);
                    }
                }
                FromWorker::Doing(doing) => {
                    let doing = doing.iter().filter(|doing| tasks.contains_key(&doing.task));
                    liveness.doing = doing.cloned().collect();
                    liveness.doing_at = monotonic();
                }
                _ => {}
            }
        }
    }

    /// Returns the blame and the reason if the worker must be killed.
    fn check_liveness(&self, liveness: &mut Liveness, is_silent: bool) -> Option<(Blame, String)> {
        let (now, tasks) = (Instant::now(), lock(&self.tasks));
        let gap = now - liveness.checked;
        let is_paused = self.is_paused.load(Ordering::Acquire);
        // After a long gap, this process was suspended, and so was the worker. A worker that sends again after a long silence
        // was suspended alone, and shifts the times of its slots immediately.
        let was_suspended =
            gap > 4 * CHECK_EVERY || !is_silent && now - liveness.received > SUSPENDED_FOR;
        if is_paused || was_suspended {
            liveness.steady_since = monotonic();
        }
        if !is_silent || tasks.is_empty() || was_suspended {
            liveness.received = now;
        }
        if tasks.is_empty() {
            liveness.ended_at = monotonic();
        }
        if gap < CHECK_EVERY / 2 {
            return None;
        }
        liveness.checked = now;
        let limit = test_duration("RUNNER_TEST_SILENCE_MS", SILENT_FOR);
        if now - liveness.received > limit {
            return Some((Blame::Died, format!("it sent nothing for {} s", limit.as_secs())));
        }
        let longest = tasks.values().max().map_or(0, |timeout| timeout.0);
        let due = liveness.ended_at.max(liveness.steady_since).saturating_add(longest);
        if monotonic() > due.saturating_add(OVERDUE_AFTER.0) {
            return Some((Blame::Died, "it ended no attempt in time".to_owned()));
        }
        let stuck = self.slots().into_iter().find_map(|word| {
            let task = TaskId(word.task);
            let deadline = word.started.saturating_add(tasks.get(&task)?.0);
            let deadline = deadline.max(liveness.steady_since);
            let is_on_processor = liveness
                .doing
                .iter()
                .any(|doing| doing.task == task && doing.phase == GuestPhase::Computing);
            let is_late = monotonic() > deadline.saturating_add(STUCK_AFTER.0);
            (is_late && is_on_processor && liveness.doing_at > deadline).then_some(task)
        });
        let why = "its guest was stuck inside one instruction";
        stuck.map(|task| (Blame::Stuck(task), why.to_owned()))
    }

    /// Waits for the process to exit, and kills it after [`EXIT_WITHIN`].
    fn reap(&self) -> Option<ExitStatus> {
        let child = lock(&self.process).child.take();
        let mut child = child?;
        if let Ok(Some(status)) = children::wait_for(&mut child, EXIT_WITHIN) {
            return Some(status);
        }
        children::kill(&child);
        child.wait().ok()
    }
}

/// State of the checks of a worker. Times in `u64` are monotonic, in microseconds.
struct Liveness {
    checked: Instant,
    received: Instant,
    doing: Vec<Doing>,
    doing_at: u64,
    /// Last time at which a task ended or no task was in flight.
    ended_at: u64,
    /// End of the last known pause or suspension of this process or the worker.
    steady_since: u64,
}

#[cfg(test)]
#[path = "../tests/process.rs"]
mod tests;
