//! [`Input`]: the events of a session's loop.

use std::thread;

use runner_model::{WorkerId, row::Actor};
use runner_prepare::PrepareError;
use runner_record::{Ack, LabelRequest, Owned, RecordError, Request};

use crate::signals::SignalEvent;
use crate::workers::{LinkEvent, Supply};

/// An event that a session's loop waits for.
pub(crate) enum Input {
    Link(WorkerId, LinkEvent),
    /// The result of a compilation or a blob copy.
    Supplied(Supply, Result<(), PrepareError>),
    Ack(Ack),
    Signal(SignalEvent),
    /// Another process's request to end the session.
    Request(Box<Request>),
    /// Another process's request to pause, or `None` once it is withdrawn.
    Pause(Option<Box<Actor>>),
    /// Another process's request to change labels.
    Labels(Box<LabelRequest>),
    /// Sent once the run is on disk. The outer error is a panic of the thread that creates it.
    Created(Box<thread::Result<Result<Owned, RecordError>>>),
    /// A message for the user.
    Notice(String),
}
