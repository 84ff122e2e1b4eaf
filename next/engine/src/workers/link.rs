//! [`WorkerLink`]: the seam between the coordinator and a worker, wherever that runs.

use runner_model::protocol::{SlotWord, ToWorker};

use super::events::LinkEvent;

/// A worker, wherever it is. What it says and its end come as [`LinkEvent`]s; nothing comes after [`LinkEvent::Exited`].
pub(crate) trait WorkerLink: Send {
    /// Sends a message. Never waits; on a link that is down it does nothing, because its end is told by an event.
    fn send(&self, message: ToWorker);
    /// Ends the worker at once.
    fn kill(&self);
    /// What its slots are doing, as far as it is known.
    fn slots(&self) -> Vec<SlotWord>;
}

/// Takes what is heard of one worker.
pub(crate) type EventSink = Box<dyn Fn(LinkEvent) + Send>;
