//! [`RunCharts`]: the durations and the course of a run.

use std::collections::BTreeMap;

use runner_model::{Counts, Time};
use runner_record::{Manifest, RecordError};
use runner_results::{RunTable, TableRow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// Bins of a histogram of scores.
const SCORE_BINS: usize = 20;
/// Trials whose grades are read if there are several graders. The table has only the scores of trials.
const MAX_GRADED: usize = 20_000;

/// The durations and scores of a run's trials, and their results over its time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunCharts {
    /// Always [`VERSION`].
    v: u8,
    /// Number of rows that were read.
    rev: u64,
    /// Ascending bounds of durations in milliseconds: one more than there are counts.
    edges_ms: Vec<f64>,
    /// One for each provider with a result.
    durations: Vec<ProviderHistogram>,
    /// Ascending bounds of scores at equal distances: one more than there are counts. Empty without scores.
    score_edges: Vec<f64>,
    /// One for each grader and provider with a score, in the order of their names and of the plan.
    scores: Vec<ScoreHistogram>,
    /// Number of trials in `scores`, evenly distributed over the run. `null` if these are all.
    score_sample: Option<u64>,
    /// Start of the first bin.
    start: Time,
    /// Length of a bin in milliseconds.
    step_ms: u64,
    /// Trials by the end of the attempt that counts.
    bins: Vec<TimeBin>,
}

/// A histogram of a provider's trials.
#[derive(Debug, Serialize, JsonSchema)]
struct ProviderHistogram {
    provider: String,
    /// Numbers of trials from a bound to the next one.
    counts: Vec<u64>,
}

/// A histogram of scores.
#[derive(Debug, Serialize, JsonSchema)]
struct ScoreHistogram {
    provider: String,
    /// The grader with these scores, or the only one of the run. `null` for the provider's own scores.
    grader: Option<String>,
    /// Numbers of trials from a bound to the next one.
    counts: Vec<u64>,
}

/// The scores of a run, by grader and by the index of the provider.
#[derive(Default)]
struct Scores {
    by_series: BTreeMap<(Option<String>, usize), Vec<f64>>,
    sample: Option<u64>,
}

/// Trials that ended within a bin.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
struct TimeBin {
    #[serde(flatten)]
    counts: Counts,
}

impl RunCharts {
    /// Sums up the trials that have a result, with up to `bins` bins. Reads rows if the run has several graders.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn read(table: &RunTable, manifest: &Manifest, bins: usize) -> Result<Self, RecordError> {
        let durations = table.settling().map(|row| microseconds(&row));
        let (least, most) = durations
            .fold((f64::MAX, 0.0_f64), |(least, most), took| (least.min(took), most.max(took)));
        let edges = edges(least, most, bins);
        let end = table.settling().map(|row| u64::from(row.ended_ms)).max();
        let step_ms = end.map_or(1, |end| end / bins as u64 + 1);
        let mut over_time =
            vec![TimeBin::default(); end.map_or(0, |end| end / step_ms + 1) as usize];
        let mut durations = vec![vec![0; edges.len().saturating_sub(1)]; table.providers().len()];
        for row in table.settling() {
            let bin = (u64::from(row.ended_ms) / step_ms) as usize;
            row.count(&mut over_time[bin].counts);
            let above = edges.partition_point(|edge| *edge <= microseconds(&row));
            let counts = &mut durations[table.provider(row.trial)];
            let last = counts.len() - 1;
            counts[above.saturating_sub(1).min(last)] += 1;
        }
        let scores = Scores::read(table, manifest)?;
        let score_sample = scores.sample;
        let (score_edges, scores) = scores.histograms(table);
        Ok(Self {
            v: VERSION,
            rev: table.rows().into(),
            edges_ms: edges.iter().map(|edge| edge / 1e3).collect(),
            durations: named(table, durations),
            score_edges,
            scores,
            score_sample,
            start: table.started_at(),
            step_ms,
            bins: over_time,
        })
    }
}

/// Names the histograms that have a count.
fn named(table: &RunTable, counts: Vec<Vec<u64>>) -> Vec<ProviderHistogram> {
    let named = table.providers().iter().zip(counts);
    named
        .filter(|(_, counts)| counts.iter().any(|count| *count > 0))
        .map(|(provider, counts)| ProviderHistogram { provider: provider.clone(), counts })
        .collect()
}

impl Scores {
    fn read(table: &RunTable, manifest: &Manifest) -> Result<Self, RecordError> {
        let graders: Vec<_> = manifest.planned().filter(|of| of.is_grader).collect();
        let scored = table.settling().filter_map(|row| Some((row, row.score?)));
        let mut scores = Self::default();
        if graders.len() < 2 {
            let grader = graders.first().map(|of| of.name.clone());
            let mut by_provider = vec![Vec::new(); table.providers().len()];
            scored.for_each(|(row, score)| by_provider[table.provider(row.trial)].push(score));
            let series = by_provider.into_iter().enumerate().filter(|(_, all)| !all.is_empty());
            scores.by_series = series.map(|(of, all)| ((grader.clone(), of), all)).collect();
            return Ok(scores);
        }
        let scored: Vec<_> = scored.map(|(row, _)| row.number).collect();
        let count = scored.len().min(MAX_GRADED);
        scores.sample = (count < scored.len()).then_some(count as u64);
        let sample = (0..count).map(|at| scored[at * scored.len() / count]);
        table.each_row(sample, |indexed, row, _| {
            let mut add = |grader: Option<String>, score| {
                let series = (grader, table.provider(indexed.trial));
                scores.by_series.entry(series).or_default().push(score);
            };
            let graded =
                row.grades.iter().filter_map(|of| Some((of.grader.to_string(), of.score?)));
            let graded: Vec<_> = graded.collect();
            if graded.is_empty() {
                row.trial_score().into_iter().for_each(|score| add(None, score));
            }
            graded.into_iter().for_each(|(grader, score)| add(Some(grader), score));
        })?;
        Ok(scores)
    }

    /// Returns bounds from the least to the greatest score, and the histograms.
    fn histograms(self, table: &RunTable) -> (Vec<f64>, Vec<ScoreHistogram>) {
        if self.by_series.is_empty() {
            return (Vec::new(), Vec::new());
        }
        // Most scores are from 0 to 1, and then two runs have the same bounds.
        let all = self.by_series.values().flatten();
        let (least, most) =
            all.fold((0.0_f64, 1.0_f64), |(least, most), of| (least.min(*of), most.max(*of)));
        let step = (most - least) / SCORE_BINS as f64;
        let histogram = |((grader, provider), scores): ((Option<String>, usize), Vec<f64>)| {
            let mut counts = vec![0; SCORE_BINS];
            for score in scores {
                counts[(((score - least) / step) as usize).min(SCORE_BINS - 1)] += 1;
            }
            ScoreHistogram { provider: table.providers()[provider].clone(), grader, counts }
        };
        let edges = (0..=SCORE_BINS).map(|bin| least + step * bin as f64).collect();
        (edges, self.by_series.into_iter().map(histogram).collect())
    }
}

/// Returns the duration of an attempt in microseconds. Rows have no fractions of them.
fn microseconds(row: &TableRow) -> f64 {
    (f64::from(row.duration_ms) * 1e3).round()
}

/// Returns bounds at about equal ratios, in whole microseconds: a narrower bin could have no trial. Empty without durations.
fn edges(least: f64, most: f64, bins: usize) -> Vec<f64> {
    if least > most {
        return Vec::new();
    }
    let ratio = (most.max(1.0) / least.max(1.0)).powf(1.0 / bins as f64);
    let mut edges = vec![least];
    while edges[edges.len() - 1] < most || edges.len() < 2 {
        let step = edges.len() as i32;
        let edge = (least.max(1.0) * ratio.powi(step)).round();
        edges.push(edge.max(edges[edges.len() - 1] + 1.0));
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::edges;

    #[test]
    fn bins_are_whole_microseconds() {
        assert!(edges(f64::MAX, 0.0, 40).is_empty());
        assert_eq!(edges(0.0, 0.0, 40), [0.0, 1.0]);
        assert_eq!(edges(3.0, 7.0, 40), [3.0, 4.0, 5.0, 6.0, 7.0]);
        let many = edges(2.0, 1e6, 40);
        assert_eq!(many[..4], [2.0, 3.0, 4.0, 5.0]);
        assert!(many.len() <= 41 && many.is_sorted() && many[many.len() - 1] >= 1e6, "{many:?}");
    }
}
