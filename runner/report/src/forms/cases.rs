//! [`Cases`]: the trials of a run in the order of its plan, also those without a result. [`FormError`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::{fmt, fs, io, path::Path};

use runner_model::{Counts, Outcome, RowRef, TrialId, known::KnownState};
use runner_record::{Manifest, RecordError};
use runner_results::{PlanOrder, RunTable, TableRow};
use runner_scenario::load;

use crate::RunDocument;

/// Trials whose tests are all looked up in the files of today: reading the files again takes longer than all the rest.
const MOST_PLACES: usize = 20_000;
/// Trials whose tests are not looked up at all, for the same reason.
const TOO_MANY_PLACES: usize = 200_000;

/// The selected trials of a run.
pub(crate) struct Cases<'a> {
    table: &'a RunTable,
    pub(crate) order: PlanOrder,
    /// Places in the plan.
    places: Vec<u32>,
    /// Rows of attempts before the result, by trial.
    unsettling: BTreeMap<u32, Vec<u32>>,
}

/// A trial with its newest result.
pub(crate) struct Case<'a> {
    pub(crate) trial: TrialId,
    /// Index of the test in the suite, if that is known.
    pub(crate) test: Option<u64>,
    /// The row that settles the trial.
    pub(crate) result: Option<RowRef<'a>>,
    /// The result by the known failures.
    pub(crate) state: KnownState,
    /// The newest row of a trial without a result.
    pub(crate) unsettled: Option<RowRef<'a>>,
    /// Bad attempts before the result, oldest first.
    pub(crate) retried: Vec<RowRef<'a>>,
}

/// Results of a provider's selected trials.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CaseCounts {
    pub(crate) counts: Counts,
    pub(crate) without_result: u64,
    /// Unexpected results without errors and timeouts.
    pub(crate) failures: u64,
    /// Unexpected errors and timeouts.
    pub(crate) errors: u64,
    /// Sum of the durations, in milliseconds.
    pub(crate) duration_ms: f64,
}

impl CaseCounts {
    pub(crate) fn trials(&self) -> u64 {
        self.counts.done() + self.without_result
    }
}

impl<'a> Cases<'a> {
    /// Finds the trials. `by_provider` sorts by provider first.
    pub(crate) fn read(document: &'a RunDocument, by_provider: bool) -> Result<Self, RecordError> {
        let table = &document.rows.table;
        let selected = document.rows.trials()?;
        let order = PlanOrder::read(table);
        let mut places = order.needed(table);
        if let Some(selected) = selected {
            places.retain(|place| order.number(*place).is_some_and(|one| selected.contains(&one)));
        }
        if by_provider {
            places.sort_by_key(|place| provider(table, &order, *place));
        }
        Ok(Self { table, order, places, unsettling: table.unsettling() })
    }

    /// Returns the places of the tests in the files of today: a path in the project, and a line. Of over [`MOST_PLACES`] trials,
    /// only of those that failed, which reviewers look for. Empty for over [`TOO_MANY_PLACES`], without these files, and for a run
    /// of another user, whose scenario may be any file.
    pub(crate) fn test_places(&self, manifest: &Manifest) -> HashMap<String, (String, usize)> {
        let path = Path::new(&manifest.scenario_path);
        let (Some(suite), Ok(_)) = (&self.order.suite, self.table.run().for_use()) else {
            return HashMap::new();
        };
        if self.places.len() > TOO_MANY_PLACES {
            return HashMap::new();
        }
        let Ok(scenario) = load(path, &manifest.metadata.selection.overrides) else {
            return HashMap::new();
        };
        let is_many = self.places.len() > MOST_PLACES;
        let named = self.places.iter().filter(|place| {
            !is_many || self.result(**place).is_some_and(|result| result.is_unexpected())
        });
        let trials = named.filter_map(|place| suite.trial_id((*place).into()));
        let ids: HashSet<_> = trials.map(|trial| trial.test).collect();
        let mut files: HashMap<String, String> = HashMap::new();
        let places = scenario.test_places(&ids.iter().map(|id| &**id).collect()).into_iter();
        let in_project = places.map(|(test, (file, line))| {
            let known = files.entry(file).or_insert_with_key(|file| {
                let real = fs::canonicalize(file).unwrap_or_else(|_| file.into());
                let inside = real.strip_prefix(scenario.project_folder()).unwrap_or(&real);
                inside.to_string_lossy().into_owned()
            });
            (test, (known.clone(), line))
        });
        in_project.collect()
    }

    /// Returns the result of a trial. `None` without one.
    fn result(&self, place: u32) -> Option<TableRow> {
        self.table.result(self.order.number(place)?)
    }

    /// Returns the results of each provider, in the manifest's order.
    pub(crate) fn counts(&self, providers: usize) -> Vec<CaseCounts> {
        let mut all = vec![CaseCounts::default(); providers];
        for place in &self.places {
            let provider = provider(self.table, &self.order, *place);
            let Some(of) = all.get_mut(provider) else { continue };
            match self.result(*place) {
                Some(newest) => {
                    newest.count(&mut of.counts);
                    let is_error = matches!(newest.outcome, Outcome::Error | Outcome::Timeout);
                    let count = if is_error { &mut of.errors } else { &mut of.failures };
                    *count += u64::from(newest.is_unexpected());
                    of.duration_ms += newest.ms();
                }
                None => of.without_result += 1,
            }
        }
        all
    }

    /// Returns the rows of each trial with its place: the unsettling ones, and last, marked by `true`, the newest one that counts.
    fn rows(&self) -> impl Iterator<Item = (u32, bool, Option<u32>)> {
        self.places.iter().flat_map(|place| {
            let trial = self.order.number(*place);
            let others = trial.and_then(|trial| self.unsettling.get(&trial)).into_iter().flatten();
            let newest = trial.and_then(|trial| self.table.newest(trial)).filter(TableRow::counts);
            let others = others.map(|row| (*place, false, Some(*row)));
            others.chain([(*place, true, newest.map(|row| row.number))])
        })
    }

    /// Calls `each` for every case in order, with its provider's index. The first error ends it.
    pub(crate) fn each(
        &self,
        mut each: impl FnMut(usize, &Case<'_>) -> Result<(), FormError>,
    ) -> Result<(), FormError> {
        // A run without rows may have no file of rows.
        if self.table.rows() == 0 {
            for place in &self.places {
                if let Some(case) = self.case(*place, Vec::new()) {
                    each(provider(self.table, &self.order, *place), &case)?;
                }
            }
            return Ok(());
        }
        let mut next = self.rows();
        let mut lines: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut written = Ok(());
        // A trial without a row has an empty line.
        let line_of = |row: Option<u32>| row.map(|row| self.table.place(row)).unwrap_or_default();
        self.table.run().rows_at(self.rows().map(|(.., row)| line_of(row)), &mut |line| {
            let Some((place, is_last, row)) = next.next() else { return };
            lines.extend(row.map(|row| (row, line.to_vec())));
            if !is_last {
                return;
            }
            if written.is_ok() {
                let rows = lines.iter().map(|(row, line)| self.table.parse(*row, line));
                written = match rows.filter_map(Result::transpose).collect() {
                    Ok(rows) => self.case(place, rows).map_or(Ok(()), |case| {
                        each(provider(self.table, &self.order, place), &case)
                    }),
                    Err(error) => Err(FormError::Record(error)),
                };
            }
            lines.clear();
        })?;
        written
    }

    /// Returns the case of a trial with these rows, as [`Self::rows`] returns them.
    fn case<'l>(&self, place: u32, mut retried: Vec<RowRef<'l>>) -> Option<Case<'l>> {
        let newest = retried.pop();
        let suite = self.order.suite.as_ref();
        let trial = match &newest {
            Some(row) => row.trial.clone(),
            None => suite?.trial_id(place.into())?,
        };
        let settled = self.result(place);
        let (result, unsettled) = if settled.is_some() { (newest, None) } else { (None, newest) };
        let state = settled.map(|row| row.state).unwrap_or_default();
        // Sessions may have made the same attempt again.
        retried.retain(|row| {
            row.outcome.is_bad()
                && result.as_ref().is_some_and(|result| row.attempt < result.attempt)
        });
        retried.sort_by_key(|row| row.attempt);
        let test = suite.map(|suite| suite.trial(place.into()).test);
        Some(Case { trial, test, result, state, unsettled, retried })
    }
}

/// Returns the index of the provider of the trial at a place.
fn provider(table: &RunTable, order: &PlanOrder, place: u32) -> usize {
    match &order.suite {
        Some(suite) => suite.trial(place.into()).provider.into(),
        None => table.provider(place),
    }
}

/// An error of a report that is written.
#[derive(Debug)]
pub enum FormError {
    /// The run cannot be read.
    Record(RecordError),
    /// The report cannot be written.
    Io(io::Error),
}

impl From<RecordError> for FormError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<io::Error> for FormError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(formatter),
            Self::Io(error) => error.fmt(formatter),
        }
    }
}
