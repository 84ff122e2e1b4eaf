//! How large a plan may be, and what is told of one.

/// The most trials that a plan may have. Whoever reads or executes a run holds two bytes for each of its trials, once there is
/// a row of it or of one near it.
pub const MOST_TRIALS: u64 = 100_000_000;

/// The most trials of a run of which something is held each that is more than that: what reports and comparisons tell of it, and
/// where its row is.
pub const MOST_TOLD_TRIALS: u64 = 10_000_000;
