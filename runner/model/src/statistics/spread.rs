//! Means of values that depend on each other, and percentiles.

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    pub mean: f64,
    /// `None` for a single cluster.
    pub standard_error: Option<f64>,
    /// Number of values.
    pub values: u64,
    /// Number of clusters with a value.
    pub clusters: u64,
}

/// Returns the mean of values in clusters, such as the repeats of one test, with a standard error for values that depend on each
/// other within a cluster. Each cluster is the sum and the number of its values. `None` without values.
///
/// The error is the cluster-robust one of a regression on a constant, times `clusters / (clusters − 1)` under the root. For
/// clusters of one value it is the usual standard error.
pub fn clustered_mean(clusters: &[(f64, u64)]) -> Option<Mean> {
    let values: u64 = clusters.iter().map(|(_, count)| count).sum();
    if values == 0 {
        return None;
    }
    let sum: f64 = clusters.iter().map(|(sum, _)| sum).sum();
    let mean = sum / values as f64;
    let occupied = clusters.iter().filter(|(_, count)| *count > 0);
    let count = occupied.clone().count() as u64;
    let squares: f64 = occupied.map(|(sum, count)| (sum - *count as f64 * mean).powi(2)).sum();
    let variance = squares * count as f64 / (count as f64 - 1.0);
    let standard_error = (count > 1).then(|| variance.sqrt() / values as f64);
    Some(Mean { mean, standard_error, values, clusters: count })
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
