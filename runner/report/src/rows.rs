//! Rows of a run, read from disk at each use instead of being kept in memory.

use std::collections::{HashMap, HashSet};

use runner_model::known::{Known, KnownState};
use runner_model::row::{Row, Tail, read_line};
use runner_model::{Outcome, Places as _, RowRef};
use runner_record::RecordError;
use runner_results::{PlanOrder, RowSelection, RunTable, hash, plan, rank};
use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

use crate::failures::{FailurePlace, Failures, StaleEntry};
use crate::{KnownResult, KnownTrial, failure, json::Items};

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
pub struct StoredRow {
    #[serde(flatten)]
    row: Row<'static>,
    #[serde(flatten)]
    tail: Tail,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}

/// The selected rows of a run.
#[derive(Debug)]
pub struct Rows {
    pub(crate) table: RunTable,
    pub(crate) which: RowSelection,
}

impl Rows {
    /// Returns the numbers of the trials with a selected row. `None` for all.
    pub(crate) fn trials(&self) -> Result<Option<HashSet<u32>>, RecordError> {
        if matches!(self.which, RowSelection::All) {
            return Ok(None);
        }
        let rows = self.table.select(&self.which)?.into_iter();
        Ok(Some(rows.map(|row| self.table.row(row).trial).collect()))
    }

    /// Calls `each` for every selected row and its line, in their order on disk.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, mut each: impl FnMut(&RowRef<'_>, &[u8])) -> Result<(), RecordError> {
        let rows = self.table.select(&self.which)?;
        self.table.each_row_in_order(&rows, |_, row, line| each(row, line))
    }

    /// Formats the selected rows, sorted as [`Failures::listed`]: rows with the same reason follow one another.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn grouped(
        &self,
        format: impl Fn(&RowRef<'_>, &Known) -> String,
    ) -> Result<Vec<String>, RecordError> {
        let known = self.table.known()?;
        let mut rows = Vec::new();
        let mut first = HashMap::new();
        let suite = plan::suite(self.table.run());
        self.each(|row, _| {
            let place = suite.as_ref().and_then(|suite| suite.index(&row.trial));
            // Without the plan, groups have the order of their first rows.
            let place = place.unwrap_or(rows.len() as u64);
            let group = (rank(row.outcome), hash(&failure::first_reason(row)));
            let first = first.entry(group).or_insert(place);
            *first = place.min(*first);
            rows.push((group, place, format(row, &known)));
        })?;
        rows.sort_by_key(|(group, place, _)| (group.0, first[group], *place));
        Ok(rows.into_iter().map(|(.., text)| text).collect())
    }

    /// Returns the selected trials whose results the list of known failures changes, in the order of their rows on disk.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn known(&self) -> Result<Vec<KnownTrial>, RecordError> {
        let known = self.table.known()?;
        let mut trials = Vec::new();
        let mut rows = self.table.select(&self.which)?;
        rows.retain(|row| {
            let row = self.table.row(*row);
            row.state != KnownState::Unlisted && self.table.result(row.trial) == Some(row)
        });
        self.table.each_row_in_order(&rows, |_, row, _| {
            let trial = row.trial.to_string();
            trials.extend(KnownResult::of(&known, row).map(|known| KnownTrial { trial, known }));
        })?;
        Ok(trials)
    }

    /// Groups the failures among the selected rows as [`Self::add_failures`] does.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn failures(&self) -> Result<Failures, RecordError> {
        let mut failures = Failures::default();
        self.add_failures(&mut failures)?;
        Ok(failures)
    }

    /// Groups failures as [`Self::failures`] does, without reading the plan again.
    pub(crate) fn failures_in(&self, order: &PlanOrder) -> Result<Failures, RecordError> {
        let mut failures = Failures::default();
        let selected = self.trials()?;
        add_failures(&self.table, selected.as_ref(), Some(order), &mut failures, |_, _| {})?;
        Ok(failures)
    }

    /// Adds the selected trials that failed, were skipped with a reason, are flaky, or wait for a retry.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn add_failures(&self, failures: &mut Failures) -> Result<(), RecordError> {
        add_failures(&self.table, self.trials()?.as_ref(), None, failures, |_, _| {})
    }
}

/// Adds the trials of `selected`, or of all, that failed unexpectedly, were skipped with a reason, are flaky, or wait for a retry.
/// Calls `each` with the row and the place of each failure. Reads the plan without its `order`.
pub(crate) fn add_failures(
    table: &RunTable,
    selected: Option<&HashSet<u32>>,
    order: Option<&PlanOrder>,
    failures: &mut Failures,
    mut each: impl FnMut(u32, FailurePlace),
) -> Result<(), RecordError> {
    let is_selected = |trial| selected.is_none_or(|trials| trials.contains(&trial));
    let known = table.known()?;
    let entries = known.list().entries.iter();
    failures.stale.extend(entries.filter_map(|entry| StaleEntry::of(entry, entry.stale)));
    let mut listed = Vec::new();
    for row in table.settling().filter(|row| is_selected(row.trial)) {
        if row.state == KnownState::Known {
            // Rows of known failures are not read.
            let (test, provider) = table.names(row.trial);
            let reason = known.entry(test, provider).map_or("", |entry| &entry.reason);
            let trial = format!("{test}@{provider}#{}", table.repeat(row.trial));
            failures
                .add_known(reason, &trial)
                .into_iter()
                .for_each(|place| each(row.number, place));
        } else if row.is_flaky() || row.outcome != Outcome::Passed || row.is_unexpected() {
            listed.push(row.number);
        }
    }
    let unsettling = table.unsettling().into_iter();
    let retried = unsettling
        .filter(|(trial, _)| !table.newest(*trial).is_some_and(|newest| newest.counts()))
        .flat_map(|(_, rows)| rows)
        .filter(|row| table.row(*row).outcome.is_bad());
    let retried = retried.filter(|row| is_selected(table.row(*row).trial));
    let rows: Vec<_> = listed.into_iter().chain(retried).collect();
    // Reading the plan takes longer than finding out that there is nothing to name.
    let is_read = order.is_some() || rows.is_empty();
    let suite = if is_read { None } else { plan::suite(table.run()) };
    let places = order.map(|order| order.places(table)).unwrap_or_default();
    table.each_row(rows, |indexed, row, _| {
        let place = match &suite {
            Some(suite) => suite.index(&row.trial),
            None => places.get(indexed.trial as usize).copied().flatten().map(u64::from),
        };
        match place {
            _ if indexed.settles() => {
                let place = place.unwrap_or(u64::MAX);
                let added = failures.add_result(row, place, &known);
                added.into_iter().flatten().for_each(|place| each(indexed.number, place));
            }
            Some(place) => failures.add_retried(row, place),
            None => {}
        }
    })
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
