//! [`Results`]: the sums of a provider's trials, or of a grader's answers.

use std::time::Duration;

use runner_model::row::{Grade, Metric};
use runner_model::statistics::wilson;
use runner_model::units::MIN_PERCENT;
use runner_model::{Counts, Outcome, RowRef, outcome::Verdict};
use runner_record::RecordError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{RunTable, TableRow};

/// Sums of metrics that are kept of a provider, which may give each reply's metrics other names.
const MAX_METRICS: usize = 100;

/// Counts, durations, scores and metrics of a provider's trials, or of a grader's answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Results {
    /// A grader's answers count by their verdicts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Absent for fewer than 10 trials without repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_rate: Option<PassRate>,
    /// Median duration of settling attempts, in milliseconds. `null` without any.
    pub p50_ms: Option<f32>,
    /// 95th percentile.
    pub p95_ms: Option<f32>,
    /// Maximum.
    pub max_ms: Option<f32>,
    /// Mean score of the trials, or of the grader's answers, that passed or failed. `null` without any.
    pub score: Option<f32>,
    /// Sums of the metrics of the provider or grader itself, of the attempts that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric<'static>>,
}

/// The share of passed trials among those that were not skipped.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct PassRate {
    /// From 0 to 1.
    pub rate: f64,
    /// Wilson's interval of 95 %.
    pub interval: (f64, f64),
}

impl PassRate {
    /// Returns the rate of at least [`MIN_PERCENT`] judged trials, or of any with repeats.
    pub fn of(counts: &Counts, has_repeats: bool) -> Option<Self> {
        let judged = counts.passed + counts.bad();
        let is_enough = judged >= MIN_PERCENT || has_repeats && judged > 0;
        is_enough.then(|| Self {
            rate: counts.passed as f64 / judged as f64,
            interval: wilson(counts.passed, judged),
        })
    }
}

/// Results that are being collected.
#[derive(Clone, Debug, Default)]
pub struct Column {
    counts: Counts,
    has_repeats: bool,
    durations: Vec<f32>,
    scores: Vec<f32>,
    metrics: Vec<Metric<'static>>,
}

impl Column {
    /// Adds a trial, without its metrics.
    fn add(&mut self, row: TableRow, repeat: u32) {
        row.count(&mut self.counts);
        self.has_repeats |= repeat > 1;
        if row.settles() {
            self.durations.push(row.duration_ms);
            self.scores.extend(row.score.map(|score| score as f32));
        }
    }

    fn add_grade(&mut self, grade: &Grade<'_>) {
        let is_timeout = grade.error.as_ref().is_some_and(|error| error.class.is_none());
        let outcome = match grade.verdict {
            Some(Verdict::Pass) => Outcome::Passed,
            Some(Verdict::Fail) => Outcome::Failed,
            Some(Verdict::Skip) => Outcome::Skipped,
            None if is_timeout => Outcome::Timeout,
            None => Outcome::Error,
        };
        self.counts.add(outcome, false);
        self.durations.push(grade.duration_ms as f32);
        // As of trials, only scores with a verdict count.
        if matches!(outcome, Outcome::Passed | Outcome::Failed) {
            self.scores.extend(grade.score.map(|score| score as f32));
        }
        self.add_metrics(&grade.metrics);
    }

    fn add_metrics(&mut self, metrics: &[Metric<'_>]) {
        let sums = &mut self.metrics;
        for metric in metrics {
            let mut known = sums.iter();
            match known.position(|sum| (&sum.name, &sum.unit) == (&metric.name, &metric.unit)) {
                // JSON has no infinite sum.
                Some(place) => {
                    let sum = sums[place].value + metric.value;
                    sums[place].value = sum.clamp(f64::MIN, f64::MAX);
                }
                None if sums.len() == MAX_METRICS => {}
                None => sums.push(Metric {
                    name: metric.name.to_string().into(),
                    value: metric.value,
                    unit: metric.unit.as_ref().map(|unit| unit.to_string().into()),
                }),
            }
        }
    }
}

impl From<Column> for Results {
    fn from(column: Column) -> Self {
        let Column { counts, has_repeats, mut durations, scores, metrics } = column;
        durations.sort_unstable_by(f32::total_cmp);
        let sum: f64 = scores.iter().copied().map(f64::from).sum();
        Self {
            counts,
            pass_rate: PassRate::of(&counts, has_repeats),
            p50_ms: quantile(&durations, 0.5),
            p95_ms: quantile(&durations, 0.95),
            max_ms: durations.last().copied(),
            score: (!scores.is_empty()).then(|| (sum / scores.len() as f64) as f32),
            metrics,
        }
    }
}

/// Adds the metrics and the grades of a row to the columns of the providers and graders with these names.
fn add_sums(columns: &mut [Column], names: &[impl AsRef<str>], row: &RowRef<'_>) {
    let place = |wanted: &str| names.iter().position(|name| name.as_ref() == wanted);
    if let Some(place) = place(&row.provider) {
        columns[place].add_metrics(&row.metrics);
    }
    for grade in &row.grades {
        if let Some(place) = place(&grade.grader) {
            columns[place].add_grade(grade);
        }
    }
}

/// Returns the smallest of the ascending values that at least this share of them does not exceed.
pub fn quantile(ascending: &[f32], share: f64) -> Option<f32> {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied()
}

impl Results {
    /// Returns the durations p50, p95 and max.
    pub fn durations(&self) -> [Option<Duration>; 3] {
        [self.p50_ms, self.p95_ms, self.max_ms].map(|ms| {
            let ms = f64::from(ms?);
            Duration::try_from_secs_f64(ms / 1e3).ok()
        })
    }
}

/// Returns the results of the providers and graders of a table's manifest, by their index there. Reads the rows that have metrics
/// or grades.
///
/// # Errors
///
/// The file cannot be read.
pub fn columns(table: &RunTable) -> Result<Vec<Column>, RecordError> {
    let names = table.providers();
    let mut columns = vec![Column::default(); names.len()];
    for row in table.counting() {
        columns[table.provider(row.trial)].add(row, table.repeat(row.trial));
    }
    let with_sums = table.settling().filter(TableRow::has_sums).map(|row| row.number);
    table.each_row(with_sums, |_, row, _| add_sums(&mut columns, names, row))?;
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use runner_model::row::Metric;

    use super::{Column, Results, quantile};

    #[test]
    fn sums_of_metrics_stay_finite() {
        let mut column = Column::default();
        let metric = Metric { name: "m".into(), value: f64::MAX, unit: None };
        column.add_metrics(&[metric.clone(), metric]);
        assert_eq!(Results::from(column).metrics[0].value, f64::MAX);
    }

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.95), Some(3.0));
        let ascending: Vec<f32> = (1..=100_u8).map(f32::from).collect();
        assert_eq!(quantile(&ascending, 0.5), Some(50.0));
        assert_eq!(quantile(&ascending, 0.95), Some(95.0));
    }
}
