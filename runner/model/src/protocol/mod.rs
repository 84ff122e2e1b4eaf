//! The frames between a supervisor and a worker.
//!
//! A frame has a prefix, a head and a body. The prefix is the length of head and body as u32 (little-endian) and the kind as
//! u8. `Hello`, `Prepare` and `Ready` are JSON. All other heads are
//! [postcard](https://postcard.jamesmunns.com/wire-format), version 1. `Hello` comes first and has the exact version, so both
//! ends always use the same form.
//!
//! Decoding checks kinds and lengths. [`crate::row::check_row`] checks the row of a report.

mod frame;
mod message;
mod post;

pub use self::frame::{
    BadFrame, FrameBuffer, LOG_LINE, MAX_LINE, MAX_PIECE, MAX_TASKS, Message, PREFIX, Sender,
    encode_report, read_prefix,
};
pub use self::message::{
    Doing, FromWorker, Hello, Line, ReportHead, SlotWord, Task, TaskKind, TimeoutRule, ToWorker,
};
pub use self::post::PostRequest;

#[cfg(test)]
#[path = "../tests/protocol.rs"]
mod tests;
