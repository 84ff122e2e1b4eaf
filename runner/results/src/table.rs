//! [`RunTable`]: the rows of a run in columns, and the row that counts for each trial.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::hash::RandomState;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use runner_model::known::{Known, KnownState};
use runner_model::row::{BadLine, MetricSums, read_line};
use runner_model::{Counts, ProviderName, RowRef, TestId, Time, TrialId, status::RunVerdict};
use runner_record::{Fold, FoldSums, Manifest, RecordError, RowsFile, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{LENGTH_BITS, Names, RowEntry, Sparse, TrialEntry, replace_newest};
use crate::{row::NO_ROW, row::TableRow};

/// The rows of a run, read once. Trials have numbers from 0 in the order of their first rows, and rows in the order in which they
/// were written. Takes 32 bytes a row, up to 41 more with scores, tokens, costs and known failures, 16 a trial,
/// and the ids of tests.
#[derive(Debug)]
pub struct RunTable {
    pub(crate) run: RunDir,
    pub(crate) basis: Basis,
    /// The file that was read. `None` without rows.
    pub(crate) file: Option<RowsFile>,
    pub(crate) tests: Names,
    /// Providers of the manifest, then those that only rows name.
    pub(crate) providers: Vec<String>,
    pub(crate) trials: Vec<TrialEntry>,
    pub(crate) rows: Vec<RowEntry>,
    /// By row.
    pub(crate) scores: Sparse,
    /// Of the provider, then of the graders.
    pub(crate) tokens: [Sparse; 2],
    pub(crate) costs: [Sparse; 2],
    /// Places in [`KnownState::ALL`]. Its end without listed results is missing.
    pub(crate) states: Vec<u8>,
    /// Read by [`Self::known`].
    pub(crate) known: OnceLock<Arc<Known>>,
    /// `None` unless rows may be added.
    pub(crate) adding: Option<Adding>,
    pub(crate) sums: FoldSums,
    /// Trials that the plan lacks. They have rows, and never count.
    pub(crate) unplanned: HashSet<u32>,
    /// Whether the plan could not be read, so that trials that it lacks count.
    pub(crate) lacks_plan: bool,
    pub(crate) totals: Totals,
    /// Numbers of rows, by test and repeat. Created by the first question about a trial.
    pub(crate) by_repeat: OnceLock<Vec<u32>>,
    /// The test of the last question about a trial.
    pub(crate) last_test: AtomicU32,
}

/// The parts of a manifest that a table depends on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Basis {
    pub(crate) suite: runner_model::Digest,
    pub(crate) started_at: Time,
    pub(crate) last_session: u32,
    pub(crate) has_adopted: bool,
    /// The list of known failures.
    pub(crate) known: Option<runner_model::Digest>,
    /// Providers, then graders.
    pub(crate) providers: Vec<String>,
}

/// Counts over all lines.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Lines without a readable row.
    pub damaged_lines: u64,
    /// The first line of another version, with the reason.
    pub other_version: Option<String>,
    /// Attempts and errors by the name of a worker on another machine.
    pub workers: BTreeMap<String, (u64, u64)>,
    /// Tokens and cost of all attempts and grades.
    pub paid: Paid,
    /// Numbers from 1 of these workers' processes, by their names in rows.
    pub(crate) processes: BTreeMap<String, u16>,
    /// The least number of a row by session.
    pub(crate) first_rows: BTreeMap<u32, u64>,
}

/// Tokens and cost of all attempts and grades of a run, also of those that decided nothing: retried attempts, outputs that wait
/// for graders, and judgements that were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Paid {
    /// Absent if nothing has reported any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// In dollars. Absent if nothing has a cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl Paid {
    /// Returns whether nothing has reported tokens or a cost.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add(&mut self, sums: MetricSums) {
        // A negative count would hide those of other attempts, and JSON has no infinite sum.
        let plus = |sum: &mut Option<f64>, more: Option<f64>| {
            if let Some(more) = more {
                *sum = Some((sum.unwrap_or(0.0) + more.max(0.0)).min(f64::MAX));
            }
        };
        plus(&mut self.tokens, sums.tokens);
        plus(&mut self.cost_usd, sums.cost_usd);
    }
}

/// The state that only further rows need. A table of a run that has ended drops it.
#[derive(Debug, Default)]
pub(crate) struct Adding {
    pub(crate) fold: Fold,
    /// Indexes in the fold by trial. Empty without adaptive repeats, when they are the numbers of the trials.
    pub(crate) indexes: Vec<u64>,
    pub(crate) known: Arc<Known>,
    /// The first byte that was not read.
    pub(crate) end: u64,
    /// Session and number of the last row.
    pub(crate) last: (u32, u64),
    pub(crate) hasher: RandomState,
    /// Hashes of the grades whose metrics are counted: a row repeats those of the row that it judges.
    pub(crate) grades: HashSet<u64>,
    /// Numbers of tests, by id.
    pub(crate) tests: HashTable<u32>,
    /// Numbers of trials, by test, provider and repeat.
    pub(crate) trials: HashTable<u32>,
}

impl RunTable {
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// Reads the known failures that the run is judged by.
    ///
    /// # Errors
    ///
    /// The list is lost or damaged.
    pub fn known(&self) -> Result<Arc<Known>, RecordError> {
        if let (None, Some(_)) = (self.known.get(), self.basis.known) {
            let known = self.run.known(&self.run.manifest()?)?;
            let _ = self.known.set(known);
        }
        Ok(self.known.get().cloned().unwrap_or_default())
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Returns the number of trials with a row.
    pub fn trials(&self) -> u32 {
        self.trials.len() as u32
    }

    /// Returns the counts over all lines.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn row(&self, number: u32) -> TableRow {
        let RowEntry { trial, outcome, duration_ms, ended_ms, flags, worker, .. } =
            self.rows[number as usize];
        let score = self.scores.get(number);
        let state = self.states.get(number as usize).copied().unwrap_or_default();
        let state = KnownState::ALL.get(usize::from(state)).copied().unwrap_or_default();
        TableRow { number, trial, outcome, duration_ms, score, ended_ms, worker, state, flags }
    }

    /// Returns the row that settles a planned trial, or else its last one.
    pub fn newest(&self, trial: u32) -> Option<TableRow> {
        let entry = self.trials.get(trial as usize)?;
        self.is_planned(trial).then(|| self.row(entry.newest))
    }

    /// Returns the result of a planned trial.
    pub fn result(&self, trial: u32) -> Option<TableRow> {
        self.newest(trial).filter(TableRow::settles)
    }

    /// Returns the name of a worker on another machine with the number of its process, by the number in rows.
    pub fn worker(&self, number: u16) -> Option<&str> {
        let mut processes = self.totals.processes.iter();
        processes.find(|(_, process)| **process == number).map(|(name, _)| name.as_str())
    }

    /// Returns the newest row that counts for each trial, in the order of their first rows.
    pub fn counting(&self) -> impl Iterator<Item = TableRow> {
        (0..self.trials()).filter_map(|trial| self.newest(trial)).filter(TableRow::counts)
    }

    /// Returns the newest result of each trial, in the order of their first rows.
    pub fn settling(&self) -> impl Iterator<Item = TableRow> {
        (0..self.trials()).filter_map(|trial| self.result(trial))
    }

    /// Returns the row that counts for each trial among the first `rows` rows, or [`NO_ROW`].
    pub(crate) fn newest_of_first(&self, rows: u32) -> Vec<u32> {
        let mut newest = vec![NO_ROW; self.trials() as usize];
        for number in 0..rows {
            let trial = self.rows[number as usize].trial;
            replace_newest(&self.rows, &mut newest[trial as usize], number);
        }
        newest
    }

    /// Sets counts and verdict of a run that has ended to those of its rows. The verdict is `damaged` unless the rows are those
    /// that the manifest counts; `is_same` if they are as the last session left them.
    pub fn judge(&self, manifest: &mut Manifest, is_same: bool) {
        let mut counts = Counts::default();
        self.counting().for_each(|row| row.count(&mut counts));
        counts.not_needed = self.fold_sums().counts.not_needed;
        if counts == manifest.counts && is_same {
            return;
        }
        self.fold_sums().judge(manifest);
        if counts != manifest.counts {
            (manifest.counts, manifest.verdict) = (counts, RunVerdict::Damaged);
        }
    }

    /// Returns the rows of attempts that did not end their planned trials, and that no output for graders replaces, by trial.
    pub fn unsettling(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut rows = BTreeMap::<_, Vec<_>>::new();
        for row in (0..self.rows()).map(|number| self.row(number)).filter(TableRow::is_unsettling) {
            if self.is_planned(row.trial) {
                rows.entry(row.trial).or_default().push(row.number);
            }
        }
        rows
    }

    /// Returns whether the plan has a trial with this number.
    pub fn is_planned(&self, trial: u32) -> bool {
        self.unplanned.is_empty() || !self.unplanned.contains(&trial)
    }

    /// Returns the index of a trial's provider in the manifest.
    pub fn provider(&self, trial: u32) -> usize {
        self.trials[trial as usize].provider.into()
    }

    /// Returns test and provider of a trial.
    pub fn names(&self, trial: u32) -> (&str, &str) {
        (self.tests.get(self.test(trial)), &self.providers[self.provider(trial)])
    }

    /// Returns the names of providers: those of the manifest, then those that only rows have.
    pub fn providers(&self) -> &[String] {
        &self.providers
    }

    /// Returns the number of a trial's test, from 0 in the order of first rows.
    pub fn test(&self, trial: u32) -> u32 {
        self.trials[trial as usize].test
    }

    /// Returns the ids of tests by their number.
    pub fn test_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.tests.len()).map(|test| self.tests.get(test))
    }

    /// Returns the repeat of a trial, from 1.
    pub fn repeat(&self, trial: u32) -> u32 {
        self.trials[trial as usize].repeat
    }

    /// Returns the id of a trial. `None` without such a trial.
    pub fn trial_id(&self, trial: u32) -> Option<TrialId> {
        let entry = self.trials.get(trial as usize)?;
        Some(TrialId {
            test: TestId::parse(self.tests.get(entry.test)).ok()?,
            provider: ProviderName::parse(&self.providers[usize::from(entry.provider)]).ok()?,
            repeat: entry.repeat,
        })
    }

    /// Returns the number of a trial. Compares all ids.
    pub fn find(&self, trial: &TrialId) -> Option<u32> {
        let provider = self.providers.iter().position(|name| **name == *trial.provider)?;
        let test = (0..self.tests.len()).find(|test| self.tests.get(*test) == &*trial.test)?;
        let key = (test, provider as u16, trial.repeat);
        self.trials.iter().position(|entry| entry.key() == key).map(|number| number as u32)
    }

    /// Returns the rows of a trial's test and repeat on all providers.
    pub fn rows_of_repeat(&self, trial: &TrialId) -> Vec<u32> {
        self.rows_of_test(trial, |repeat| repeat.cmp(&trial.repeat))
    }

    /// Returns the results of a trial's test on its provider, ascending by repeat.
    pub fn repeats(&self, trial: &TrialId) -> Vec<TableRow> {
        let rows = self.rows_of_test(trial, |_| Ordering::Equal).into_iter();
        let rows = rows.map(|number| self.row(number));
        let is_repeat = |row: &TableRow| self.names(row.trial).1 == &*trial.provider;
        rows.filter(|row| is_repeat(row) && self.result(row.trial) == Some(*row)).collect()
    }

    /// Returns the rows of a trial's test whose repeats are equal by `compare`.
    fn rows_of_test(&self, trial: &TrialId, compare: impl Fn(u32) -> Ordering) -> Vec<u32> {
        // Callers ask for trials in the order of the plan, which is nearly that of the tests.
        let (count, last) = (self.tests.len(), self.last_test.load(Relaxed));
        let mut near = (last..count).chain(0..last.min(count));
        let Some(test) = near.find(|test| self.tests.get(*test) == &*trial.test) else {
            return Vec::new();
        };
        self.last_test.store(test, Relaxed);
        let key = |row: u32| {
            let trial = self.trials[self.rows[row as usize].trial as usize];
            (trial.test, trial.repeat)
        };
        let sorted = self.by_repeat.get_or_init(|| {
            let mut rows: Vec<_> = (0..self.rows()).collect();
            rows.sort_by_key(|row| key(*row));
            rows
        });
        let order = |row: &u32| {
            let (of, repeat) = key(*row);
            of.cmp(&test).then_with(|| compare(repeat))
        };
        let first = sorted.partition_point(|row| order(row).is_lt());
        sorted[first..].iter().copied().take_while(|row| order(row).is_eq()).collect()
    }

    /// Returns the first 4 bytes of the fingerprints of execution and judgement.
    pub fn fingerprints(&self, row: u32) -> [u32; 2] {
        self.rows[row as usize].fingerprints
    }

    /// Returns tokens and cost of a row's provider, and those of its graders together.
    pub fn sums(&self, row: u32) -> [MetricSums; 2] {
        [0, 1].map(|of| MetricSums {
            tokens: self.tokens[of].get(row),
            cost_usd: self.costs[of].get(row),
        })
    }

    /// Returns the start of the run.
    pub fn started_at(&self) -> Time {
        self.basis.started_at
    }

    /// Returns whether a row cannot belong to the run: its session is unknown or started later.
    pub fn is_foreign(&self, manifest: &Manifest) -> bool {
        self.totals.first_rows.iter().any(|(session, seq)| {
            let entry = manifest.sessions.iter().find(|entry| entry.number == *session);
            entry.is_none_or(|entry| *seq <= entry.from_seq)
        })
    }

    /// Refuses a run with rows of another version, which would be missing in sums.
    ///
    /// # Errors
    ///
    /// The first such row.
    pub fn check_version(&self) -> Result<(), RecordError> {
        let problem = self.totals.other_version.clone();
        problem.map_or(Ok(()), |problem| Err(self.run.refuse_rows(problem)))
    }

    /// Returns first byte and length of a row.
    pub fn place(&self, row: u32) -> (u64, usize) {
        let place = self.rows[row as usize].place;
        (place >> LENGTH_BITS, (place & ((1 << LENGTH_BITS) - 1)) as usize)
    }

    /// Reads rows from disk, in the order of the file. Skips those that were changed meanwhile.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line is not a row.
    pub fn each_row(
        &self,
        numbers: impl IntoIterator<Item = u32>,
        each: impl FnMut(TableRow, &RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        // In the order of the file, reading takes half of the time.
        numbers.sort_unstable_by_key(|number| self.place(*number));
        self.each_row_in_order(&numbers, each)
    }

    /// Reads rows from disk, in this order.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line is not a row.
    pub fn each_row_in_order(
        &self,
        numbers: &[u32],
        mut each: impl FnMut(TableRow, &RowRef<'_>, &[u8]),
    ) -> Result<(), RecordError> {
        // A new run has no file of rows.
        if numbers.is_empty() {
            return Ok(());
        }
        let mut next = numbers.iter();
        let mut failed = Ok(());
        self.run.rows_at(numbers.iter().map(|number| self.place(*number)), &mut |line| {
            let Some(number) = next.next() else { return };
            match self.parse(*number, line) {
                Ok(row) => row.iter().for_each(|row| each(self.row(*number), row, line)),
                Err(error) => failed = Err(error),
            }
        })?;
        failed
    }

    /// Parses the line of a row. `None` if it was changed meanwhile.
    ///
    /// # Errors
    ///
    /// The line was counted by the keys of its head, and another one is invalid. Answers without it would differ from the counts.
    pub fn parse<'l>(
        &self,
        number: u32,
        line: &'l [u8],
    ) -> Result<Option<RowRef<'l>>, RecordError> {
        match read_line(line) {
            Ok(row) => Ok(Some(row)),
            Err(BadLine::Checksum) => Ok(None),
            Err(problem) => {
                let (test, provider) = self.names(self.rows[number as usize].trial);
                Err(self.run.refuse_rows(format!("a line of `{test}@{provider}`: {problem}")))
            }
        }
    }
}
