//! What counts say about the rates behind them.

/// The 97.5th percentile of the standard normal distribution: of an interval of 95 %, one side.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval of 95 % for the rate behind `hits` of `of`; from 0 to 1 where there are none.
///
/// Other than the usual interval it stays between 0 and 1, and says something where all or none are hits.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let n = of as f64;
    let rate = hits as f64 / n;
    let square = Z * Z / n;
    let middle = rate + square / 2.0;
    let half = Z * (rate * (1.0 - rate) / n + square / (4.0 * n)).sqrt();
    let bound = |value: f64| (value / (1.0 + square)).clamp(0.0, 1.0);
    (bound(middle - half), bound(middle + half))
}

/// The chance that at least one of `k` attempts passes, where `passed` of `of` have: pass@k, by the estimator without bias,
/// 1 − C(of − passed, k) / C(of, k). `None` unless `k` is from 1 to `of`.
pub fn any_of(k: u64, passed: u64, of: u64) -> Option<f64> {
    Some(1.0 - all_of(k, of.checked_sub(passed)?, of)?)
}

/// The chance that all of `k` attempts pass, where `passed` of `of` have: pass^k, by the estimator without bias,
/// C(passed, k) / C(of, k). `None` unless `k` is from 1 to `of`.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn all_of(k: u64, passed: u64, of: u64) -> Option<f64> {
    if k == 0 || k > of || passed > of {
        return None;
    }
    if k > passed {
        return Some(0.0);
    }
    let factor = |drawn: u64| (passed - drawn) as f64 / (of - drawn) as f64;
    Some((0..k).map(factor).product())
}

#[cfg(test)]
mod tests {
    use super::{all_of, any_of, wilson};

    /// R 4: `prop.test(x, n, correct = FALSE)$conf.int`, which is Wilson's interval.
    const REFERENCE: [(u64, u64, f64, f64); 5] = [
        (8, 10, 0.490_162_5, 0.943_317_8),
        (0, 10, 0.0, 0.277_532_8),
        (10, 10, 0.722_467_2, 1.0),
        (50, 100, 0.403_831_5, 0.596_168_5),
        (1, 1000, 0.000_176_6, 0.005_642_6),
    ];

    #[test]
    fn intervals_are_those_of_a_reference() {
        for (hits, of, low, high) in REFERENCE {
            let (least, most) = wilson(hits, of);
            assert!((least - low).abs() < 1e-6, "{hits} of {of}: {least}");
            assert!((most - high).abs() < 1e-6, "{hits} of {of}: {most}");
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    /// `python3 -c "from math import comb; n, c, k = 10, 3, 5; print(1 - comb(n - c, k) / comb(n, k), comb(c, k) / comb(n, k))"`
    /// with these numbers: of, passed, k, pass@k, pass^k.
    const PASS_AT: [(u64, u64, u64, f64, f64); 6] = [
        (10, 3, 1, 0.3, 0.3),
        (10, 3, 5, 0.916_666_666_666_666_6, 0.0),
        (10, 7, 2, 0.933_333_333_333_333_3, 0.466_666_666_666_666_7),
        (5, 0, 3, 0.0, 0.0),
        (5, 5, 3, 1.0, 1.0),
        (200, 17, 100, 0.999_996_367_690_84, 0.0),
    ];

    #[test]
    fn chances_of_several_attempts_are_those_of_a_reference() {
        for (of, passed, k, any, all) in PASS_AT {
            let is_near = |value: Option<f64>, expected: f64| {
                value.is_some_and(|value| (value - expected).abs() < 1e-12)
            };
            assert!(is_near(any_of(k, passed, of), any), "{of} {passed} {k}");
            assert!(is_near(all_of(k, passed, of), all), "{of} {passed} {k}");
        }
        for (k, passed, of) in [(0, 1, 2), (3, 1, 2), (1, 3, 2)] {
            assert_eq!((any_of(k, passed, of), all_of(k, passed, of)), (None, None));
        }
    }
}
