//! [`clustered`]: a mean of values that are not independent of each other.

/// A mean, and how far from the one behind it it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Its standard error; `None` where there is one cluster alone.
    pub standard_error: Option<f64>,
    /// How many values there are.
    pub values: u64,
    /// How many clusters they are in.
    pub clusters: u64,
}

/// The mean of values in clusters, such as the repeats of one test, with a standard error that knows that the values of one
/// cluster are alike. Each cluster is the sum of its values and how many they are; `None` without any value.
///
/// With one value in each cluster it is the usual standard error.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub fn clustered(clusters: &[(f64, u64)]) -> Option<Spread> {
    let values: u64 = clusters.iter().map(|(_, count)| count).sum();
    if values == 0 {
        return None;
    }
    let sum: f64 = clusters.iter().map(|(sum, _)| sum).sum();
    let mean = sum / values as f64;
    let occupied = clusters.iter().filter(|(_, count)| *count > 0);
    let count = occupied.clone().count() as u64;
    let squares: f64 = occupied
        .map(|(sum, count)| (sum - *count as f64 * mean).powi(2))
        .sum();
    let variance = squares * count as f64 / (count as f64 - 1.0);
    Some(Spread {
        mean,
        standard_error: (count > 1).then(|| variance.sqrt() / values as f64),
        values,
        clusters: count,
    })
}

#[cfg(test)]
mod tests {
    use super::{Spread, clustered};

    #[test]
    fn standard_errors_are_those_of_a_reference() {
        // `numpy.std([1, 2, 4, 7], ddof=1) / 2`.
        let alone = clustered(&[(1.0, 1), (2.0, 1), (4.0, 1), (7.0, 1)]).unwrap();
        assert!((alone.standard_error.unwrap() - 1.322_875_655_532_295_4).abs() < 1e-12);
        // R 4: `y <- c(1,0,1,1,1,1,0,0,1); g <- c(1,1,1,2,2,2,3,3,3)`,
        // `sqrt(sandwich::vcovCL(lm(y ~ 1), cluster = g, type = "HC0"))`, which is
        // `python3 -c "d = [0, 1, -1]; print((3 / 2 * sum(x * x for x in d)) ** 0.5 / 9)"`.
        let repeats = clustered(&[(2.0, 3), (3.0, 3), (1.0, 3), (0.0, 0)]).unwrap();
        assert!((repeats.mean - 2.0 / 3.0).abs() < 1e-12);
        assert!((repeats.standard_error.unwrap() - 0.192_450_089_729_875_26).abs() < 1e-12);
        assert_eq!((repeats.values, repeats.clusters), (9, 3));
    }

    #[test]
    fn one_cluster_says_nothing_of_others() {
        let one = Spread {
            mean: 0.5,
            standard_error: None,
            values: 4,
            clusters: 1,
        };
        assert_eq!(clustered(&[(2.0, 4)]), Some(one));
        assert_eq!(clustered(&[(0.0, 0)]), None);
    }
}
