//! Server-sent events: the progress of a run, and the changes of all runs.
//!
//! Nothing is kept for a client. An event's id is a cursor into the files, so a client that reconnects, also to another server,
//! misses nothing. One thread reads a run for all its clients.

mod polled_states;
mod root;
mod rows;
mod run;
mod stream;

pub(crate) use self::polled_states::PolledStates;
pub(crate) use self::root::RootWatch;
pub(crate) use self::run::{RunCursor, RunSnapshot, follow_run};
pub(crate) use self::stream::{permits, start};
