//! Statistics, compared with values of other programs.

use super::{SplitMix, holm, paired_bootstrap, percentile, sign_test, wilson};

fn is_near(value: f64, expected: f64, by: f64) -> bool {
    (value - expected).abs() < by
}

#[test]
fn wilson_intervals_are_those_of_r() {
    // R 4: `prop.test(8, 10, correct = FALSE)$conf.int` and so on.
    for (hits, total, low, high) in [
        (8, 10, 0.490_162_5, 0.943_317_8),
        (0, 10, 0.0, 0.277_532_8),
        (10, 10, 0.722_467_2, 1.0),
        (50, 100, 0.403_831_5, 0.596_168_5),
        (1, 1000, 0.000_176_6, 0.005_642_6),
    ] {
        let found = wilson(hits, total);
        assert!(is_near(found.0, low, 1e-6), "{hits} of {total}: {found:?}");
        assert!(is_near(found.1, high, 1e-6), "{hits} of {total}: {found:?}");
    }
    assert_eq!(wilson(0, 0), (0.0, 1.0));
}

#[test]
fn sign_tests_are_those_of_scipy() {
    // `python3 -c "from scipy.stats import binomtest; print(binomtest(3, 15, 0.5).pvalue)"` and so on.
    for (falls, rises, expected) in [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (3, 12, 0.035_156_25),
        (12, 3, 0.035_156_25),
        (10, 25, 0.016_673_847_800_120_715),
        (50, 51, 1.0),
        (480, 520, 0.217_448_293_204_141_5),
        (50_000, 50_400, 0.207_946_024),
    ] {
        let found = sign_test(falls, rises);
        assert!(is_near(found, expected, 1e-7), "{falls} {rises}: {found}");
    }
    // Below the smallest `f64`.
    assert_eq!(sign_test(0, 100_000), 0.0);
}

#[test]
fn corrected_p_values_are_those_of_r() {
    // R 4: `p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm")`.
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005, 0.9]);
    for (found, expected) in corrected.iter().zip([0.04, 0.09, 0.09, 0.025, 0.9]) {
        assert!(is_near(*found, expected, 1e-12), "{corrected:?}");
    }
    assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}

#[test]
fn bootstrap_is_near_all_possible_resamples() {
    // All 6^6 resamples, by Python with NumPy:
    //     from itertools import product
    //     d = [0.5, -0.2, 1.5, 0.9, 0.1, 0.4]
    //     m = [sum(s) / 6 for s in product(d, repeat=6)]
    //     print(numpy.percentile(m, [2.5, 97.5]), 2 * sum(x <= 0 for x in m) / len(m))
    let found = paired_bootstrap(&[0.5, -0.2, 1.5, 0.9, 0.1, 0.4], 7).unwrap();
    assert!(is_near(found.interval.0, 0.116_666_666_666_666_67, 0.02), "{found:?}");
    assert!(is_near(found.interval.1, 0.983_333_333_333_333_3, 0.02), "{found:?}");
    // By the resamples alone it is 0.0083, which six signs cannot show.
    assert_eq!(found.p, 0.03125);
}

/// The mean of many differences has a normal distribution.
#[test]
fn bootstrap_of_many_differences_is_near_the_normal_one() {
    let count = 250_001_u64;
    let mut random = SplitMix(9);
    let values: Vec<_> = (0..count).map(|_| (random.next() >> 40) as f64 / 1e6 - 8.3).collect();
    let mean = values.iter().sum::<f64>() / count as f64;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let half = 1.959_964 * square.sqrt() / count as f64;
    let (low, high) = paired_bootstrap(&values, 3).unwrap().interval;
    assert!(is_near(low, mean - half, 0.15 * half), "{low} {}", mean - half);
    assert!(is_near(high, mean + half, 0.15 * half), "{high} {}", mean + half);
}

#[test]
fn same_seed_gives_the_same_bootstrap() {
    let differences: Vec<f64> = (0..500).map(|place| f64::from(place % 7) - 2.9).collect();
    let first = paired_bootstrap(&differences, 1).unwrap();
    assert_eq!(paired_bootstrap(&differences, 1), Some(first));
    let second = paired_bootstrap(&differences, 2).unwrap();
    assert_ne!(first, second);
    assert!(is_near(first.interval.0, second.interval.0, 0.02), "{second:?}");
    // The normal interval: the mean is 0.09, and its standard error 2 / √500.
    assert!(is_near(first.interval.0, 0.09 - 0.175, 0.03), "{first:?}");
    assert!(is_near(first.interval.1, 0.09 + 0.175, 0.03), "{first:?}");
    assert!((0.2..0.45).contains(&first.p), "{first:?}");
}

#[test]
fn few_differences_are_never_significant() {
    assert_eq!(paired_bootstrap(&[], 1), None);
    assert_eq!(paired_bootstrap(&[1.0], 1), None);
    assert_eq!(paired_bootstrap(&[0.0; 9], 1).unwrap().p, 1.0);
    assert_eq!(paired_bootstrap(&[2.0; 5], 1).unwrap().p, 0.0625);
}

#[test]
fn percentiles_are_those_of_python() {
    // `python3 -c "import statistics; print(statistics.quantiles([1, 2, 4, 7, 11, 30], n=20, method='inclusive'))"`.
    let values = [1.0, 2.0, 4.0, 7.0, 11.0, 30.0];
    for (share, expected) in [(0.05, 1.25), (0.5, 5.5), (0.75, 10.0), (0.95, 25.25)] {
        let found = percentile(&values, share).unwrap();
        assert!(is_near(found, expected, 1e-9), "{share}: {found}");
    }
    assert_eq!(percentile(&values, 0.0), Some(1.0));
    assert_eq!(percentile(&values, 1.0), Some(30.0));
    assert_eq!(percentile(&[3.0], 0.9), Some(3.0));
    assert_eq!(percentile(&[], 0.5), None);
}
