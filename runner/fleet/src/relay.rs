//! [`Relay`]: sends the frames of a process on this machine to its coordinator, except for those that the worker answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use runner_engine::remote::{LinkEvent, WorkerExit};
use runner_model::protocol::{FromWorker, Task, ToWorker};
use runner_model::{Digest, TaskId};
use tokio::sync::mpsc;

use crate::broker::lock;
use crate::channel::ChannelSender;

/// Maximum number of unfinished tasks of a process. A correct coordinator sends a few hundred.
const MAX_TASKS: usize = 8_192;
/// Maximum bytes of the lines and rows of unfinished tasks.
const MAX_TASK_BYTES: usize = 1 << 30;

/// Content that a process has requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Plugin(Digest),
    Blob(Digest),
}

impl Content {
    pub(crate) fn request(self) -> FromWorker {
        match self {
            Self::Plugin(digest) => FromWorker::NeedPlugin(digest),
            Self::Blob(digest) => FromWorker::NeedBlob(digest),
        }
    }

    pub(crate) fn ready(self) -> ToWorker {
        match self {
            Self::Plugin(digest) => ToWorker::PluginReady(digest),
            Self::Blob(digest) => ToWorker::BlobReady(digest),
        }
    }
}

/// An event of the process on this machine.
pub(crate) enum LocalEvent {
    /// The process has started. Holds its compile key.
    Hello(String),
    Needs(Content),
    /// A provider cannot be used here.
    Problem(String),
    Ready,
    /// A stopping process has no task.
    Idle,
    Exited(WorkerExit),
}

/// The tasks of a process.
#[derive(Default)]
pub(crate) struct ProcessTasks {
    /// Whether the process takes no further task and ends after the running ones.
    pub(crate) is_stopping: AtomicBool,
    /// Tasks that have not ended, with the bytes of their lines and rows.
    open: Mutex<HashMap<TaskId, usize>>,
}

impl ProcessTasks {
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.open).is_empty()
    }

    /// Returns `false` if the process would have too many tasks.
    pub(crate) fn add(&self, added: &[Task]) -> bool {
        let mut open = lock(&self.open);
        open.extend(added.iter().map(|task| (task.id, task.body_bytes())));
        open.len() <= MAX_TASKS && open.values().sum::<usize>() <= MAX_TASK_BYTES
    }

    /// Handles a message of the process. Adds its event to `local`, and returns whether the coordinator gets the message.
    fn handle(&self, message: &FromWorker, local: &mut Vec<LocalEvent>) -> bool {
        match message {
            FromWorker::NeedPlugin(digest) => {
                local.push(LocalEvent::Needs(Content::Plugin(*digest)));
            }
            FromWorker::NeedBlob(digest) => local.push(LocalEvent::Needs(Content::Blob(*digest))),
            FromWorker::Hello(hello) => {
                local.push(LocalEvent::Hello(hello.compile_key.clone()));
                return true;
            }
            FromWorker::Ready(ready) => {
                let problem = ready.providers.iter().find_map(|about| about.problem.as_ref());
                local.push(problem.map_or(LocalEvent::Ready, |problem| {
                    LocalEvent::Problem(format!(
                        "on the worker's machine, a plugin {}",
                        problem.message
                    ))
                }));
                return problem.is_none();
            }
            FromWorker::Report { head, .. } => {
                lock(&self.open).remove(&head.task);
                return true;
            }
            FromWorker::Returned(tasks) => {
                lock(&self.open).retain(|task, _| !tasks.contains(task));
                // The coordinator has not requested these, and would send others.
                return !self.is_stopping();
            }
            FromWorker::Bye => return !self.is_stopping(),
            FromWorker::Artifact { .. }
            | FromWorker::Entry { .. }
            | FromWorker::Doing(_)
            | FromWorker::Log(_) => return true,
        }
        false
    }
}

/// Sends the frames of a process to the coordinator, on the thread that reads them.
pub(crate) struct Relay {
    /// Attempts of the session that were reported.
    pub(crate) attempts: Arc<AtomicU64>,
    pub(crate) tasks: Arc<ProcessTasks>,
    pub(crate) sender: ChannelSender,
    pub(crate) local: mpsc::Sender<LocalEvent>,
}

impl Relay {
    pub(crate) fn forward(&self, event: LinkEvent) {
        let (mut frames, mut local) = (Vec::new(), Vec::new());
        match event {
            LinkEvent::Messages(messages) => {
                for message in messages {
                    if self.tasks.handle(&message, &mut local) {
                        message.encode(&mut frames);
                    }
                    let is_report = matches!(message, FromWorker::Report { .. });
                    self.attempts.fetch_add(is_report.into(), Ordering::AcqRel);
                }
            }
            LinkEvent::Exited(exit) => local.push(LocalEvent::Exited(exit)),
        }
        if !frames.is_empty() {
            self.sender.wait_for_room();
            self.sender.send_frames(&frames);
        }
        if self.tasks.is_stopping() && self.tasks.is_empty() {
            local.push(LocalEvent::Idle);
        }
        // After the frames, because a request must not come before `Hello`.
        for event in local {
            // Without a receiver the link has ended.
            let _ = self.local.blocking_send(event);
        }
    }
}

#[cfg(test)]
#[path = "tests/relay.rs"]
mod tests;
