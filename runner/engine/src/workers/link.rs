//! [`WorkerLink`]: the connection between the coordinator and a worker.

use runner_model::protocol::{SlotWord, ToWorker};

use super::events::LinkEvent;

/// The connection to a worker. Its messages and its end arrive as [`LinkEvent`]s. [`LinkEvent::Exited`] is the last.
pub(crate) trait WorkerLink: Send {
    /// Queues a message. Never blocks, and does nothing once the worker has exited.
    fn send(&self, message: ToWorker);
    fn kill(&self);
    /// Returns the slots with a running task, as far as they are known.
    fn slots(&self) -> Vec<SlotWord>;
}

/// Receives the events of one worker. Blocks while too many are unread.
pub(crate) type EventSink = Box<dyn Fn(LinkEvent) + Send>;
