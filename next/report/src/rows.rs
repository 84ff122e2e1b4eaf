//! Rows of a run, read from disk at each use instead of being kept in memory.

use std::{cell::RefCell, collections::HashSet};

use runner_model::row::{RowHead, read_line};
use runner_model::{Counts, Outcome, RowRef, status::RunVerdict};
use runner_record::{Manifest, ReadLine, RecordError, RunDir, UnplannedFold};
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

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

/// Selection of rows for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Rows that settle their trials with a failure, an error or a timeout.
    Failed,
}

/// The rows of a run, read from disk at each use.
#[derive(Debug)]
pub struct Rows {
    run: RunDir,
    which: Which,
    settled: Settled,
}

/// The row that settles each trial, from the list of a run's providers. Some 45 bytes a trial.
#[derive(Debug)]
pub(crate) struct Settled {
    fold: UnplannedFold,
    /// By the numbers of `fold`.
    newest: Vec<Option<Final>>,
}

/// A row that settles its trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Final {
    seq: u64,
    pub(crate) duration_ms: f32,
    /// Index in the list of providers.
    pub(crate) provider: u16,
    pub(crate) outcome: Outcome,
    pub(crate) flaky: bool,
}

impl Settled {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        Self { fold: UnplannedFold::new(manifest), newest: Vec::new() }
    }

    /// Adds a row. Rows of other providers than these settle nothing, and neither do those of trials that the plan lacks.
    pub(crate) fn add(&mut self, row: &RowHead, providers: &[&str], is_planned: bool) {
        let Some((number, effect)) = self.fold.add(row) else { return };
        self.newest.resize(self.newest.len().max(number + 1), None);
        let provider = providers.iter().position(|name| **name == *row.trial.provider);
        if let (true, Some(provider)) = (effect.settles && is_planned, provider) {
            self.newest[number] = Some(Final {
                seq: row.seq,
                duration_ms: row.duration_ms as f32,
                provider: provider as u16,
                outcome: row.outcome,
                flaky: row.flaky,
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

    /// Returns whether this row settles its trial.
    fn is_by(&self, row: &RowHead) -> bool {
        let number = self.fold.number(&row.trial);
        let newest = number.and_then(|number| *self.newest.get(number)?);
        row.r#final && newest.is_some_and(|newest| newest.seq == row.seq)
    }

    /// Returns the settling row of every trial, in no order.
    pub(crate) fn finals(&self) -> impl Iterator<Item = Final> {
        self.newest.iter().flatten().copied()
    }
}

impl Rows {
    pub(crate) fn new(run: &RunDir, which: Which, settled: Settled) -> Self {
        Self { run: run.clone(), which, settled }
    }

    /// Calls `each` for every selected row and its line, in their order on disk.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, mut each: impl FnMut(&RowRef<'_>, &[u8])) -> Result<(), RecordError> {
        if self.which == Which::Failed {
            return self.failures(each);
        }
        self.run.rows(&mut |_, line| {
            if let ReadLine::Row(_, bytes) = line
                && let Ok(row) = read_line(bytes)
            {
                each(&row, bytes);
            }
        })
    }

    /// Calls `each` for every row that settles its trial badly.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn failures(&self, mut each: impl FnMut(&RowRef<'_>, &[u8])) -> Result<(), RecordError> {
        if !self.settled.finals().any(|row| row.outcome.is_bad()) {
            return Ok(());
        }
        // Another program may have doubled rows.
        let mut seen = HashSet::new();
        self.run.rows(&mut |_, line| {
            if let ReadLine::Row(head, bytes) = line
                && head.outcome.is_bad()
                && self.settled.is_by(&head)
                && seen.insert(head.seq)
                && let Ok(row) = read_line(bytes)
            {
                each(&row, bytes);
            }
        })
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeSeq as _;
        let rows = RefCell::new((serializer.serialize_seq(None)?, None));
        let read = self.each(|_, line| {
            let (rows, failed) = &mut *rows.borrow_mut();
            if failed.is_none() {
                let row = serde_json::from_slice::<&RawValue>(line).map_err(ser::Error::custom);
                *failed = row.and_then(|row| rows.serialize_element(row)).err();
            }
        });
        let (rows, failed) = rows.into_inner();
        read.map_err(ser::Error::custom)?;
        failed.map_or_else(|| rows.end(), Err)
    }
}
