//! [`MOST_TRIALS`]: how large a plan may be.

/// The most trials that a plan may have. Whoever reads or executes a run holds some bytes for each of its trials, before there
/// is a row of them.
pub const MOST_TRIALS: u64 = 10_000_000;
