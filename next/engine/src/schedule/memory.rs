//! [`Reserve`]: how much memory is reserved for an attempt, by what others of its provider have held.

/// Attempts after which it is known what a provider's attempts hold.
const MIN_SAMPLES: u32 = 8;
/// The least that is reserved, in bytes: an attempt costs the host something too.
const MIN_RESERVE: u64 = 1 << 20;

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
    pub(super) fn bytes(&self) -> u64 {
        if self.measured < MIN_SAMPLES {
            return self.limit;
        }
        self.largest.saturating_mul(2).clamp(MIN_RESERVE.min(self.limit), self.limit)
    }

    /// Notes what an attempt has held at most, in bytes.
    pub(super) fn measure(&mut self, peak: u64) {
        self.largest = self.largest.max(peak);
        self.measured = self.measured.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{MIN_RESERVE, MIN_SAMPLES, Reserve};

    #[test]
    fn twice_of_what_attempts_have_held_is_reserved_once_that_is_known() {
        let limit = 256 * MIN_RESERVE;
        let mut reserve = Reserve::new(limit);
        for _ in 0..MIN_SAMPLES {
            assert_eq!(reserve.bytes(), limit);
            reserve.measure(3 * MIN_RESERVE);
        }
        assert_eq!(reserve.bytes(), 6 * MIN_RESERVE);
        reserve.measure(100);
        assert_eq!(reserve.bytes(), 6 * MIN_RESERVE);
        reserve.measure(200 * MIN_RESERVE);
        assert_eq!(reserve.bytes(), limit);
        for (limit, each) in [(256 * MIN_RESERVE, MIN_RESERVE), (100, 100)] {
            let mut reserve = Reserve::new(limit);
            (0..MIN_SAMPLES).for_each(|_| reserve.measure(0));
            assert_eq!(reserve.bytes(), each);
        }
    }
}
