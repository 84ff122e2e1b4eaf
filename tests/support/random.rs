//! Numbers that look random, from a seed that is printed so that a failure can be had again.

#![expect(clippy::print_stderr, reason = "the seed is worth knowing")]

use std::time::Duration;

/// Numbers that look random and are the same for the same seed: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap();
        Duration::from_nanos(self.below(nanos + 1))
    }

    /// One of these; there must be one.
    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap();
        &choices[index]
    }
}

/// Where the numbers begin: `RUNNER_TEST_SEED`, or else another one each time.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("RUNNER_TEST_SEED").map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().unwrap(),
    );
    eprintln!("RUNNER_TEST_SEED={seed}");
    seed
}
