//! [`Reserve`]: memory to reserve for an attempt, by the peaks of earlier attempts of its provider.

/// Measured attempts before less than the limit is reserved.
const MIN_SAMPLES: u32 = 8;
/// Bytes that are always reserved: an attempt also uses memory of the host.
const MIN_RESERVE: u64 = 1 << 20;

/// The memory limit and the measured peak of a provider's attempts.
#[derive(Debug)]
pub(super) struct Reserve {
    /// Limit of one attempt, in bytes.
    pub(super) limit: u64,
    /// The part of `limit` that is always reserved, in bytes.
    unmeasured: u64,
    /// Largest peak, in bytes.
    largest: u64,
    measured: u32,
}

impl Reserve {
    pub(super) fn new(limit: u64, unmeasured: u64) -> Self {
        Self { limit, unmeasured, largest: 0, measured: 0 }
    }

    /// Returns the bytes to reserve for an attempt.
    pub(super) fn bytes(&self) -> u64 {
        if self.measured < MIN_SAMPLES {
            return self.limit;
        }
        let likely = self.largest.saturating_mul(2).saturating_add(self.unmeasured);
        likely.clamp(MIN_RESERVE.min(self.limit), self.limit)
    }

    /// Adds the peak of an attempt, in bytes.
    pub(super) fn measure(&mut self, peak: u64) {
        self.largest = self.largest.max(peak);
        self.measured = self.measured.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{MIN_RESERVE, MIN_SAMPLES, Reserve};

    #[test]
    fn twice_the_largest_peak_is_reserved() {
        let limit = 256 * MIN_RESERVE;
        let mut reserve = Reserve::new(limit, 0);
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
            let mut reserve = Reserve::new(limit, 0);
            (0..MIN_SAMPLES).for_each(|_| reserve.measure(0));
            assert_eq!(reserve.bytes(), each);
        }
        let stack = 16 * MIN_RESERVE;
        let mut reserve = Reserve::new(limit + stack, stack);
        assert_eq!(reserve.bytes(), limit + stack);
        (0..MIN_SAMPLES).for_each(|_| reserve.measure(MIN_RESERVE));
        assert_eq!(reserve.bytes(), 2 * MIN_RESERVE + stack);
    }
}
