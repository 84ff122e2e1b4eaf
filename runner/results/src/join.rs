//! [`Side`]: the results of one run of a comparison, and [`pairs`] of those of two.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::{collections::HashSet, iter};

use runner_model::row::Metric;
use runner_record::RecordError;
use runner_scenario::Filter;

use crate::{RunTable, TableRow};

/// Metrics that are compared, and their values in a run, which take 4 bytes each.
const MAX_METRICS: u64 = 20;
const MAX_METRIC_VALUES: u64 = 4_000_000;

/// The values of a metric by the number of the trial. Not a number for trials without it.
#[derive(Debug)]
struct MetricValues {
    name: String,
    unit: Option<String>,
    values: Vec<f32>,
}

/// The newest results of a run, the repeats of a test on a provider after one another.
#[derive(Debug)]
pub struct Side {
    pub table: RunTable,
    rows: Vec<TableRow>,
    /// Hashes of test and provider, by trial.
    keys: Vec<u64>,
    metrics: Vec<MetricValues>,
    /// Keys of tests that the filter matches.
    selected: HashSet<u64>,
}

/// The part of a run that is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// Only this provider, which is compared with another one.
    pub provider: Option<&'a str>,
    pub filter: Option<&'a Filter>,
    /// Whether metrics are needed.
    pub has_metrics: bool,
}

/// Returns a hash that is the same in each process of this build.
pub fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns a hash of a test and a provider, the same for all repeats.
pub fn key(test: &str, provider: &str) -> u64 {
    hash(&(test, provider))
}

impl Side {
    /// Selects the results of a run.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn new(table: RunTable, scope: Scope<'_>) -> Result<Self, RecordError> {
        let key_of = |trial| {
            let (test, provider) = table.names(trial);
            if scope.provider.is_some() { hash(test) } else { key(test, provider) }
        };
        let keys: Vec<_> = (0..table.trials()).map(key_of).collect();
        let is_compared =
            |row: &TableRow| scope.provider.is_none_or(|name| name == table.names(row.trial).1);
        let mut rows: Vec<_> = table.settling().filter(is_compared).collect();
        rows.sort_by_key(|row| (keys[row.trial as usize], table.repeat(row.trial)));
        let mut selected = HashSet::new();
        if let Some(filter) = scope.filter {
            let matching = table.matching(filter, rows.iter().map(|row| row.number))?;
            selected.extend(matching.iter().map(|row| keys[table.row(*row).trial as usize]));
        }
        let mut side = Self { table, rows, keys, metrics: Vec::new(), selected };
        if scope.has_metrics {
            side.read_metrics()?;
        }
        Ok(side)
    }

    fn read_metrics(&mut self) -> Result<(), RecordError> {
        let trials = u64::from(self.table.trials()).max(1);
        let most = (MAX_METRIC_VALUES / trials).min(MAX_METRICS) as usize;
        let with_metrics = self.rows.iter().filter(|row| row.has_sums()).map(|row| row.number);
        let metrics = &mut self.metrics;
        self.table.each_row(with_metrics, |indexed, row, _| {
            row.metrics.iter().for_each(|metric| add_metric(metrics, metric, indexed.trial, most));
        })
    }

    /// Returns the hash of a row's test and provider, or of the test alone if only one provider is compared.
    pub fn key(&self, row: &TableRow) -> u64 {
        self.keys[row.trial as usize]
    }

    /// Returns names and units of metrics.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.metrics.iter().map(|metric| (&*metric.name, metric.unit.as_deref()))
    }

    /// Returns a row's value of the metric at this place of [`Self::metrics`].
    pub fn metric(&self, place: usize, row: &TableRow) -> Option<f64> {
        self.metrics[place].values.get(row.trial as usize).map(|value| f64::from(*value))
    }
}

#[cfg(test)]
impl Side {
    /// Returns the number of values that are kept of each metric.
    pub(crate) fn values(&self) -> Vec<usize> {
        self.metrics.iter().map(|metric| metric.values.len()).collect()
    }
}

fn add_metric(metrics: &mut Vec<MetricValues>, metric: &Metric<'_>, trial: u32, most: usize) {
    let is_it = |known: &MetricValues| {
        (&*known.name, known.unit.as_deref()) == (&*metric.name, metric.unit.as_deref())
    };
    let place = match metrics.iter().position(is_it) {
        Some(place) => place,
        None if metrics.len() >= most => return,
        None => {
            let unit = metric.unit.as_deref().map(str::to_owned);
            metrics.push(MetricValues { name: metric.name.to_string(), unit, values: Vec::new() });
            metrics.len() - 1
        }
    };
    let values = &mut metrics[place].values;
    let trial = trial as usize;
    // Rows are read in the order of the file.
    values.resize(values.len().max(trial + 1), f32::NAN);
    values[trial] = metric.value as f32;
}

/// Keeps the tests that a filter matches in either run, with all repeats.
pub fn keep_selected([base, new]: [&mut Side; 2]) {
    let selected: HashSet<_> = base.selected.union(&new.selected).copied().collect();
    for Side { rows, keys, .. } in [base, new] {
        rows.retain(|row| selected.contains(&keys[row.trial as usize]));
    }
}

/// Joins two runs. Each item has the repeats of a test on a provider in both. One of the two may be empty.
pub fn pairs<'a>(
    base: &'a Side,
    new: &'a Side,
) -> impl Iterator<Item = [&'a [TableRow]; 2]> + use<'a> {
    let tests = |side: &'a Side| {
        side.rows.chunk_by(|left, right| side.key(left) == side.key(right)).peekable()
    };
    let sides = [base, new];
    let mut tests = [base, new].map(tests);
    iter::from_fn(move || {
        let keys = [0, 1].map(|at| tests[at].peek().map(|repeats| sides[at].key(&repeats[0])));
        let key = keys.into_iter().flatten().min()?;
        Some([0, 1].map(|at| tests[at].next_if(|_| keys[at] == Some(key)).unwrap_or_default()))
    })
}
