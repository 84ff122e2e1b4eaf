//! [`WorkerProcess`]: a worker process of this machine.

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

use runner_model::{
    Micros, TaskId,
    protocol::{Doing, FrameBuffer, FromWorker, SlotWord, ToWorker},
};
use runner_prepare::children::{self, CERTIFICATES, Starting};

use super::{
    events::{LinkEvent, WorkerExit},
    link::{EventSink, WorkerLink},
};
use crate::{clock::monotonic, schedule::Blame, signals::lock};

/// How long a guest may go on inside one instruction behind its deadline.
const STUCK_AFTER: Micros = Micros(1_000_000);
/// A worker with tasks ends one of them at the latest so long behind the longest of their timeouts: it may have to wait for
/// large files, and to hand some over.
const OVERDUE_AFTER: Micros = Micros(120_000_000);
/// A worker with tasks that says nothing for so long is taken for dead.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// A worker with tasks that was silent for so long was suspended: it says every half second that it is there.
const SUSPENDED_FOR: Duration = Duration::from_millis(1_500);
/// How often a worker's tasks are compared with their deadlines.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A worker that has closed its socket gets so long to exit by itself.
const EXIT_WITHIN: Duration = Duration::from_millis(500);

/// A worker process of this machine.
pub(crate) struct WorkerProcess {
    shared: Arc<WorkerShared>,
    frames: Sender<ToWorker>,
}

struct WorkerShared {
    process: Mutex<Process>,
    socket: UnixStream,
    slots: File,
    stderr: File,
    /// The timeouts of the tasks that it has.
    tasks: Mutex<HashMap<TaskId, Micros>>,
    is_paused: AtomicBool,
}

#[derive(Default)]
struct Process {
    child: Option<Child>,
    /// Whether this process ended it, or was to before it was there.
    is_killed: bool,
}

impl WorkerProcess {
    /// Starts a process and does not wait for it. `name` is the hidden command.
    ///
    /// # Errors
    ///
    /// The system's, if it has no more files or threads.
    pub(crate) fn start(name: &str, hear: EventSink) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(LOOK_EVERY))?;
        let slots = children::nameless("slots", b"")?;
        let stderr = children::nameless("stderr", b"")?;
        let mut command = children::program(&[name]);
        let certificates = CERTIFICATES.into_iter();
        let certificates = certificates.filter_map(|name| Some((name, env::var_os(name)?)));
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
        thread.spawn(move || reading.live(starting, &hear))?;
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
        // Without a receiver the link is down, which its reader tells.
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

    /// The slots that have begun a task.
    fn slots(&self) -> Vec<SlotWord> {
        let length = self.slots.metadata().map_or(0, |about| about.len());
        // A worker that lies could make the file as long as it likes.
        let mut bytes = vec![0; length.min(1 << 20) as usize];
        if self.slots.read_exact_at(&mut bytes, 0).is_err() {
            return Vec::new();
        }
        let (words, _) = bytes.as_chunks::<{ SlotWord::LENGTH }>();
        let words = words.iter().map(|word| SlotWord::decode(*word));
        words.filter(|word| word.task != 0).collect()
    }

    /// Sends what it is given, because a worker that computes does not read.
    fn send_frames(&self, frames: &Receiver<ToWorker>) {
        let mut bytes = Vec::new();
        while let Ok(message) = frames.recv() {
            bytes.clear();
            message.encode(&mut bytes);
            if (&self.socket).write_all(&bytes).is_err() {
                return;
            }
        }
        // No more will come.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads what the worker says until it ends.
    fn live(&self, starting: Starting, hear: &EventSink) {
        let lost = |begun, blame, how| hear(LinkEvent::Exited(WorkerExit { begun, blame, how }));
        match starting.wait() {
            Ok(child) => {
                let mut process = lock(&self.process);
                if process.is_killed {
                    children::kill(&child);
                }
                process.child = Some(child);
            }
            Err(error) => {
                lost(Vec::new(), None, format!("cannot be started: {error}"));
                return;
            }
        }
        let fault = self.listen(hear);
        let is_ours = fault.is_some() || lock(&self.process).is_killed;
        if is_ours {
            self.kill();
        }
        let status = self.reap();
        let words = status.map_or_else(
            || "cannot be waited for".to_owned(),
            |status| children::show_end(status, &self.stderr),
        );
        let tasks = lock(&self.tasks);
        let mut begun = self.slots();
        begun.retain(|word| tasks.contains_key(&TaskId(word.task)));
        let is_idle = tasks.is_empty();
        drop(tasks);
        let (blame, how) = match fault {
            Some((blame, why)) => (Some(blame), format!("was killed, because {why}")),
            None if is_ours => (None, "was killed".to_owned()),
            None => {
                // One that leaves its tasks behind would do so again and again, whatever its slots say.
                let is_exit = status.is_some_and(|status| status.success()) && is_idle;
                ((!is_exit).then_some(Blame::Died), words)
            }
        };
        lost(begun, blame, how);
    }

    /// Reads what the worker says, to the end of that or until it has to be killed; then it says whose fault that is, and why.
    fn listen(&self, hear: &EventSink) -> Option<(Blame, String)> {
        let mut frames = FrameBuffer::default();
        let now = Instant::now();
        let mut look = Liveness {
            looked: now,
            heard: now,
            doing: Vec::new(),
            doing_at: 0,
            ended_at: 0,
            calm_since: 0,
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
            self.note(&messages, &mut look);
            if !messages.is_empty() {
                hear(LinkEvent::Messages(messages));
            }
            let fault = bad.or_else(|| self.look_after(&mut look, is_silent));
            if fault.is_some() {
                return fault;
            }
        }
    }

    /// Keeps account of the tasks that the worker has.
    fn note(&self, messages: &[FromWorker], look: &mut Liveness) {
        let mut tasks = lock(&self.tasks);
        for message in messages {
            match message {
                FromWorker::Report { head, .. } if tasks.remove(&head.task).is_some() => {
                    look.ended_at = monotonic();
                }
                FromWorker::Returned(returned) => {
                    for task in returned {
                        tasks.remove(task);
                    }
                }
                FromWorker::Doing(doing) => {
                    look.doing.clone_from(doing);
                    look.doing_at = monotonic();
                }
                _ => {}
            }
        }
    }

    /// Tells whether the worker must be killed, whose fault that is, and why.
    fn look_after(&self, look: &mut Liveness, is_silent: bool) -> Option<(Blame, String)> {
        let (now, tasks) = (Instant::now(), lock(&self.tasks));
        let gap = now - look.looked;
        let is_paused = self.is_paused.load(Ordering::Acquire);
        // After a longer gap this process was suspended, and so was the worker. One that has just been heard again after a
        // while was suspended alone; it has moved the times of its slots by now, or does so at once.
        let was_suspended = gap > 4 * LOOK_EVERY || !is_silent && now - look.heard > SUSPENDED_FOR;
        if is_paused || was_suspended {
            look.calm_since = monotonic();
        }
        if !is_silent || tasks.is_empty() || was_suspended {
            look.heard = now;
        }
        if tasks.is_empty() {
            look.ended_at = monotonic();
        }
        if gap < LOOK_EVERY / 2 {
            return None;
        }
        look.looked = now;
        if now - look.heard > SILENT_FOR {
            return Some((Blame::Died, "it said nothing for 10 s".to_owned()));
        }
        let longest = tasks.values().max().map_or(0, |timeout| timeout.0);
        let due = look.ended_at.max(look.calm_since).saturating_add(longest);
        if monotonic() > due.saturating_add(OVERDUE_AFTER.0) {
            return Some((Blame::Died, "it ended no attempt in time".to_owned()));
        }
        let stuck = self.slots().into_iter().find_map(|word| {
            let task = TaskId(word.task);
            let deadline = word.began.saturating_add(tasks.get(&task)?.0);
            let deadline = deadline.max(look.calm_since);
            let is_on_processor =
                look.doing.iter().any(|doing| doing.task == task && doing.on_processor);
            let is_late = monotonic() > deadline.saturating_add(STUCK_AFTER.0);
            (is_late && is_on_processor && look.doing_at > deadline).then_some(task)
        });
        let why = "its guest was stuck inside one instruction";
        stuck.map(|task| (Blame::Stuck(task), why.to_owned()))
    }

    /// Waits for the end of the process; one that closed its socket and does not exit is killed.
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

/// When a worker was last looked after, and what it said it does.
struct Liveness {
    looked: Instant,
    heard: Instant,
    doing: Vec<Doing>,
    doing_at: u64,
    /// When it ended a task, or had none.
    ended_at: u64,
    /// Since when neither this process nor the worker is paused or suspended, as far as it is known.
    calm_since: u64,
}

#[cfg(test)]
#[path = "../tests/process.rs"]
mod tests;
