//! [`RunDocument`]: a run with its manifest, a table of its providers, and its rows.

use std::time::Duration;

use runner_model::row::{Metric, read_line};
use runner_model::{Counts, Places as _, TrialId};
use runner_record::{Live, Manifest, ReadLine, RecordError, ResultsRoot, RunDir, RunHead};
use serde::Serialize;

use crate::meta::{MetaResults, TestMeta};
use crate::rows::{Rows, Settled, Which};
use crate::{VERSION, denials::Denials, list::RunSummary, short_id, verify};

/// `runner show RUN`.
#[derive(Debug, Serialize)]
pub struct RunDocument {
    /// Always [`VERSION`].
    pub v: u8,
    pub run: RunSummary,
    pub manifest: Manifest,
    /// Present while a process works on the run.
    pub live: Option<Live>,
    /// One table per provider, in the scenario's order.
    pub providers: Vec<ProviderTable>,
    /// Results by the keys of tests' `meta`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<MetaResults>,
    /// Damaged lines of the rows. If the run has ended and its verdict is not `damaged`, no result is lost.
    pub damaged_lines: u64,
    /// Results that the manifest of a run that has ended counts and its rows do not have.
    pub lost_results: u64,
    pub denials: Denials,
    /// The selected rows.
    pub rows: Rows,
}

/// Counts and durations of a provider's final rows.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderTable {
    pub provider: String,
    #[serde(flatten)]
    pub counts: Counts,
    /// Median duration of settling attempts, in milliseconds. `null` without any.
    pub p50_ms: Option<f32>,
    /// 95th percentile.
    pub p95_ms: Option<f32>,
    /// Maximum.
    pub max_ms: Option<f32>,
    /// Mean of the provider's own scores. `null` without any.
    pub score: Option<f32>,
    /// Sums of the provider's metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric<'static>>,
}

impl RunDocument {
    /// Reads a run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(root: &ResultsRoot, run: &RunDir, which: Which) -> Result<Self, RecordError> {
        run.snapshot(|| Self::read_once(root, run, which))
    }

    fn read_once(root: &ResultsRoot, run: &RunDir, which: Which) -> Result<Self, RecordError> {
        // Read before the manifest: if the run ends in between, the manifest shows it.
        let live = run.live();
        let on_disk = run.manifest()?;
        let has_ended = on_disk.status.is_terminal();
        let mut judged = if has_ended { on_disk.clone() } else { run.truth()? };
        let names: Vec<_> =
            on_disk.providers.iter().map(|provider| provider.name.as_str()).collect();
        // Only a run that took over another plan has rows of trials that are not planned.
        let mut sessions = on_disk.sessions.iter();
        let has_changed = sessions.any(|session| session.adopted.is_some());
        let suite = has_changed.then(|| verify::plan(run).ok().flatten()).flatten();
        let is_planned =
            |trial: &TrialId| suite.as_ref().is_none_or(|suite| suite.index(trial).is_some());
        let meta = TestMeta::read(run, &on_disk);
        let new = || (Settled::new(&on_disk), 0, Denials::default());
        let (mut settled, damaged_lines, denials) = run.fold_lines(
            &new,
            |_| (),
            &mut |(settled, damaged_lines, denials), _, (line, _)| match line {
                ReadLine::Row(head, bytes) => {
                    let is_planned = is_planned(&head.trial);
                    settled.add(&head, &names, is_planned, meta.of(&head.trial.test));
                    if is_planned
                        && head.has_denied
                        && let Ok(row) = read_line(bytes)
                    {
                        denials.add(&row);
                    }
                }
                ReadLine::Damaged(_) => *damaged_lines += 1,
                ReadLine::Torn => {}
            },
        )?;
        if has_ended {
            settled.judge(&mut judged, run.has_same_rows(&on_disk)?);
        }
        let is_over = judged.status.is_terminal();
        let lost_results = on_disk.counts.done().saturating_sub(judged.counts.done());
        let run_dir = run.path().to_string_lossy().into_owned();
        let (meta, providers) = (meta.results(settled.finals()), tables(&names, &settled));
        let mut document = Self {
            v: VERSION,
            run: RunSummary::new(RunHead::from(&judged), short_of(root, run.id()), run_dir),
            live: live.filter(|_| !is_over),
            providers,
            meta,
            manifest: if has_ended { on_disk } else { judged },
            damaged_lines,
            denials,
            lost_results: if is_over { lost_results } else { 0 },
            rows: Rows::new(run, which, settled),
        };
        let mut metrics = document.rows.metrics()?;
        for table in &mut document.providers {
            table.metrics = metrics.remove(&table.provider).unwrap_or_default();
        }
        Ok(document)
    }
}

/// Returns the shortest name by which commands find this run.
pub fn short_of(root: &ResultsRoot, id: &str) -> String {
    let short = short_id(id);
    match root.find(short) {
        Ok(found) if found.id() == id => short.to_owned(),
        _ => id.to_owned(),
    }
}

/// Computes counts and durations of each provider.
fn tables(providers: &[&str], settled: &Settled) -> Vec<ProviderTable> {
    let mut columns = vec![(Counts::default(), Vec::new(), Vec::new()); providers.len()];
    for row in settled.finals() {
        let (counts, durations, scores) = &mut columns[usize::from(row.provider)];
        counts.add(row.outcome, row.flaky);
        durations.push(row.duration_ms);
        scores.extend(row.score);
    }
    let tables =
        providers.iter().zip(columns).map(|(provider, (counts, mut durations, scores))| {
            durations.sort_by(f32::total_cmp);
            let sum: f64 = scores.iter().copied().map(f64::from).sum();
            ProviderTable {
                provider: (*provider).to_owned(),
                counts,
                p50_ms: quantile(&durations, 0.5),
                p95_ms: quantile(&durations, 0.95),
                max_ms: durations.last().copied(),
                score: (!scores.is_empty()).then(|| (sum / scores.len() as f64) as f32),
                metrics: Vec::new(),
            }
        });
    tables.collect()
}

/// Returns the smallest of the ascending values that at least this share of them does not exceed.
fn quantile(ascending: &[f32], share: f64) -> Option<f32> {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied()
}

impl ProviderTable {
    /// Returns the durations p50, p95 and max.
    pub fn durations(&self) -> [Option<Duration>; 3] {
        [self.p50_ms, self.p95_ms, self.max_ms].map(|ms| {
            let ms = f64::from(ms?);
            Duration::try_from_secs_f64(ms / 1e3).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.95), Some(3.0));
        let ascending: Vec<f32> = (1..=100_u8).map(f32::from).collect();
        assert_eq!(quantile(&ascending, 0.5), Some(50.0));
        assert_eq!(quantile(&ascending, 0.95), Some(95.0));
    }
}
