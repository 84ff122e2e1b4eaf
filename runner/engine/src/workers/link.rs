//! [`WorkerLink`]: the connection between the coordinator and a worker, the worker's events, and the content that it requests.

use runner_model::protocol::{Doing, FromWorker, SlotWord, ToWorker};
use runner_model::{Digest, TaskId};

use crate::schedule::{Blame, Shape};

/// Items of unread events of a worker before its reader blocks, so that a worker cannot fill the coordinator's memory.
pub(super) const MAX_UNREAD: usize = 64;
/// Bytes of unread messages for which an event is one more item.
const BYTES_PER_ITEM: usize = 16 << 10;

/// The connection to a worker. Its messages and its end arrive as [`LinkEvent`]s. [`LinkEvent::Exited`] is the last.
pub trait WorkerLink: Send {
    /// Queues a message. Never blocks, and does nothing once the worker has exited.
    fn send(&self, message: ToWorker);
    /// Ends the worker at once.
    fn kill(&self);
    /// Returns the slots with a running task, as far as they are known.
    fn slots(&self) -> Vec<SlotWord>;
}

/// Receives the events of one worker. Blocks while too many are unread.
pub type EventSink = Box<dyn Fn(LinkEvent) + Send>;

/// An event of one worker.
#[derive(Debug)]
pub enum LinkEvent {
    /// Messages in the order in which the worker sent them.
    Messages(Vec<FromWorker>),
    /// The end of the worker.
    Exited(WorkerExit),
}

impl LinkEvent {
    /// Returns the number of items of a worker's sink for this event.
    pub(super) fn items(&self) -> usize {
        if let Self::Messages(messages) = self { items(messages) } else { 1 }
    }
}

/// Returns the number of items for messages: at least 1, and more for the memory that they take.
pub(super) fn items(messages: &[FromWorker]) -> usize {
    let bytes: usize = messages.iter().map(message_bytes).sum();
    (1 + bytes / BYTES_PER_ITEM).min(MAX_UNREAD)
}

/// Estimates the number of bytes that a message takes in memory.
fn message_bytes(message: &FromWorker) -> usize {
    let content = match message {
        FromWorker::Artifact { bytes, .. } | FromWorker::Entry { bytes, .. } => bytes.capacity(),
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
pub struct WorkerExit {
    /// Slots with a running task.
    pub started: Vec<SlotWord>,
    /// `None` if no task can have caused the end.
    pub blame: Option<Blame>,
    /// Description that completes a sentence starting with the worker.
    pub how: String,
}

/// The fault of a worker, as the rest of a sentence.
pub(super) type Fault = &'static str;

/// The state of a worker's start, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Started,
    /// Has sent its version.
    Known,
    /// Has loaded all plugins.
    Ready,
    /// Can get tasks from the session.
    Working,
}

/// Content that a worker requests: a plugin, or an attachment, schema or large test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestedContent {
    pub(super) digest: Digest,
    pub(super) is_plugin: bool,
    /// Whether the worker is on another machine, where it compiles plugins itself.
    pub(super) is_remote: bool,
}

impl RequestedContent {
    /// Returns the message that announces the content to a worker.
    pub(super) fn ready(self) -> ToWorker {
        if self.is_plugin {
            ToWorker::PluginReady(self.digest)
        } else {
            ToWorker::BlobReady(self.digest)
        }
    }
}

/// Splits `jobs` slots and `memory` bytes among workers, at most one per core. Each gets at least `largest` bytes, the largest
/// limit of a provider.
pub(crate) fn shapes(jobs: u32, cores: u32, memory: u64, largest: u64) -> Vec<Shape> {
    let jobs = jobs.max(1);
    let fitting = memory.checked_div(largest).unwrap_or(u64::MAX);
    let workers = u64::from(cores.min(jobs)).min(fitting).max(1) as u32;
    let shape = |worker| Shape {
        slots: jobs / workers + u32::from(worker < jobs % workers),
        graders: 0,
        // Each attempt must fit, even if the machine has less memory than its limit.
        memory: (memory / u64::from(workers)).max(largest),
    };
    (0..workers).map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::{Shape, shapes};

    #[test]
    fn workers_share_jobs_and_memory() {
        let all = |jobs, memory| -> Vec<_> {
            let shapes = shapes(jobs, 2, memory, 60);
            let numbers = |shape: &Shape| (shape.slots, shape.memory);
            shapes.iter().map(numbers).collect()
        };
        assert_eq!(all(5, 200), [(3, 100), (2, 100)]);
        assert_eq!(all(1, 200), [(1, 200)]);
        // Two attempts with the largest limit do not fit, or not even one does.
        assert_eq!(all(4, 100), [(4, 100)]);
        assert_eq!(all(4, 10), [(4, 60)]);
    }
}
