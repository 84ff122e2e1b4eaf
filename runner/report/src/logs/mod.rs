//! Logs and output of guests: of ended attempts, and the last lines of running ones.

mod entries;
mod live_lines;

pub(crate) use entries::{JsonRecord, without_records};
pub use entries::{LogEntry, Reading, Stream};
pub use live_lines::LiveLines;
