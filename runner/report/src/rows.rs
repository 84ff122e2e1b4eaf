//! Rows of a run, read from disk at each use instead of being kept in memory.
//!
//! A command reads a run once, with [`Settled`], which needs no plan. A server follows it, with [`RunIndex`](crate::RunIndex), which
//! knows the place of each row in the plan.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;

use runner_model::row::{Row, RowHead, Tail, read_line};
use runner_model::{Counts, Outcome, Places as _, RowRef, TrialId, status::RunVerdict};
use runner_record::{Manifest, ReadLine, RecordError, RunDir, UnplannedFold};
use runner_scenario::{Filter, RowFilter, TestLabels};
use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

use crate::results::{Column, Final, add_sums};
use crate::{Failures, failure, failures, json::Items, logs::hash, stored_tests};

/// A row as on disk.
#[derive(Clone, Debug)]
pub struct Line(Box<str>);

impl Line {
    /// Copies a line. `None` if it is not UTF-8.
    pub fn of(line: &[u8]) -> Option<Self> {
        std::str::from_utf8(line).ok().map(|line| Self(line.into()))
    }

    /// Parses the row. `None` only if the line is not a row.
    pub fn row(&self) -> Option<RowRef<'_>> {
        read_line(self.0.as_bytes()).ok()
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }
}

// Programs read and write a line in parts.
/// A row: a line of `index.jsonl`, the result of an attempt.
#[derive(JsonSchema)]
#[schemars(rename = "Row")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct StoredRow {
    #[serde(flatten)]
    row: Row<'static>,
    #[serde(flatten)]
    tail: Tail,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}

/// Selection of rows for a document.
#[derive(Clone, Debug)]
pub enum RowSelection {
    All,
    /// Rows that settle their trials.
    Settling,
    /// Rows that settle their trials with a failure, an error or a timeout.
    Failed,
    /// All rows of trials that passed after an attempt that did not, except `ungraded` ones.
    Flaky,
    /// Rows that settle their trials and match a filter, whose runs are looked up.
    Matching(Filter),
}

impl RowSelection {
    /// Returns the text of the filter.
    pub(crate) fn filter(&self) -> Option<&str> {
        if let Self::Matching(filter) = self { Some(filter.text()) } else { None }
    }
}

/// The rows of a run, read from disk at each use.
#[derive(Debug)]
pub struct Rows {
    pub(crate) run: RunDir,
    pub(crate) which: RowSelection,
    pub(crate) settled: Settled,
}

/// The row that settles each trial, from the list of a run's providers. Some 70 bytes a trial.
#[derive(Debug)]
pub(crate) struct Settled {
    fold: UnplannedFold,
    /// By the numbers of `fold`.
    newest: Vec<Option<Final>>,
    /// Bad and stopped attempts that do not settle their trials, by number: first byte and number of bytes.
    unsettling: BTreeMap<usize, Vec<(u64, usize)>>,
    /// Whether a row has metrics or grades.
    has_sums: bool,
}

impl Settled {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        // A damaged manifest may count more than there is memory.
        let newest = Vec::with_capacity(manifest.counts.done().min(1 << 20) as usize);
        let (fold, unsettling) = (UnplannedFold::new(manifest), BTreeMap::new());
        Self { fold, newest, unsettling, has_sums: false }
    }

    /// Adds a row of `bytes` bytes at `at`, of a test with this `meta`. Rows of other providers than these settle nothing, and
    /// neither do those of trials that the plan lacks.
    pub(crate) fn add(
        &mut self,
        row: &RowHead,
        (at, bytes): (u64, usize),
        providers: &[&str],
        is_planned: bool,
        meta: u32,
    ) {
        self.has_sums |= row.has_metrics || !row.grades.is_empty();
        let Some((number, effect)) = self.fold.add(row) else { return };
        self.newest.resize(self.newest.len().max(number + 1), None);
        let provider = providers.iter().position(|name| **name == *row.trial.provider);
        let Some(provider) = provider.filter(|_| is_planned) else { return };
        if !row.r#final && row.outcome != Outcome::Ungraded {
            self.unsettling.entry(number).or_default().push((at, bytes));
        }
        let newest = &mut self.newest[number];
        if effect.settles || newest.is_none_or(|row| row.outcome == Outcome::Ungraded) {
            let is_counted = effect.settles || row.outcome == Outcome::Ungraded;
            *newest = is_counted.then(|| Final {
                at,
                bytes: bytes as u32,
                duration_ms: row.duration_ms as f32,
                provider: provider as u16,
                outcome: row.outcome,
                flaky: row.flaky,
                is_repeat: row.trial.repeat > 1,
                score: row.trial_score().map(|score| score as f32),
                meta,
            });
        }
    }

    /// Sets counts and verdict of a run that has ended to those of its rows. The verdict is `damaged` unless the rows are those
    /// that the manifest counts; `is_same` if they are as the last session left them.
    pub(crate) fn judge(&mut self, manifest: &mut Manifest, is_same: bool) {
        let mut counts = Counts::default();
        self.finals().for_each(|row| counts.add(row.outcome, row.flaky));
        if counts == manifest.counts && is_same {
            return;
        }
        self.fold.judge(manifest);
        if counts != manifest.counts {
            (manifest.counts, manifest.verdict) = (counts, RunVerdict::Damaged);
        }
    }

    /// Returns the number of a trial that has rows.
    pub(crate) fn number(&self, trial: &TrialId) -> Option<usize> {
        self.fold.number(trial)
    }

    /// Returns the number of trials that have rows.
    pub(crate) fn numbers(&self) -> usize {
        self.newest.len()
    }

    /// Returns the row that settles the trial of a number, or the newest one that is `ungraded`.
    pub(crate) fn newest(&self, number: usize) -> Option<Final> {
        *self.newest.get(number)?
    }

    /// Returns the places of the bad and stopped attempts of a trial that do not settle it.
    pub(crate) fn unsettling(&self, number: usize) -> &[(u64, usize)] {
        self.unsettling.get(&number).map_or(&[], Vec::as_slice)
    }

    /// Returns the row that settles this trial.
    fn of(&self, trial: &TrialId) -> Option<Final> {
        self.newest(self.fold.number(trial)?)
    }

    /// Returns the settling or ungraded row of every trial, in no order.
    pub(crate) fn finals(&self) -> impl Iterator<Item = Final> {
        self.newest.iter().flatten().copied()
    }
}

impl Rows {
    pub(crate) fn new(run: &RunDir, which: RowSelection, settled: Settled) -> Self {
        Self { run: run.clone(), which, settled }
    }

    /// Calls `each` for every selected row and its line, in their order on disk.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, mut each: impl FnMut(&RowRef<'_>, &[u8])) -> Result<(), RecordError> {
        self.each_at(|_, row, line| each(row, line))
    }

    /// Calls `each` for every selected row and its line: trials in the order of the plan, then those that the plan lacks; rows of
    /// a trial in their order on disk. Uses 16 bytes of memory per row.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each_in_plan_order(
        &self,
        mut each: impl FnMut(&RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        let (place, mut places) = (self.places(), Vec::new());
        self.each_at(|at, row, line| {
            let place = place(&row.trial).and_then(|place| u32::try_from(place).ok());
            places.push((place.unwrap_or(u32::MAX), line.len() as u32, at));
        })?;
        places.sort_unstable_by_key(|(place, _, at)| (*place, *at));
        let places = places.into_iter().map(|(_, bytes, at)| (at, bytes as usize));
        self.run.rows_at(places, &mut |line| {
            if let Ok(row) = read_line(line) {
                each(&row, line);
            }
        })
    }

    /// Calls `each` for every selected row, its first byte on disk, and its line.
    fn each_at(&self, each: impl FnMut(u64, &RowRef<'_>, &[u8])) -> Result<(), RecordError> {
        let is_flaky = |_, head: &RowHead| {
            let newest = self.settled.of(&head.trial);
            head.outcome != Outcome::Ungraded && newest.is_some_and(|newest| newest.flaky)
        };
        match &self.which {
            RowSelection::All => self.select(|_, _| true, each),
            RowSelection::Settling => self.settling(|_| true, each),
            RowSelection::Matching(filter) => self.matching(filter, each),
            RowSelection::Failed => self.settling(|newest| newest.outcome.is_bad(), each),
            RowSelection::Flaky => self.select(is_flaky, each),
        }
    }

    /// Calls `each` for the rows that settle trials and match a filter.
    fn matching(
        &self,
        filter: &Filter,
        mut each: impl FnMut(u64, &RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        let filter = row_filter(&self.run, filter)?;
        self.settling(
            |_| true,
            |at, row, line| {
                if filter.matches(row) {
                    each(at, row, line);
                }
            },
        )?;
        filter.finish()
    }

    /// Formats the selected rows, sorted as [`Failures::listed`]: rows with the same reason follow one another.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn grouped(
        &self,
        format: impl Fn(&RowRef<'_>) -> String,
    ) -> Result<Vec<String>, RecordError> {
        let (mut rows, mut first) = (Vec::new(), HashMap::new());
        let place = self.places();
        self.each(|row, _| {
            let (place, rank) =
                (place(&row.trial).unwrap_or(u64::MAX), failures::rank(row.outcome));
            let group = (rank, hash(&failure::headline(row)));
            let first = first.entry(group).or_insert(place);
            *first = place.min(*first);
            rows.push((group, place, format(row)));
        })?;
        rows.sort_by_key(|(group, place, _)| (group.0, first[group], *place));
        Ok(rows.into_iter().map(|(.., text)| text).collect())
    }

    /// Adds the trials that failed, were skipped with a reason, are flaky, or wait for a retry.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn add_failures(&self, failures: &mut Failures) -> Result<(), RecordError> {
        let place = self.places();
        self.settling(
            |newest| newest.flaky || newest.outcome != Outcome::Passed,
            |_, row, _| failures.add(row, place(&row.trial).unwrap_or(u64::MAX)),
        )?;
        if self.settled.newest.iter().all(Option::is_some) {
            return Ok(());
        }
        let is_retried = |_, head: &RowHead| {
            !head.r#final && head.outcome.is_bad() && self.settled.of(&head.trial).is_none()
        };
        self.select(is_retried, |_, row, _| {
            if let Some(place) = place(&row.trial) {
                failures.add_retried(row, place);
            }
        })
    }

    /// Returns a function that finds the places of trials in the plan.
    fn places(&self) -> impl Fn(&TrialId) -> Option<u64> {
        let suite = OnceCell::new();
        move |trial| {
            let suite = suite.get_or_init(|| stored_tests::plan(&self.run));
            suite.as_ref()?.index(trial)
        }
    }

    /// Returns the results of the providers with these names, and the answers of those of them that are graders.
    pub(crate) fn columns(&self, names: &[&str]) -> Result<Vec<Column>, RecordError> {
        let mut columns = vec![Column::default(); names.len()];
        for row in self.settled.finals() {
            columns[usize::from(row.provider)].add(row);
        }
        if !self.settled.has_sums {
            return Ok(columns);
        }
        self.settling(|_| true, |_, row, _| add_sums(&mut columns, names, row))?;
        Ok(columns)
    }

    /// Calls `each` for the rows that settle trials and that `is_wanted` selects.
    fn settling(
        &self,
        is_wanted: impl Fn(&Final) -> bool,
        each: impl FnMut(u64, &RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        if !self.settled.finals().any(|newest| is_wanted(&newest)) {
            return Ok(());
        }
        // By the place: another program may have doubled rows.
        let is_selected = |at, head: &RowHead| {
            let newest = self.settled.of(&head.trial).filter(|newest| newest.at == at);
            head.r#final && newest.is_some_and(|newest| is_wanted(&newest))
        };
        self.select(is_selected, each)
    }

    fn select(
        &self,
        is_wanted: impl Fn(u64, &RowHead) -> bool,
        mut each: impl FnMut(u64, &RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        self.run.rows(&mut |at, line| {
            if let ReadLine::Row(head, bytes) = line
                && is_wanted(at, &head)
                && let Ok(row) = read_line(bytes)
            {
                each(at, &row, bytes);
            }
        })
    }
}

/// Prepares a resolved filter for the rows of a run: reads the tags and `meta` that it needs.
pub(crate) fn row_filter<'a>(
    run: &'a RunDir,
    filter: &'a Filter,
) -> Result<RowFilter<'a, RecordError>, RecordError> {
    let mut labels = TestLabels::default();
    if filter.needs_tests() {
        let suite = BufReader::new(run.content(&run.manifest()?.metadata.suite)?);
        let (what, path) = ("read the stored tests of", run.path());
        labels =
            TestLabels::read(suite).map_err(|source| RecordError::Io { what, path, source })?;
    }
    Ok(RowFilter::new(filter, labels, |row| run.log(row)))
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = Items::new(serializer)?;
        let read = self.each(|_, line| {
            // A row is JSON.
            let row: Result<&RawValue, _> = serde_json::from_slice(line);
            row.iter().for_each(|row| rows.add(*row));
        });
        rows.end(read)
    }
}
