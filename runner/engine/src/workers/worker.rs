//! [`PoolWorker`]: a worker of the pool. It accepts messages by the worker's phase, and collects the tasks of a frame.

use std::{mem, sync::mpsc::Receiver};

use runner_model::protocol::{
    FromWorker, Hello, Line, MAX_TASKS, SlotWord, Task, TaskKind, ToWorker,
};
use runner_model::{Digest, Limits, TaskId, cache::is_compile_key, visible::visible_line};

use super::inputs::Connection;
use super::link::{Fault, Phase, WorkerExit, WorkerLink, items};
use super::quota::FrameQuota;
use crate::clock::monotonic;
use crate::schedule::{Blame, Shape};

/// Tasks in one frame.
const BATCH: usize = 64;
const OURS: &str = env!("CARGO_PKG_VERSION");

/// A worker from its start to its exit.
pub(super) struct PoolWorker {
    pub(super) link: Box<dyn WorkerLink>,
    /// Items for the unread events; see [`Connection`].
    unread: Receiver<()>,
    /// Items to take while workers are held back.
    read: usize,
    quota: FrameQuota,
    pub(super) phase: Phase,
    pub(super) shape: Shape,
    /// Whether the worker was started for suspects.
    pub(super) alone: bool,
    /// Whether the worker describes the plugins to the session.
    pub(super) describes: bool,
    pub(super) is_remote: bool,
    compile_key: String,
    /// Plugins that the worker has requested, because the cache lacked them.
    requested_plugins: Vec<Digest>,
    tasks: Vec<Task>,
    body: Vec<u8>,
    /// `TakeBack` messages without an answer.
    open_take_backs: u32,
    /// The fault that the worker is being killed for, as the rest of a sentence, and the task of an invalid report.
    fault: Option<(String, Option<TaskId>)>,
}

impl PoolWorker {
    pub(super) fn new(
        Connection { link, unread }: Connection,
        quota: FrameQuota,
        shape: Shape,
        alone: bool,
        describes: bool,
        is_remote: bool,
    ) -> Self {
        Self {
            link,
            unread,
            read: 0,
            quota,
            phase: Phase::Started,
            shape,
            alone,
            describes,
            is_remote,
            compile_key: String::new(),
            requested_plugins: Vec::new(),
            tasks: Vec::new(),
            body: Vec::new(),
            open_take_backs: 0,
            fault: None,
        }
    }

    /// Counts received messages. Marks them as read unless workers are held back.
    pub(super) fn count(&mut self, messages: &[FromWorker], is_held_back: bool) {
        self.read += items(messages);
        if !is_held_back {
            self.take_items();
        }
    }

    /// Marks the items of received events as read.
    pub(super) fn take_items(&mut self) {
        while self.read > 0 {
            self.read -= 1;
            let _ = self.unread.try_recv();
        }
    }

    /// Checks that the worker may send a message now.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(super) fn check(&mut self, message: &FromWorker, is_closing: bool) -> Result<(), Fault> {
        self.quota.count(message)?;
        let is_allowed = match message {
            FromWorker::Hello(_) => self.phase == Phase::Started,
            FromWorker::Ready(_) => self.phase == Phase::Known,
            // A worker on another machine requests a plugin again if the broker has lost it.
            FromWorker::NeedPlugin(_) if !self.is_remote => self.phase == Phase::Known,
            FromWorker::NeedPlugin(_)
            | FromWorker::NeedBlob(_)
            | FromWorker::Doing(_)
            | FromWorker::Log(_)
            | FromWorker::Bye => self.phase >= Phase::Known,
            FromWorker::Returned(_)
            | FromWorker::Report { .. }
            | FromWorker::Artifact { .. }
            | FromWorker::Entry { .. } => self.phase == Phase::Working,
        };
        match message {
            _ if !is_allowed => Err("sent a message that is not allowed in its phase"),
            // A stopping worker returns tasks without a request.
            FromWorker::Returned(_) if !is_closing => {
                let left = self.open_take_backs.checked_sub(1);
                self.open_take_backs = left.ok_or("returned tasks without a request")?;
                Ok(())
            }
            FromWorker::Doing(doing)
                if doing.len() > (self.shape.slots.max(1) + self.shape.graders) as usize =>
            {
                Err("reported more running tasks than it has slots")
            }
            _ => Ok(()),
        }
    }

    /// Handles the first message. Returns the problem of a worker that no restart replaces.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(super) fn receive_hello(&mut self, hello: Hello) -> Result<Option<String>, Fault> {
        if self.is_remote && hello.version != OURS {
            return Err("is of another version");
        }
        if hello.version != OURS || !is_compile_key(&hello.compile_key) {
            let version = visible_line(&hello.version);
            return Ok(Some(format!(
                "a worker is of version {version} and this program of version {OURS}; start it again"
            )));
        }
        (self.phase, self.compile_key) = (Phase::Known, hello.compile_key);
        Ok(None)
    }

    /// Returns the key by which the worker finds a requested plugin once that is compiled.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(super) fn compile_key(&mut self, plugin: Digest) -> Result<String, Fault> {
        if self.requested_plugins.contains(&plugin) {
            return Err("requested a plugin twice");
        }
        self.requested_plugins.push(plugin);
        Ok(self.compile_key.clone())
    }

    /// Kills the worker for a fault, which completes a sentence that starts with it. `task` is the task of an invalid report.
    pub(super) fn fault(&mut self, task: Option<TaskId>, fault: String) {
        self.fault.get_or_insert((fault, task));
        self.link.kill();
    }

    /// Returns whether the worker's messages still count: not while it is being killed for a fault.
    pub(super) fn is_trusted(&self) -> bool {
        self.fault.is_none()
    }

    /// Adds the fault that the worker was killed for to its exit.
    pub(super) fn explain(self, exit: &mut WorkerExit) {
        let Some((fault, task)) = self.fault else { return };
        // The worker may have cleared the slot of the task already. The task still counts as started.
        let task = task.filter(|task| exit.started.iter().all(|word| word.task != task.0));
        exit.started.extend(task.map(|TaskId(task)| SlotWord { task, started: monotonic() }));
        exit.blame = Some(Blame::Died);
        exit.how = format!("was killed, because it {fault}");
    }

    /// Queues a task for the next [`Self::flush`]. `body` follows it in the frame, and `limits` are those of its provider.
    pub(super) fn assign(&mut self, task: Task, body: &[u8], limits: Option<&Limits>) {
        if self.body.len() + body.len() > MAX_TASKS {
            self.flush();
        }
        self.body.extend_from_slice(body);
        if let Some(limits) = limits {
            self.quota.add_task(limits);
        }
        if matches!(task.line, Line::Digest(_)) {
            self.quota.add_large_test();
        }
        if task.recorded.is_some() {
            self.quota.add_large_test();
        }
        if matches!(task.kind, TaskKind::Grade | TaskKind::Judge) {
            // The changes in its workspace, and their contents.
            (0..2).for_each(|_| self.quota.add_large_test());
        }
        self.tasks.push(task);
        if self.tasks.len() == BATCH {
            self.flush();
        }
    }

    /// Sends all queued tasks.
    pub(super) fn flush(&mut self) {
        if !self.tasks.is_empty() {
            self.quota.add_frame();
            let (tasks, body) = (mem::take(&mut self.tasks), mem::take(&mut self.body));
            self.link.send(ToWorker::Tasks { tasks, body });
        }
    }

    /// Requests that the worker returns all but `keep` of the tasks that it has not started.
    pub(super) fn take_back(&mut self, keep: u32) {
        self.open_take_backs += 1;
        self.quota.add_frame();
        self.link.send(ToWorker::TakeBack { keep });
    }
}
