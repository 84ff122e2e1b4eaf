//! [`Reserve`]: how much memory is reserved for an attempt, by what others of its provider have held.

/// Attempts after which it is known what a provider's attempts hold.
const ENOUGH: u32 = 8;
/// The least that is reserved, in bytes: an attempt costs the host something too.
const LEAST: u64 = 1 << 20;

/// What a provider's attempts may hold, and what they have held.
#[derive(Debug)]
pub(super) struct Reserve {
    /// Bytes that one attempt may hold.
    pub(super) limit: u64,
    /// The most that one has held.
    largest: u64,
    measured: u32,
}

impl Reserve {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, largest: 0, measured: 0 }
    }

    /// Bytes that are reserved for an attempt which is sent now.
    pub(super) fn each(&self) -> u64 {
        if self.measured < ENOUGH {
            return self.limit;
        }
        self.largest.saturating_mul(2).clamp(LEAST.min(self.limit), self.limit)
    }

    /// Notes what an attempt has held at most, in bytes.
    pub(super) fn measure(&mut self, peak: u64) {
        self.largest = self.largest.max(peak);
        self.measured = self.measured.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{ENOUGH, LEAST, Reserve};

    #[test]
    fn twice_of_what_attempts_have_held_is_reserved_once_that_is_known() {
        let limit = 256 * LEAST;
        let mut reserve = Reserve::new(limit);
        for _ in 0..ENOUGH {
            assert_eq!(reserve.each(), limit);
            reserve.measure(3 * LEAST);
        }
        assert_eq!(reserve.each(), 6 * LEAST);
        reserve.measure(100);
        assert_eq!(reserve.each(), 6 * LEAST);
        reserve.measure(200 * LEAST);
        assert_eq!(reserve.each(), limit);
        for (limit, each) in [(256 * LEAST, LEAST), (100, 100)] {
            let mut reserve = Reserve::new(limit);
            (0..ENOUGH).for_each(|_| reserve.measure(0));
            assert_eq!(reserve.each(), each);
        }
    }
}
