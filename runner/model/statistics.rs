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

#[cfg(test)]
mod tests {
    use super::wilson;

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
}
