//! What workers report, and what the pool makes of it.

use runner_model::{
    Digest, Reason, WorkerId,
    prepare::Ready,
    protocol::{FromWorker, SlotWord, ToWorker},
};

use super::shape::Shape;
use crate::schedule::Blame;

/// What is heard of a worker.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It said this.
    Messages(Vec<FromWorker>),
    /// It is gone.
    Exited(WorkerExit),
}

/// The end of a worker.
#[derive(Debug)]
pub(crate) struct WorkerExit {
    /// What its slots had begun and not ended.
    pub(crate) started: Vec<SlotWord>,
    /// Whose fault it is; none: nobody's.
    pub(crate) blame: Option<Blame>,
    /// How it ended, as the rest of a sentence.
    pub(crate) how: String,
}

/// What a worker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Supply {
    /// A plugin that the cache does not have.
    Plugin(Digest),
    /// An attachment or schema that the session's folder does not have.
    Blob(Digest),
}

impl Supply {
    /// Says that it is there.
    pub(super) fn ready(self) -> ToWorker {
        match self {
            Self::Plugin(digest) => ToWorker::PluginReady(digest),
            Self::Blob(digest) => ToWorker::BlobReady(digest),
        }
    }
}

/// What a session must know of its workers.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    /// A plugin is being compiled; its name in the scenario.
    Compiling(String),
    /// All plugins were loaded and asked to describe themselves. Some may not be usable; see [`Pool::problems`].
    Described(Ready),
    /// A worker said this, which is about its tasks.
    Message(WorkerId, FromWorker),
    /// A worker is gone.
    Exited(WorkerId, WorkerExit),
    /// The session cannot go on.
    Failed(Reason, String),
}

/// A worker that can take tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadyWorker {
    pub(crate) worker: WorkerId,
    pub(crate) shape: Shape,
    /// Whether it was started for one attempt alone.
    pub(crate) alone: bool,
}
