//! [`sign_test`], which is McNemar's for pairs of passes, and [`holm`] for several tests at once.

/// The two-sided p-value of the exact sign test: how likely differences as uneven as these are, or more so, where a fall is as
/// likely as a rise. What has neither fallen nor risen does not count.
///
/// For pairs of trials that have passed or not this is McNemar's exact test.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn sign_test(fallen: u64, risen: u64) -> f64 {
    let of = fallen + risen;
    let fewer = fallen.min(risen);
    if fallen == risen {
        return 1.0;
    }
    // C(of, fewer) / 2^of as a logarithm: of many pairs it is smaller than any number.
    let factor = |chosen: u64| ((of - chosen) as f64).ln() - ((chosen + 1) as f64).ln();
    let likelihood: f64 = (0..fewer).map(factor).sum();
    let most = (likelihood - of as f64 * std::f64::consts::LN_2).exp();
    let mut term = 1.0;
    let mut sum = 1.0;
    for chosen in (1..=fewer).rev() {
        term *= chosen as f64 / (of - chosen + 1) as f64;
        sum += term;
    }
    (2.0 * most * sum).min(1.0)
}

/// Corrects the p-values of several tests so that the chance of one false alarm among them stays what it is for one: Holm's
/// method. They keep their order.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody makes as many tests as that"
)]
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut corrected = vec![0.0; values.len()];
    let mut least: f64 = 0.0;
    for (rank, place) in places.into_iter().enumerate() {
        least = least.max(values[place] * (values.len() - rank) as f64);
        corrected[place] = least.min(1.0);
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::{holm, sign_test};

    /// `python3 -c "from scipy.stats import binomtest; print(binomtest(3, 15, 0.5).pvalue)"` with these numbers.
    const SIGN_TESTS: [(u64, u64, f64); 8] = [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (3, 12, 0.035_156_25),
        (12, 3, 0.035_156_25),
        (10, 25, 0.016_673_847_800_120_715),
        (50, 51, 1.0),
        (480, 520, 0.217_448_293_204_141_5),
    ];

    #[test]
    fn sign_tests_are_those_of_a_reference() {
        for (fallen, risen, expected) in SIGN_TESTS {
            let value = sign_test(fallen, risen);
            assert!((value - expected).abs() < 1e-9, "{fallen} {risen}: {value}");
        }
        assert_eq!(sign_test(0, 100_000), 0.0, "too small for a number");
        let many = sign_test(50_000, 50_400);
        assert!((many - 0.207_946_024).abs() < 1e-7, "{many}");
    }

    /// R 4: `p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm")`.
    #[test]
    fn corrected_values_are_those_of_a_reference() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005, 0.9]);
        let expected = [0.04, 0.09, 0.09, 0.025, 0.9];
        for (value, expected) in corrected.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
