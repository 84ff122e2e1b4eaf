//! Events of workers, for the pool and for the coordinator.

use runner_model::protocol::{Doing, FromWorker, SlotWord, ToWorker};
use runner_model::{Digest, Reason, TaskId, WorkerId, prepare::Ready};
use runner_prepare::PrepareError;

use super::shape::Shape;
use crate::schedule::Blame;

/// Items of unread events of a worker before its reader blocks, so that a worker cannot fill the coordinator's memory.
pub(super) const MAX_UNREAD: usize = 64;
/// Bytes of unread messages for which an event is one more item.
const BYTES_PER_ITEM: usize = 16 << 10;

/// An event of one worker.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Messages(Vec<FromWorker>),
    Exited(WorkerExit),
}

impl LinkEvent {
    /// Returns the number of [`event_sink`](super::prestart::event_sink)'s items for this event: at least 1, and more for the
    /// memory that it takes.
    pub(super) fn items(&self) -> usize {
        let Self::Messages(messages) = self else { return 1 };
        let bytes: usize = messages.iter().map(message_bytes).sum();
        (1 + bytes / BYTES_PER_ITEM).min(MAX_UNREAD)
    }
}

/// Returns about the bytes that a message takes in memory.
fn message_bytes(message: &FromWorker) -> usize {
    let content = match message {
        FromWorker::Artifact { bytes, .. } => bytes.capacity(),
        FromWorker::Report { body, .. } => body.capacity(),
        FromWorker::Log(line) => line.capacity(),
        FromWorker::Returned(tasks) => tasks.capacity() * size_of::<TaskId>(),
        FromWorker::Doing(doing) => {
            let output =
                |doing: &Doing| doing.output.as_ref().map_or(0, |output| output.text.len());
            doing.iter().map(|doing| size_of::<Doing>() + doing.word.len() + output(doing)).sum()
        }
        _ => 0,
    };
    size_of::<FromWorker>() + content
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

/// Makes content.
type Make = Box<dyn FnOnce() -> Result<(), PrepareError> + Send>;

/// A compilation or a copy that has not started.
pub(super) struct SupplyJob {
    pub(super) supply: Supply,
    /// Sent when it starts.
    pub(super) event: Option<PoolEvent>,
    pub(super) make: Make,
}

/// Events of workers that the owner of the pool acts on.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    /// A plugin is being compiled. Holds its name in the scenario.
    Compiling(String),
    /// The compilation of a plugin has ended. Holds its name in the scenario.
    Compiled(String),
    /// A worker has loaded the plugins, with their descriptions, or a plugin cannot be compiled. Problems are in
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
