//! Statistics of results: intervals of rates, tests of differences between two runs, and percentiles.

/// The 97.5th percentile of the standard normal distribution, for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of up to [`MAX_DRAWS`] / 10,000 differences.
const RESAMPLES: usize = 10_000;
/// Values to draw in all, which bounds the time. The mean of more values needs fewer resamples.
const MAX_DRAWS: usize = 100_000_000;
/// Values to draw from. They are in a core's own cache; a million draws of a million values take eight times as long.
const MAX_VALUES: usize = 100_000;
/// Share of the resamples outside of an interval of 95 %, on each side.
const TAIL: f64 = 0.025;

/// Returns Wilson's interval of 95 % for a rate, from a sample with `hits` of `total`. Its bounds are between 0 and 1, and with a
/// total of 0 they are 0 and 1. Unlike the normal approximation, it has a width if all or no trials are hits.
pub fn wilson(hits: u64, total: u64) -> (f64, f64) {
    if total == 0 {
        return (0.0, 1.0);
    }
    wilson_of_rate(hits as f64 / total as f64, total as f64)
}

/// Returns Wilson's interval of 95 % for a rate in a sample of `n`, which is positive and may be the effective size of a weighted
/// sample.
pub fn wilson_of_rate(rate: f64, n: f64) -> (f64, f64) {
    let square = Z * Z / n;
    let center = rate + square / 2.0;
    let half = Z * (rate * (1.0 - rate) / n + square / (4.0 * n)).sqrt();
    let bound = |value: f64| (value / (1.0 + square)).clamp(0.0, 1.0);
    (bound(center - half), bound(center + half))
}

/// Returns the value at `share`, from 0 to 1, of ascending values, interpolated between its two neighbours. `None` without
/// values.
pub fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let low = ascending[place as usize];
    let high = ascending[(place as usize + 1).min(last)];
    Some(low + (high - low) * place.fract())
}

/// Returns the two-sided p-value of the exact sign test: the probability that `falls` and `rises` differ as much as they do, or
/// more, if a change in either direction is equally likely. Pairs without a change do not count.
///
/// For pairs of trials that passed or not, this is McNemar's exact test.
pub fn sign_test(falls: u64, rises: u64) -> f64 {
    if falls == rises {
        return 1.0;
    }
    let total = falls + rises;
    let fewer = falls.min(rises);
    // C(total, fewer) / 2^total, by its logarithm because the coefficient can exceed an `f64`.
    let factor = |chosen: u64| ((total - chosen) as f64).ln() - ((chosen + 1) as f64).ln();
    let logarithm: f64 = (0..fewer).map(factor).sum();
    let largest = (logarithm - total as f64 * std::f64::consts::LN_2).exp();
    let mut term = 1.0;
    let mut sum = 1.0;
    for chosen in (1..=fewer).rev() {
        term *= chosen as f64 / (total - chosen + 1) as f64;
        sum += term;
    }
    (2.0 * largest * sum).min(1.0)
}

/// Corrects the p-values of several tests by Holm's method: the probability of any false alarm is at most that of one test.
/// Returns them in the same order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut places: Vec<_> = (0..p_values.len()).collect();
    places.sort_by(|left, right| p_values[*left].total_cmp(&p_values[*right]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, place) in places.into_iter().enumerate() {
        least = least.max(p_values[place] * (p_values.len() - rank) as f64);
        corrected[place] = least.min(1.0);
    }
    corrected
}

/// The result of [`paired_bootstrap`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// The interval of 95 % for the mean, by percentiles.
    pub interval: (f64, f64),
    /// The two-sided p-value for a mean of 0.
    pub p: f64,
}

/// Resamples the differences of pairs, whose order must not depend on their values. The same seed gives the same result. `None`
/// for fewer than two differences.
///
/// There are 10,000 resamples of up to 10,000 differences, and fewer of more, but at least 1,000. Of over 100,000 differences, sums
/// of consecutive ones are resampled. Their variance is that of as many independent differences, and each outlier has its own
/// sum. The p-value is never below that of the sign test: resamples of a few differences of one sign have no other sign either.
pub fn paired_bootstrap(differences: &[f64], seed: u64) -> Option<Bootstrap> {
    let count = differences.len();
    if count < 2 {
        return None;
    }
    let sums = differences.chunks(count.div_ceil(MAX_VALUES));
    let sums: Vec<f64> = sums.map(|values| values.iter().sum()).collect();
    let length = sums.len() as u32;
    let resamples = (MAX_DRAWS / sums.len()).min(RESAMPLES);
    let mut random = SplitMix(seed);
    let mean = |_| random.sum(&sums, length) / count as f64;
    let mut means: Vec<_> = (0..resamples).map(mean).collect();
    means.sort_by(f64::total_cmp);
    let below = means.partition_point(|mean| *mean < 0.0);
    let not_above = means.partition_point(|mean| *mean <= 0.0);
    let fewer = not_above.min(resamples - below);
    let share = (2 * fewer + 1) as f64 / (resamples + 1) as f64;
    let changes = differences.iter().filter(|difference| **difference != 0.0).count();
    let least = 0.5_f64.powi(i32::try_from(changes).unwrap_or(i32::MAX) - 1);
    Some(Bootstrap {
        interval: (percentile(&means, TAIL)?, percentile(&means, 1.0 - TAIL)?),
        p: share.max(least).min(1.0),
    })
}

/// The random numbers of SplitMix64, <https://doi.org/10.1145/2714064.2660195>: fast, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns the sum of `length` values, each drawn from all `length` values.
    fn sum(&mut self, values: &[f64], length: u32) -> f64 {
        let draw = |word: u64| values[(((word & 0xffff_ffff) * u64::from(length)) >> 32) as usize];
        // With two sums, an addition need not wait for the previous one.
        let mut even = 0.0;
        let mut odd = 0.0;
        for _ in 0..length / 2 {
            let word = self.next();
            even += draw(word);
            odd += draw(word >> 32);
        }
        if length % 2 == 1 {
            even += draw(self.next());
        }
        even + odd
    }
}

#[cfg(test)]
#[path = "tests/statistics.rs"]
mod tests;
