//! [`RowSelection`]: rows of a table for a document.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use runner_model::{Outcome, RowRef, Text, TrialId};
use runner_record::{RecordError, RunDir};
use runner_scenario::{AttemptFiles, Filter, RowFilter, TestLabels};

use crate::{RunTable, TableRow};

/// Maximum number of skipped attempts that are reported.
const MAX_REPORTED: usize = 20;
static REPORT: OnceLock<fn(&str)> = OnceLock::new();
static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Sets a function that reports attempts whose files cannot be read, so that filters skip them. It is called once for each of the
/// first attempts of the process.
pub fn report_unreadable(report: fn(&str)) {
    let _ = REPORT.set(report);
}

/// A selection of rows.
#[derive(Clone, Debug)]
pub enum RowSelection {
    All,
    /// Rows that settle their trials with a result that makes the verdict `failed`.
    Failed,
    /// All rows of trials that passed after an attempt that did not, except `ungraded` ones.
    Flaky,
    /// Rows that settle their trials and match a filter, whose runs are looked up.
    Matching(Filter),
}

impl RowSelection {
    /// Returns the text of the filter.
    pub fn filter(&self) -> Option<&str> {
        if let Self::Matching(filter) = self { Some(filter.text()) } else { None }
    }
}

impl RunTable {
    /// Returns the selected rows, in their order on disk.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn select(&self, which: &RowSelection) -> Result<Vec<u32>, RecordError> {
        let is_of_flaky = |row: &TableRow| {
            let newest = self.newest(row.trial);
            row.outcome != Outcome::Ungraded && newest.is_some_and(|newest| newest.is_flaky())
        };
        let mut rows: Vec<u32> = match which {
            RowSelection::All => (0..self.rows()).collect(),
            RowSelection::Failed => {
                self.settling().filter(TableRow::is_unexpected).map(|row| row.number).collect()
            }
            RowSelection::Flaky => {
                let rows = (0..self.rows()).map(|number| self.row(number));
                rows.filter(is_of_flaky).map(|row| row.number).collect()
            }
            RowSelection::Matching(filter) => {
                self.matching(filter, self.settling().map(|row| row.number))?
            }
        };
        rows.sort_unstable_by_key(|row| self.place(*row));
        Ok(rows)
    }

    /// Returns the rows that match a filter, in their order on disk if it reads texts, or else in the given order.
    pub(crate) fn matching(
        &self,
        filter: &Filter,
        rows: impl Iterator<Item = u32>,
    ) -> Result<Vec<u32>, RecordError> {
        let mut matching = Vec::new();
        let needs_ids = filter.needs_ids();
        let texts = filter.needs_texts();
        let filter = row_filter(&self.run, filter)?;
        if texts {
            self.each_row(rows, |indexed, row, _| {
                if filter.matches(row) {
                    matching.push(indexed.number);
                }
            })?;
        } else if let Some(any) = self.trial_id(0) {
            // Parsing an id takes longer than the rest.
            let id = |trial| if needs_ids { self.trial_id(trial) } else { Some(any.clone()) };
            matching.extend(rows.filter(|number| {
                let row = self.row(*number);
                id(row.trial)
                    .is_some_and(|id| filter.matches_head(&without_texts(row, &id), row.state))
            }));
        }
        filter.finish()?;
        Ok(matching)
    }
}

/// Prepares a resolved filter for the rows of a run: reads the tags, `meta` and known failures that it needs.
///
/// # Errors
///
/// The stored tests or known failures cannot be read.
pub fn row_filter<'a>(
    run: &'a RunDir,
    filter: &'a Filter,
) -> Result<RowFilter<'a, RecordError>, RecordError> {
    let mut labels = TestLabels::default();
    if filter.needs_tests() {
        let suite = BufReader::new(run.content(&run.manifest()?.metadata.suite)?);
        let what = "read the stored tests of";
        let path = run.path();
        labels =
            TestLabels::read(suite).map_err(|source| RecordError::Io { what, path, source })?;
    }
    let mut known = Arc::default();
    if filter.needs_known() {
        known = run.known(&run.manifest()?)?;
    }
    Ok(RowFilter::new(filter, labels, known, Files(run)))
}

/// The files of a run's attempts.
struct Files<'a>(&'a RunDir);

impl AttemptFiles<RecordError> for Files<'_> {
    fn log(&self, row: &RowRef<'_>) -> Result<Option<String>, RecordError> {
        or_skip(row, self.0.log(row).map(Option::unwrap_or_default))
    }

    fn changed(&self, row: &RowRef<'_>) -> Result<Option<Vec<String>>, RecordError> {
        match row.workspace {
            Some(left) if !left.is_kept() => return Ok(None),
            Some(left) if left.changes.is_some() => {}
            _ => return Ok(Some(Vec::new())),
        }
        let changes = self.0.workspace(row).map(|files| files.tree.changes);
        let paths = changes.map(|changes| changes.into_iter().map(|change| change.path).collect());
        or_skip(row, paths)
    }
}

/// Returns the read value. Reports a damaged file and returns `None`.
fn or_skip<T>(row: &RowRef<'_>, read: Result<T, RecordError>) -> Result<Option<T>, RecordError> {
    let error = match read {
        Err(error) if !error.is_exhausted() => error,
        read => return read.map(Some),
    };
    let text = format!("the filter skips `{}`, attempt {}: {error}", row.trial, row.attempt);
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let (true, Some(report)) = (reported.len() < MAX_REPORTED, REPORT.get())
        && reported.insert(text.clone())
    {
        let is_last = reported.len() == MAX_REPORTED;
        report(&if is_last { format!("{text}; others are not named") } else { text });
    }
    Ok(None)
}

/// Creates a row with the keys that a filter without texts reads.
pub(crate) fn without_texts(row: TableRow, trial: &TrialId) -> RowRef<'_> {
    RowRef {
        trial: trial.clone(),
        test: Text::from(&*trial.test),
        provider: Text::from(&*trial.provider),
        repeat: trial.repeat,
        attempt: row.attempt().into(),
        outcome: row.outcome,
        duration_ms: row.ms(),
        flaky: row.is_flaky(),
        r#final: Some(true),
        ..RowRef::default()
    }
}
