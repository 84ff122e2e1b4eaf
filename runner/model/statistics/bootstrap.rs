//! [`resampled`]: what a mean of differences could as well have been.

/// How often the differences are drawn anew.
const RESAMPLES: usize = 10_000;
/// How often at the least, however many differences there are.
const MIN_RESAMPLES: usize = 1_000;
/// How many differences are drawn in all before it is done less often: the mean of many is known well after few resamples.
const MAX_DRAWS: usize = 100_000_000;
/// What of the resamples lies outside of an interval of 95 %, on each side.
const TAIL: f64 = 0.025;

/// What a mean of differences could as well have been, by bootstrap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampled {
    /// The interval of 95 %, by percentiles.
    pub interval: (f64, f64),
    /// The two-sided p-value of the mean being 0.
    pub p: f64,
    /// How many resamples that is by.
    pub resamples: usize,
}

/// Resamples differences that are independent of each other; the same seed gives the same. `None` for fewer than two, of
/// which nothing follows.
///
/// It is done 10,000 times for up to 10,000 differences, and less often for more, but at least 1,000 times. Few differences
/// that all point one way would seem more certain than they are: no p-value is below that of the signs alone.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn resampled(differences: &[f64], seed: u64) -> Option<Resampled> {
    let count = differences.len();
    let length = u32::try_from(count).ok().filter(|length| *length > 1)?;
    let resamples = (MAX_DRAWS / count).clamp(MIN_RESAMPLES, RESAMPLES);
    let mut random = Random(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| random.sum(differences, length) / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let below = means.partition_point(|mean| *mean < 0.0);
    let above = resamples - means.partition_point(|mean| *mean <= 0.0);
    let at = resamples - below - above;
    let fewer = below.min(above) + at;
    let share = (2 * fewer + 1) as f64 / (resamples + 1) as f64;
    let nonzero = differences.iter().filter(|value| **value != 0.0).count();
    let least = 0.5_f64.powi(i32::try_from(nonzero).unwrap_or(i32::MAX) - 1);
    Some(Resampled {
        interval: (percentile(&means, TAIL), percentile(&means, 1.0 - TAIL)),
        p: share.max(least).min(1.0),
        resamples,
    })
}

/// The value that a part of sorted ones does not exceed, between two of them by how near it is to each.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a count is a count"
)]
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let before = sorted[place as usize];
    let after = sorted[(place as usize + 1).min(sorted.len() - 1)];
    before + (after - before) * place.fract()
}

/// SplitMix64 of Steele, Lea and Flood: short, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The sum of as many values as there are, each drawn from all of them.
    fn sum(&mut self, values: &[f64], length: u32) -> f64 {
        let place = |word: u64| ((word & 0xffff_ffff) * u64::from(length)) >> 32;
        let value = |word: u64| values[usize::try_from(place(word)).expect("a place in memory")];
        // Two sums, so that no addition waits for the one before.
        let (mut one, mut other) = (0.0, 0.0);
        for _ in 0..length / 2 {
            let word = self.next();
            one += value(word);
            other += value(word >> 32);
        }
        if length % 2 == 1 {
            one += value(self.next());
        }
        one + other
    }
}

#[cfg(test)]
mod tests {
    use super::resampled;

    /// All resamples that there are, by `python3`:
    ///
    /// ```python
    /// from itertools import product
    /// import numpy
    /// d = [0.5, -0.2, 1.5, 0.9, 0.1, 0.4]
    /// m = [sum(s) / 6 for s in product(d, repeat=6)]
    /// print(numpy.percentile(m, [2.5, 97.5]), 2 * sum(x <= 0 for x in m) / len(m))
    /// ```
    #[test]
    fn it_is_near_to_all_resamples_that_there_are() {
        let differences = [0.5, -0.2, 1.5, 0.9, 0.1, 0.4];
        let resampled = resampled(&differences, 7).unwrap();
        let (low, high) = resampled.interval;
        assert!((low - LOW).abs() < 0.02, "{low}");
        assert!((high - HIGH).abs() < 0.02, "{high}");
        assert_eq!(resampled.resamples, 10_000);
        // By the bootstrap alone it is 0.0083, which six signs cannot say.
        assert_eq!(resampled.p, 0.03125);
    }

    const LOW: f64 = 0.116_666_666_666_666_67;
    const HIGH: f64 = 0.983_333_333_333_333_3;

    #[test]
    fn the_same_seed_gives_the_same_and_another_nearly_so() {
        let differences: Vec<f64> = (0..500).map(|place| f64::from(place % 7) - 2.9).collect();
        let first = resampled(&differences, 1).unwrap();
        assert_eq!(resampled(&differences, 1), Some(first));
        let second = resampled(&differences, 2).unwrap();
        assert_ne!(first, second);
        assert!((first.interval.0 - second.interval.0).abs() < 0.02);
        // The usual interval: the mean is 0.09, its standard error 2 / √500.
        assert!(
            (first.interval.0 - (0.09 - 0.175)).abs() < 0.03,
            "{first:?}"
        );
        assert!(
            (first.interval.1 - (0.09 + 0.175)).abs() < 0.03,
            "{first:?}"
        );
        assert!((0.2..0.45).contains(&first.p), "{first:?}");
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(resampled(&[], 1), None);
        assert_eq!(resampled(&[1.0], 1), None);
        assert_eq!(resampled(&[0.0; 9], 1).unwrap().p, 1.0);
        assert_eq!(resampled(&[2.0; 5], 1).unwrap().p, 0.0625);
        let many = vec![1.0; 200_000];
        assert_eq!(resampled(&many, 1).unwrap().resamples, 1_000);
    }
}
