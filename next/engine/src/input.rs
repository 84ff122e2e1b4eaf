//! [`Input`]: everything that a session's loop waits for.

use std::thread;

use runner_model::{WorkerId, row::Actor};
use runner_prepare::PrepareError;
use runner_record::{Ack, Owned, RecordError, Request};

use crate::{
    signals::SignalEvent,
    workers::{LinkEvent, Supply},
};

/// What a session's loop waits for.
pub(crate) enum Input {
    /// A message of a worker, or its end.
    Link(WorkerId, LinkEvent),
    /// The result of a compilation or a blob copy.
    Supplied(Supply, Result<(), PrepareError>),
    /// Rows are on disk, or never will be.
    Ack(Ack),
    Signal(SignalEvent),
    /// Another process's request to end the session.
    Request(Box<Request>),
    /// Another process's request to pause, or `None` once it is withdrawn.
    Pause(Option<Box<Actor>>),
    /// The run is on disk, or the thread that creates it panicked.
    Created(Box<thread::Result<Result<Owned, RecordError>>>),
    /// A message for the user.
    Notice(String),
}
