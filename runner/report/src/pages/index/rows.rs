//! [`RunIndex`]: the rows of a run in 36 bytes each, and the row that counts for each trial.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_model::row::{RowHead, read_line};
use runner_model::{Digest, Outcome, RowRef, Time, TrialId};
use runner_record::{Manifest, ReadLine, RecordError, RowsFile, RunDir};

use super::plan::PlannedTrials;
use super::query::View;
use crate::SincePrevious;
use crate::pages::tables::{FailuresPage, RunTables};

/// No row, in a list of row numbers.
pub(super) const NO_ROW: u32 = u32::MAX;

/// The rows of a run, read as they are added. A run of 10^6 trials takes about 80 MB.
#[derive(Debug)]
pub struct RunIndex {
    pub(super) run: RunDir,
    /// The suite of `plan`.
    suite: Digest,
    pub(super) started_at: Time,
    pub(super) providers: Vec<String>,
    pub(super) plan: PlannedTrials,
    pub(super) rows: Vec<IndexedRow>,
    /// The file that was read, with the first byte that was not.
    file: Option<RowsFile>,
    end: u64,
    pub(super) damaged_lines: u64,
    /// The number of the row that counts for each trial, or [`NO_ROW`], among the first `newest_rev` rows.
    newest: Vec<u32>,
    newest_rev: usize,
    pub(super) views: Vec<View>,
    pub(super) since: Recent<Option<SincePrevious>>,
    pub(super) tables: Recent<RunTables>,
    pub(super) failures: Recent<FailuresPage>,
}

/// A row of a planned trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexedRow {
    /// The first byte, in two halves: a `u64` would make the row 4 bytes longer.
    at: [u32; 2],
    bytes: u32,
    /// The trial's place in the plan.
    pub(super) place: u32,
    seq: u32,
    pub(super) duration_ms: f32,
    /// NaN without a score.
    score: f32,
    /// End of the attempt, in milliseconds since the run's start.
    pub(super) ended_ms: u32,
    /// Index in [`RunIndex::providers`].
    pub(super) provider: u16,
    pub(super) outcome: Outcome,
    flags: u8,
}

const FLAKY: u8 = 1;
const SETTLES: u8 = 2;
const HAS_SUMS: u8 = 4;
const DENIES: u8 = 8;
const IS_REPEAT: u8 = 16;
/// Higher numbers of attempts are not distinguished. They have the three highest bits of the flags.
const MOST_ATTEMPTS: u32 = 7;

impl IndexedRow {
    fn new(
        row: &RowHead,
        (at, bytes): (u64, usize),
        place: u32,
        provider: u16,
        start: Time,
    ) -> Self {
        let settles = row.r#final && row.outcome.can_be_final();
        let flags = [
            (row.flaky, FLAKY),
            (settles, SETTLES),
            (row.has_metrics || !row.grades.is_empty(), HAS_SUMS),
            (row.denies(), DENIES),
            (row.trial.repeat > 1, IS_REPEAT),
        ];
        let attempt = row.attempt.min(MOST_ATTEMPTS) as u8;
        Self {
            at: [(at >> 32) as u32, at as u32],
            bytes: bytes as u32,
            place,
            seq: row.seq as u32,
            duration_ms: row.duration_ms as f32,
            score: row.trial_score().map_or(f32::NAN, |score| score as f32),
            ended_ms: row.ended_at().since(start).as_millis() as u32,
            provider,
            outcome: row.outcome,
            flags: flags
                .iter()
                .filter(|(is, _)| *is)
                .fold(attempt << 5, |all, (_, flag)| all | flag),
        }
    }

    pub(super) fn place_on_disk(&self) -> (u64, usize) {
        (u64::from(self.at[0]) << 32 | u64::from(self.at[1]), self.bytes as usize)
    }

    pub(super) fn score(&self) -> Option<f32> {
        Some(self.score).filter(|score| !score.is_nan())
    }

    pub(super) fn is_flaky(&self) -> bool {
        self.flags & FLAKY != 0
    }

    /// Returns the number of the attempt, up to [`MOST_ATTEMPTS`].
    pub(super) fn attempt(&self) -> u8 {
        self.flags >> 5
    }

    /// Returns whether the row has metrics or grades.
    pub(super) fn has_sums(&self) -> bool {
        self.flags & HAS_SUMS != 0
    }

    pub(super) fn denies(&self) -> bool {
        self.flags & DENIES != 0
    }

    pub(super) fn is_repeat(&self) -> bool {
        self.flags & IS_REPEAT != 0
    }

    /// Returns whether the row gives its trial a result.
    pub(super) fn settles(&self) -> bool {
        self.flags & SETTLES != 0
    }

    /// Returns whether the row counts: it has a result, or waits for a grader.
    pub(super) fn counts(&self) -> bool {
        self.settles() || self.outcome == Outcome::Ungraded
    }
}

impl RunIndex {
    /// Reads the rows of a run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, RecordError> {
        let manifest = run.manifest()?;
        let mut index = Self {
            run: run.clone(),
            suite: manifest.metadata.suite,
            started_at: manifest.started_at,
            providers: manifest.providers.iter().map(|one| one.name.clone()).collect(),
            plan: PlannedTrials::read(run)?,
            rows: Vec::new(),
            file: None,
            end: 0,
            damaged_lines: 0,
            newest: Vec::new(),
            newest_rev: 0,
            views: Vec::new(),
            since: Recent::default(),
            tables: Recent::default(),
            failures: Recent::default(),
        };
        index.rows.reserve_exact(index.plan.len());
        index.newest = vec![NO_ROW; index.plan.len()];
        index.add_rows()?;
        Ok(index)
    }

    /// Reads the rows that were added since the last call. Reads all again if another plan, other graders or another file have
    /// replaced those of the index.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn follow(&mut self) -> Result<Manifest, RecordError> {
        let (manifest, file) = (self.run.manifest()?, self.run.rows_file()?);
        let is_same_file = match (self.file, file) {
            (Some(old), Some(new)) => old.inode == new.inode && old.length <= new.length,
            (old, new) => old == new || old.is_none(),
        };
        let names = manifest.providers.iter().map(|one| &one.name);
        let is_same_plan = self.suite == manifest.metadata.suite && names.eq(&self.providers);
        if !is_same_plan || !is_same_file {
            *self = Self::read(&self.run)?;
        } else if self.file != file {
            self.add_rows()?;
        }
        Ok(manifest)
    }

    fn add_rows(&mut self) -> Result<(), RecordError> {
        self.file = self.run.rows_file()?;
        let (rows, damaged, end) = (&mut self.rows, &mut self.damaged_lines, self.end);
        // A last row without its line break was read before.
        while rows.last().is_some_and(|row| row.place_on_disk().0 >= end) {
            rows.pop();
        }
        self.newest_rev = if self.newest_rev > rows.len() { 0 } else { self.newest_rev };
        let (plan, providers, start) = (&self.plan, &self.providers, self.started_at);
        self.end = self.run.rows_from(end, &mut |at, line| match line {
            ReadLine::Row(row, bytes) => {
                let provider = providers.iter().position(|name| **name == *row.trial.provider);
                if let (Some(place), Some(provider)) = (plan.place(&row.trial), provider) {
                    let on_disk = (at, bytes.len());
                    rows.push(IndexedRow::new(&row, on_disk, place, provider as u16, start));
                }
            }
            ReadLine::Damaged(_) => *damaged += 1,
            ReadLine::Torn => {}
        })?;
        Ok(())
    }

    /// Returns the number of rows: the newest snapshot.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Returns the number of the row that counts for each trial, among the first `rev` rows.
    pub(super) fn newest(&mut self, rev: usize) -> &[u32] {
        if rev < self.newest_rev {
            self.newest.fill(NO_ROW);
            self.newest_rev = 0;
        }
        for number in self.newest_rev..rev {
            let row = self.rows[number];
            let newest = &mut self.newest[row.place as usize];
            // By the number in the run: another program may have sorted the file.
            let rank = |row: &IndexedRow| (row.settles(), row.seq);
            if *newest == NO_ROW || rank(&row) >= rank(&self.rows[*newest as usize]) {
                *newest = number as u32;
            }
        }
        self.newest_rev = rev;
        &self.newest
    }

    /// Returns the result of the last [`Self::newest`].
    pub(super) fn newest_rows(&self) -> &[u32] {
        &self.newest
    }

    /// Returns the row that counts for a trial, as of the last [`Self::newest`].
    pub(super) fn row_of(&self, place: u32) -> Option<IndexedRow> {
        let number = *self.newest.get(place as usize)?;
        (number != NO_ROW).then(|| self.rows[number as usize])
    }

    /// Returns the numbers of the newest rows of trials, as of the last [`Self::newest`], in the order of the plan.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.newest.iter().copied().filter(|number| *number != NO_ROW)
    }

    /// Returns the rows that count, as of the last [`Self::newest`], in the order of the plan.
    pub(super) fn counting(&self) -> impl Iterator<Item = IndexedRow> {
        self.numbers().map(|number| self.rows[number as usize]).filter(IndexedRow::counts)
    }

    /// Calls `each` for the rows with these numbers, read from disk.
    pub(super) fn each_row(
        &self,
        numbers: impl Iterator<Item = u32>,
        mut each: impl FnMut(IndexedRow, &RowRef<'_>),
    ) -> Result<(), RecordError> {
        let mut numbers: Vec<_> = numbers.collect();
        // Reading them in their order on disk takes half of the time.
        numbers.sort_unstable();
        if numbers.is_empty() {
            return Ok(());
        }
        let rows = || numbers.iter().map(|number| self.rows[*number as usize]);
        let mut next = rows();
        self.run.rows_at(rows().map(|row| row.place_on_disk()), &mut |line| {
            if let (Some(indexed), Ok(row)) = (next.next(), read_line(line)) {
                each(indexed, &row);
            }
        })
    }

    /// Returns the trial at a place of the plan, from 0.
    ///
    /// # Errors
    ///
    /// The row that names it cannot be read.
    pub fn trial(&self, place: u64) -> Result<Option<TrialId>, RecordError> {
        let Some(place) = u32::try_from(place).ok().filter(|at| (*at as usize) < self.plan.len())
        else {
            return Ok(None);
        };
        if let Some(trial) = self.plan.trial(place) {
            return Ok(Some(trial));
        }
        let number = self.rows.iter().position(|row| row.place == place);
        let mut found = None;
        let number = number.map(|number| number as u32).into_iter();
        self.each_row(number, |_, row| found = Some(row.trial.clone()))?;
        Ok(found)
    }
}

/// A result of a run that is running is kept for this many times the time that it took.
const TIMES: u32 = 10;

/// The last result of a computation, with its snapshot. It is computed again once its inputs have changed, but not all the time.
#[derive(Debug)]
pub(super) struct Recent<T>(Option<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    rev: u64,
    until: Instant,
    value: Arc<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Recent<T> {
    /// Returns the kept result if it is of this snapshot. Also if it is of an earlier one of a run that is running, and recent.
    pub(super) fn get(&self, rev: u64, is_running: bool) -> Option<Arc<T>> {
        let kept = self.0.as_ref()?;
        let is_valid = kept.rev == rev || is_running && Instant::now() < kept.until;
        is_valid.then(|| kept.value.clone())
    }

    /// Keeps the result of `compute`.
    pub(super) fn keep(
        &mut self,
        rev: u64,
        took: Duration,
        value: Result<T, RecordError>,
    ) -> Result<Arc<T>, RecordError> {
        let value = Arc::new(value?);
        let until = Instant::now() + took * TIMES;
        self.0 = Some(Kept { rev, until, value: value.clone() });
        Ok(value)
    }
}
