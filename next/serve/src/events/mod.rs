//! Server-sent events: the progress of a run, and the changes of all runs.
//!
//! Nothing is kept for a client. An event's id is a cursor into the files, so a client that comes back, also to another server,
//! misses nothing. However many clients follow a run, one thread reads it.

mod followed;
mod root;
mod rows;
mod run;
mod stream;

pub(crate) use self::followed::Followed;
pub(crate) use self::root::RootWatch;
pub(crate) use self::run::{RunCursor, RunSnapshot, follow_run};
pub(crate) use self::stream::{permits, start};
