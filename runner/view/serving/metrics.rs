//! [`RunMetrics`]: what the providers of a run have measured, as charts show it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{record::Row, view::version::DocumentVersion};

/// What the providers of a run have measured.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunMetrics {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The state of the run that this is of.
    pub rev: u64,
    /// How many trials were looked at; where a run has more of them, these are from all of its course.
    pub looked_at: usize,
    /// How many trials have a final row.
    pub trials: usize,
    /// The metrics, by name.
    pub metrics: Vec<MeasuredMetric>,
    /// How many more metrics there are.
    pub more: usize,
}

/// A metric, as each provider has measured it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MeasuredMetric {
    /// Its name.
    pub name: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// What the providers have measured, in the order of their names.
    pub providers: Vec<MeasuredProvider>,
}

/// The values of a metric on one provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MeasuredProvider {
    /// The provider's name.
    pub provider: String,
    /// How many values there are.
    pub values: usize,
    /// Their mean.
    pub mean: f64,
    /// The least value, what 5, 25, 50, 75 and 95 of 100 do not exceed, and the greatest.
    pub quantiles: [f64; 7],
}

/// Makes [`RunMetrics`] of rows.
#[derive(Default)]
pub struct MetricsMaker {
    values: BTreeMap<(String, Option<String>), BTreeMap<String, Vec<f64>>>,
    more: std::collections::BTreeSet<(String, Option<String>)>,
    looked_at: usize,
}

impl RunMetrics {
    /// How many trials are looked at, at most.
    pub const MAX_TRIALS: usize = 5_000;
    /// How many metrics are told of: whoever makes up a name for each value is not listened to for ever.
    const MAX_METRICS: usize = 40;
}

impl MetricsMaker {
    /// Adds what was measured in the attempt that settled a trial.
    pub fn add(&mut self, row: &Row<'_>) {
        self.looked_at += 1;
        for metric in &row.metrics {
            let unit = metric.unit.as_deref().map(str::to_owned);
            let key = (metric.name.to_string(), unit);
            if self.values.len() == RunMetrics::MAX_METRICS && !self.values.contains_key(&key) {
                if self.more.len() < RunMetrics::MAX_TRIALS {
                    self.more.insert(key);
                }
                continue;
            }
            let providers = self.values.entry(key).or_default();
            let values = providers.entry(row.provider.to_string()).or_default();
            values.push(metric.value);
        }
    }

    /// What was measured, of the state `rev`, in which so many trials have a final row.
    pub fn finish(self, rev: u64, trials: usize) -> RunMetrics {
        let metrics = self.values.into_iter();
        RunMetrics {
            v: DocumentVersion,
            rev,
            looked_at: self.looked_at,
            trials,
            metrics: metrics
                .map(|((name, unit), providers)| MeasuredMetric {
                    name,
                    unit,
                    providers: providers
                        .into_iter()
                        .map(|(provider, values)| MeasuredProvider::new(provider, values))
                        .collect(),
                })
                .collect(),
            more: self.more.len(),
        }
    }
}

impl MeasuredProvider {
    fn new(provider: String, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        // The value at or above which the share lies: one that was measured, and none in between.
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(place.min(last)).copied().unwrap_or(0.0)
        };
        // Of large values the sum may be none: each is divided first.
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are some thousands at most"
        )]
        let mean = values
            .iter()
            .map(|value| value / values.len() as f64)
            .sum::<f64>();
        Self {
            values: values.len(),
            mean,
            quantiles: [at(0), at(5), at(25), at(50), at(75), at(95), at(100)],
            provider,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MeasuredProvider;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let of = |values: Vec<f64>| MeasuredProvider::new("p".to_owned(), values);
        let hundred = of((1..=100).rev().map(f64::from).collect());
        assert_eq!(hundred.quantiles, [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 100.0]);
        assert!((hundred.mean - 50.5).abs() < 1e-9);
        assert_eq!(of(vec![3.0]).quantiles, [3.0; 7]);
        assert_eq!(
            of(vec![2.0, 1.0]).quantiles,
            [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
        );
        assert_eq!(
            of(vec![f64::MAX, f64::MAX]).mean.to_bits(),
            f64::MAX.to_bits()
        );
    }
}
