//! Random numbers from a printed seed, so that a failure can be repeated.

#![expect(clippy::print_stderr, reason = "whoever repeats a failure needs the seed")]

use std::{env, process, time::Duration};

/// SplitMix64: the same seed gives the same numbers.
pub(crate) struct Random(u64);

impl Random {
    /// Starts at `RUNNER_TEST_SEED`, or at the pid.
    pub(crate) fn new() -> Self {
        let seed = env::var("RUNNER_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| u64::from(process::id()));
        eprintln!("RUNNER_TEST_SEED={seed}");
        Self(seed)
    }

    /// Returns another sequence, for another thread.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// Returns a time up to `most`, uniformly distributed.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.next() as f64 / u64::MAX as f64)
    }
}

/// Returns whether tests run at full length, by `RUNNER_TESTS=full`.
pub(crate) fn is_full() -> bool {
    env::var("RUNNER_TESTS").is_ok_and(|value| value == "full")
}

/// Returns the number of rounds of a random test: `few` by default, `many` in full tests.
pub(crate) fn times(few: usize, many: usize) -> usize {
    if is_full() { many } else { few }
}
