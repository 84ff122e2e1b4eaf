//! Events of workers, for the pool and for the coordinator.

use runner_model::protocol::{FromWorker, SlotWord, ToWorker};
use runner_model::{Digest, Reason, WorkerId, prepare::Ready};

use super::shape::Shape;
use crate::schedule::Blame;

/// An event of one worker.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Messages(Vec<FromWorker>),
    Exited(WorkerExit),
}

/// The end of a worker.
#[derive(Debug)]
pub(crate) struct WorkerExit {
    /// Slots with a running task.
    pub(crate) started: Vec<SlotWord>,
    /// `None` if no task can have caused the end.
    pub(crate) blame: Option<Blame>,
    /// Description that completes a sentence starting with the worker.
    pub(crate) how: String,
}

/// Content that a worker requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Supply {
    /// A compiled plugin that the cache lacks.
    Plugin(Digest),
    /// An attachment or schema that the session's folder lacks.
    Blob(Digest),
}

impl Supply {
    /// Returns the message that announces the content to a worker.
    pub(super) fn ready(self) -> ToWorker {
        match self {
            Self::Plugin(digest) => ToWorker::PluginReady(digest),
            Self::Blob(digest) => ToWorker::BlobReady(digest),
        }
    }
}

/// Events of workers that the owner of the pool acts on.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    /// A plugin is being compiled. Holds its name in the scenario.
    Compiling(String),
    /// A worker has loaded the plugins, with their descriptions. Some may have problems; see
    /// [`Pool::problems`](super::Pool::problems).
    Described(Ready),
    /// A message about tasks or for the log.
    Message(WorkerId, FromWorker),
    Exited(WorkerId, WorkerExit),
    /// The session cannot continue.
    Failed(Reason, String),
}

/// A worker that can take tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadyWorker {
    pub(crate) worker: WorkerId,
    pub(crate) shape: Shape,
    /// Whether the worker was started for suspects.
    pub(crate) alone: bool,
}
