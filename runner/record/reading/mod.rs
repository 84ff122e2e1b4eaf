//! What is on disk, for whoever asks, at any time: nothing here writes.

pub(super) mod cells;
pub(super) mod conclusion;
pub(super) mod death;
pub(super) mod denials;
pub(super) mod fold;
pub(super) mod history;
pub(super) mod judgements;
pub(super) mod lines;
pub(super) mod live_said;
pub(super) mod look;
pub(super) mod named;
pub(super) mod read_line;
pub(super) mod reader;
pub(super) mod rejudged;
pub(super) mod results;
pub(super) mod run_entry;
pub(super) mod run_tests;
pub(super) mod said;
pub(super) mod scenario_text;
pub(super) mod settled;
pub(super) mod sign;
pub(super) mod slot;
pub(super) mod state;
pub(super) mod tail;
pub(super) mod tally;
pub(super) mod written;
