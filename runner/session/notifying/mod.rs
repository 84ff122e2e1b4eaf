//! Telling others of a run's end: by its own process, by whoever asks, and by whoever looks after a results root.
//!
//! What is told never changes what the run came to. It is told once it is on disk, and written into a file of its own.

mod target;
mod tell;

pub(super) use tell::{expect_end, notify_long, tell_of_end};
pub use tell::{notify_due, notify_run};
