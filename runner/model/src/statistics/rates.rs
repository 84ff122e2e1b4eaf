//! Rates of passes: intervals, and the probability that several attempts pass.

/// The 97.5th percentile of the standard normal distribution, for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Returns Wilson's interval of 95 % for the rate of which `hits` of `total` are a sample, between 0 and 1. With a total of 0 it
/// is the whole range. Unlike the normal approximation it has a width if all or no trials are hits.
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

/// Returns pass@k, the probability that at least one of `k` attempts passes, if `passed` of `total` did: the unbiased estimator
/// 1 − C(total − passed, k) / C(total, k) of <https://arxiv.org/abs/2107.03374>. `None` unless `k` is from 1 to `total`.
pub fn pass_at_k(k: u64, passed: u64, total: u64) -> Option<f64> {
    Some(1.0 - pass_hat_k(k, total.checked_sub(passed)?, total)?)
}

/// Returns pass^k, the probability that all of `k` attempts pass, if `passed` of `total` did: the unbiased estimator
/// C(passed, k) / C(total, k) of <https://arxiv.org/abs/2406.12045>. `None` unless `k` is from 1 to `total`.
pub fn pass_hat_k(k: u64, passed: u64, total: u64) -> Option<f64> {
    if k == 0 || k > total || passed > total {
        return None;
    }
    if k > passed {
        return Some(0.0);
    }
    // Binomial coefficients of some hundred attempts exceed an `f64`. Their ratio is a product of `k` factors up to 1.
    Some((0..k).map(|drawn| (passed - drawn) as f64 / (total - drawn) as f64).product())
}
