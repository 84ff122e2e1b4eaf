//! [`Reserve`]: how much memory is reserved for an attempt, by what others of its provider have held.

/// Attempts after which it is known what a provider's attempts hold.
const ENOUGH_TO_TELL: u32 = 8;
/// The least that is reserved, in bytes: an attempt costs the host something too.
const LEAST: u64 = 1024 * 1024;

/// What a provider's attempts may hold, and what they have held.
pub(super) struct Reserve {
    limit: u64,
    /// The most that one has held.
    largest: u64,
    measured: u32,
    /// Whether an attempt's memory stays with its instance, so that nothing less than the limit is ever enough.
    is_kept: bool,
}

impl Reserve {
    pub(super) fn new(limit: u64, is_kept: bool) -> Self {
        Self {
            limit,
            largest: 0,
            measured: 0,
            is_kept,
        }
    }

    /// What is reserved for an attempt that is assigned now, in bytes. Nobody is denied what it needs beyond that.
    pub(super) fn each(&self) -> u64 {
        if self.is_kept || self.measured < ENOUGH_TO_TELL {
            return self.limit;
        }
        self.largest.saturating_mul(2).max(LEAST).min(self.limit)
    }

    /// Notes what an attempt has held at most, in bytes.
    pub(super) fn measure(&mut self, peak: u64) {
        self.largest = self.largest.max(peak);
        self.measured = self.measured.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{ENOUGH_TO_TELL, LEAST, Reserve};

    #[test]
    fn twice_of_what_attempts_have_held_is_reserved_once_that_is_known() {
        const LIMIT: u64 = 256 * LEAST;
        let mut reserve = Reserve::new(LIMIT, false);
        for _ in 0..ENOUGH_TO_TELL {
            assert_eq!(reserve.each(), LIMIT);
            reserve.measure(3 * LEAST);
        }
        assert_eq!(reserve.each(), 6 * LEAST);
        reserve.measure(100);
        assert_eq!(reserve.each(), 6 * LEAST);
        reserve.measure(200 * LEAST);
        assert_eq!(reserve.each(), LIMIT);
    }

    #[test]
    fn something_is_reserved_for_attempts_that_hold_nothing_and_all_for_those_that_are_kept() {
        for (limit, is_kept, each) in [
            (256 * LEAST, false, LEAST),
            (100, false, 100),
            (256 * LEAST, true, 256 * LEAST),
        ] {
            let mut reserve = Reserve::new(limit, is_kept);
            (0..ENOUGH_TO_TELL).for_each(|_| reserve.measure(0));
            assert_eq!(reserve.each(), each);
        }
    }
}
