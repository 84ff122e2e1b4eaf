//! [`Histogram`]: percentiles of durations in constant memory.

use std::time::Duration;

/// How many buckets a doubling is divided into; a percentile is at most 1/16 above the true one.
const STEPS: usize = 16;
const BITS: usize = 64;

/// Durations by their size, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; STEPS * BITS];
        }
        self.buckets[bucket(micros(duration))] += 1;
        self.count += 1;
        // To the microsecond, as rows have it: what is read back is equal.
        self.max = self.max.max(Duration::from_micros(micros(duration)));
    }

    /// The largest duration.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration that a part of all, such as 0.95, does not exceed; `None` without any.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of a count is a count"
    )]
    pub fn percentile(&self, part: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(index)).min(self.max))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Small values have a bucket each; larger ones share one with those that have the same five leading bits.
fn bucket(value: u64) -> usize {
    let value_bits = BITS - value.leading_zeros() as usize;
    let shift = value_bits.saturating_sub(5);
    let lead = usize::try_from(value >> shift).expect("five bits fit");
    shift * STEPS + lead
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let shift = (index / STEPS).saturating_sub(1);
    let lead = (index - shift * STEPS) as u64;
    ((lead + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, bucket, upper_bound};

    #[test]
    fn buckets_are_in_order_and_hold_their_bounds() {
        for value in (0..5000).chain([1 << 20, (1 << 40) + 12345]) {
            let index = bucket(value);
            assert!(upper_bound(index) >= value, "{value}");
            assert!(upper_bound(index) <= value + value / 16, "{value}");
            assert!(index == 0 || upper_bound(index - 1) < value, "{value}");
        }
    }

    #[test]
    fn percentiles_are_close() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        for millis in 1..=1000 {
            histogram.add(Duration::from_millis(millis));
        }
        let p95 = histogram.percentile(0.95).unwrap();
        assert!(
            p95 >= Duration::from_millis(950) && p95 <= Duration::from_millis(1010),
            "{p95:?}"
        );
        assert_eq!(histogram.percentile(1.0), Some(Duration::from_secs(1)));
        assert_eq!(histogram.max(), Duration::from_secs(1));
    }
}
