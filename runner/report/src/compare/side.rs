//! [`Side`]: the results of one run of a comparison, and [`pairs`] of those of two.

use std::collections::HashSet;
use std::iter;

use runner_model::row::{Metric, read_line};
use runner_model::{Fingerprint, Outcome, TrialId};
use runner_record::{Manifest, ReadLine, RecordError, RunDir};
use runner_scenario::{Filter, RowFilter};
use serde::Deserialize;

use crate::rows::row_filter;
use crate::{failures, logs::hash, stored_tests};

/// Metrics that are compared, and their values in a run, which take 4 bytes each.
const MAX_METRICS: u64 = 20;
const MAX_METRIC_VALUES: u64 = 4_000_000;

/// The result of a trial: its newest final row. Takes 40 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Hash of the test and the provider.
    pub(crate) key: u64,
    pub(crate) repeat: u32,
    /// The row's number, modulo 2³².
    pub(crate) seq: u32,
    /// Index in the values of a metric.
    pub(crate) number: u32,
    /// The first 4 bytes of the fingerprints of execution and judgement.
    pub(crate) fingerprints: [u32; 2],
    pub(crate) duration_ms: f32,
    /// Not a number without a score.
    pub(crate) score: f32,
    /// Index in the run's list of providers.
    pub(crate) provider: u16,
    pub(crate) outcome: Outcome,
    pub(crate) flaky: bool,
}

/// The values of a metric by [`Sample::number`]. Not a number for trials without it.
#[derive(Debug)]
struct MetricValues {
    name: String,
    unit: Option<String>,
    values: Vec<f32>,
}

/// The results of a run, the repeats of a test on a provider after one another.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) samples: Vec<Sample>,
    metrics: Vec<MetricValues>,
    /// Keys of tests that the filter matches.
    selected: HashSet<u64>,
}

/// The part of a run that is compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope<'a> {
    /// Only this provider, which is compared with another one.
    pub(crate) provider: Option<&'a str>,
    pub(crate) filter: Option<&'a Filter>,
    /// Whether fingerprints and metrics are needed.
    pub(crate) has_details: bool,
}

/// Keys of a row that its head lacks.
#[derive(Default, Deserialize)]
struct Details<'a> {
    fingerprint: Option<Fingerprint>,
    judgement_fingerprint: Option<Fingerprint>,
    #[serde(default, borrow)]
    metrics: Vec<Metric<'a>>,
}

/// Returns fingerprints and metrics of a row.
fn details(line: &[u8]) -> ([u32; 2], Vec<Metric<'static>>) {
    let details: Details<'_> = serde_json::from_slice(line).unwrap_or_default();
    let short = |of: Option<Fingerprint>| {
        of.and_then(|of| Some(u32::from_be_bytes(*of.0.first_chunk()?))).unwrap_or_default()
    };
    let metric = |Metric { name, value, unit }: Metric<'_>| Metric {
        name: name.to_string().into(),
        value,
        unit: unit.map(|unit| unit.to_string().into()),
    };
    let fingerprints = [details.fingerprint, details.judgement_fingerprint].map(short);
    (fingerprints, details.metrics.into_iter().map(metric).collect())
}

impl Scope<'_> {
    /// Returns the key of a trial's test and provider. `None` if the trial is not compared.
    pub(crate) fn key(&self, trial: &TrialId) -> Option<u64> {
        let Some(provider) = self.provider else { return Some(failures::key(trial)) };
        (provider == &*trial.provider).then(|| hash(&trial.test))
    }
}

impl Side {
    pub(crate) fn read(
        run: &RunDir,
        manifest: &Manifest,
        scope: Scope<'_>,
    ) -> Result<Self, RecordError> {
        let providers: Vec<_> = manifest.providers.iter().map(|one| &*one.name).collect();
        let is_planned = stored_tests::is_planned(run, manifest);
        let filter = scope.filter.map(|filter| row_filter(run, filter)).transpose()?;
        let new = || Self {
            samples: Vec::with_capacity(manifest.counts.done() as usize),
            ..Self::default()
        };
        let most = (MAX_METRIC_VALUES / manifest.counts.done().max(1)).min(MAX_METRICS);
        let read_more: fn(&[u8]) -> _ =
            if scope.has_details { details } else { |_| Default::default() };
        let mut side = run.fold_lines(&new, read_more, &mut |side, _, (line, details)| {
            let ReadLine::Row(head, bytes) = line else { return };
            let provider = providers.iter().position(|name| **name == *head.trial.provider);
            let (Some(key), Some(provider)) = (scope.key(&head.trial), provider) else { return };
            if !head.r#final || !is_planned(&head.trial) {
                return;
            }
            let number = side.samples.len() as u32;
            let (fingerprints, metrics) = details.unwrap_or_default();
            metrics.iter().for_each(|metric| side.add_metric(metric, number, most as usize));
            side.samples.push(Sample {
                key,
                repeat: head.trial.repeat,
                seq: head.seq as u32,
                number,
                fingerprints,
                duration_ms: head.duration_ms as f32,
                score: head.trial_score().map_or(f32::NAN, |score| score as f32),
                provider: provider as u16,
                outcome: head.outcome,
                flaky: head.flaky,
            });
            if let Some(filter) = &filter
                && let Ok(row) = read_line(bytes)
                && filter.matches(&row)
            {
                side.selected.insert(key);
            }
        })?;
        // Stable, so that the newest row of a trial is its last one.
        side.samples.sort_by_key(|sample| (sample.key, sample.repeat));
        side.samples.dedup_by(|newer, older| {
            let is_same = (newer.key, newer.repeat) == (older.key, older.repeat);
            if is_same {
                *older = *newer;
            }
            is_same
        });
        filter.map_or(Ok(()), RowFilter::finish)?;
        Ok(side)
    }

    pub(crate) fn add_metric(&mut self, metric: &Metric<'_>, number: u32, most: usize) {
        let mut known = self.metrics.iter();
        let is_it = |one: &MetricValues| {
            (&*one.name, one.unit.as_deref()) == (&*metric.name, metric.unit.as_deref())
        };
        let place = match known.position(is_it) {
            Some(place) => place,
            None if self.metrics.len() >= most => return,
            None => {
                let (name, unit) = (metric.name.to_string(), metric.unit.as_deref());
                let unit = unit.map(str::to_owned);
                self.metrics.push(MetricValues { name, unit, values: Vec::new() });
                self.metrics.len() - 1
            }
        };
        let values = &mut self.metrics[place].values;
        values.resize(number as usize, f32::NAN);
        values.push(metric.value as f32);
    }

    /// Returns names and units of metrics.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.metrics.iter().map(|metric| (&*metric.name, metric.unit.as_deref()))
    }

    /// Returns a sample's value of the metric at this place of [`Self::metrics`].
    pub(crate) fn metric(&self, place: usize, sample: &Sample) -> Option<f64> {
        self.metrics[place].values.get(sample.number as usize).map(|value| f64::from(*value))
    }
}

/// Keeps the tests that a filter matches in either run, with all repeats.
pub(crate) fn keep_selected([base, new]: [&mut Side; 2]) {
    base.selected.extend(&new.selected);
    for samples in [&mut base.samples, &mut new.samples] {
        samples.retain(|sample| base.selected.contains(&sample.key));
    }
}

/// Joins two runs. Each item has the repeats of a test on a provider in both. One of the two may be empty.
pub(crate) fn pairs<'a>(
    base: &'a Side,
    new: &'a Side,
) -> impl Iterator<Item = [&'a [Sample]; 2]> + use<'a> {
    let tests =
        |side: &'a Side| side.samples.chunk_by(|left, right| left.key == right.key).peekable();
    let mut sides = [base, new].map(tests);
    iter::from_fn(move || {
        let keys = sides.each_mut().map(|side| side.peek().map(|repeats| repeats[0].key));
        let key = keys.into_iter().flatten().min()?;
        Some(
            sides
                .each_mut()
                .map(|side| side.next_if(|repeats| repeats[0].key == key).unwrap_or_default()),
        )
    })
}
