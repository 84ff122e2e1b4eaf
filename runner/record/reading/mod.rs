//! What is on disk, for whoever asks, at any time: nothing here writes.

pub(super) mod account;
pub(super) mod conclusion;
pub(super) mod denials;
pub(super) mod history;
pub(super) mod look;
pub(super) mod reader;
pub(super) mod run_entry;
pub(super) mod scenario_copy;
pub(super) mod sign;
pub(super) mod state;
pub(super) mod tail;
pub(super) mod tally;
