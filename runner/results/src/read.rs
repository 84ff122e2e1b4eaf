//! Reads a table, and follows a run that grows.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock, atomic::AtomicU32};

use runner_model::known::KnownState;
use runner_model::row::{BadLine, MetricSums, RowHead};
use runner_model::{Fingerprint, Places as _, TrialId, worker_of};
use runner_record::{Fold, FoldSums, Manifest, ReadLine, RecordError, RowFacts, RunDir};
use runner_scenario::Suite;

use crate::columns::{LENGTH_BITS, Names, RowEntry, Sparse, TrialEntry, replace_newest};
use crate::plan;
use crate::row::{DENIES, FINAL, FLAKY, HAS_SUMS, MOST_ATTEMPTS, NO_ROW, SETTLES};
use crate::table::{Adding, Basis, RunTable, Totals};

/// Names of providers that the manifest lacks, whose rows never count. Rows of further ones are added to those of the last one:
/// names are compared one by one, and the column of providers has 16 bits.
const MOST_UNKNOWN: usize = 256;
/// Bytes of a row at least. Memory is reserved for as many as the file can have: a damaged manifest may count more.
const MIN_ROW: u64 = 256;

/// Returns the first 4 bytes of a fingerprint. Those of different tests are equal only by chance.
pub fn short(Fingerprint(bytes): Fingerprint) -> u32 {
    bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

impl Basis {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            suite: manifest.metadata.suite,
            started_at: manifest.started_at,
            last_session: manifest.last_session(),
            known: manifest.known(),
            has_adopted: manifest.sessions.iter().any(|session| session.adopted.is_some()),
            providers: manifest.providers.iter().map(|one| one.name.clone()).collect(),
        }
    }
}

impl RunTable {
    pub(crate) fn read_from(run: &RunDir, manifest: &Manifest) -> Result<Self, RecordError> {
        let length = run.rows_file()?.map_or(0, |file| file.length);
        let done = manifest.counts.done().min(length / MIN_ROW) as usize;
        let known = run.known(manifest)?;
        let adaptive = run.adaptive(manifest);
        let adding = || Adding {
            known: Arc::clone(&known),
            fold: Fold::unplanned(&adaptive),
            ..Adding::default()
        };
        let new = || {
            let mut table = Self::empty(run, Basis::of(manifest));
            table.adding = Some(adding());
            table.rows.reserve_exact(done);
            table.trials.reserve_exact(done);
            table
        };
        let mut table = new();
        if !table.add_rows()? {
            // By session and number, whatever their order in the file. Rows that are added from here on are read by `follow`.
            let file = run.rows_file()?;
            let new = || (new(), adding());
            let (sorted, adding) =
                run.fold_lines(&new, |_| (), &mut |(table, adding), place, (line, _)| {
                    table.add(adding, place.number, place.at, line);
                })?;
            table = Self { file, adding: Some(adding), ..sorted };
            // Further rows cannot be added at the end.
            table.close();
        }
        table.mark_unplanned(0);
        if manifest.status.is_terminal() {
            table.close();
        }
        Ok(table)
    }

    pub(crate) fn empty(run: &RunDir, basis: Basis) -> Self {
        Self {
            run: run.clone(),
            file: None,
            tests: Names::default(),
            providers: basis.providers.clone(),
            basis,
            trials: Vec::new(),
            rows: Vec::new(),
            scores: Sparse::default(),
            tokens: Default::default(),
            costs: Default::default(),
            states: Vec::new(),
            known: OnceLock::new(),
            adding: Some(Adding::default()),
            sums: FoldSums::default(),
            unplanned: HashSet::new(),
            lacks_plan: false,
            totals: Totals::default(),
            by_repeat: OnceLock::new(),
            last_test: AtomicU32::new(0),
        }
    }

    fn close(&mut self) {
        self.sums = self.fold_sums();
        self.adding = None;
    }

    /// Returns the sums of the fold over all rows.
    pub fn fold_sums(&self) -> FoldSums {
        self.adding.as_ref().map_or(self.sums, |adding| adding.fold.sums())
    }

    /// Reads the rows that were added since the last call. Reads all again if another plan, other providers, another session or
    /// another file have replaced those of the table. Returns whether row numbers have another meaning now.
    ///
    /// `run` has the id of the table's run, and may be another folder that has replaced that one.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn follow(&mut self, run: &RunDir) -> Result<bool, RecordError> {
        self.run = run.clone();
        let manifest = run.manifest()?;
        let file = run.rows_file()?;
        // Other trials may count now.
        let has_found_plan = self.lacks_plan && plan::suite(run).is_some();
        let is_same_basis = Basis::of(&manifest) == self.basis && !has_found_plan;
        if is_same_basis && self.file == file {
            if manifest.status.is_terminal() {
                // A later change of the file is by another program, which does not only add rows.
                self.close();
            }
            return Ok(false);
        }
        let is_same_file = match (self.file, file) {
            (Some(old), Some(new)) => old.inode == new.inode && old.length <= new.length,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let known = self.trials();
        if is_same_basis && is_same_file && self.add_rows()? {
            self.mark_unplanned(known);
            return Ok(false);
        }
        *self = Self::read_from(run, &manifest)?;
        Ok(true)
    }

    /// Adds the rows after the last one that was read. Returns `false` if the table has to be read anew, because they are not in
    /// the order in which they were written.
    fn add_rows(&mut self) -> Result<bool, RecordError> {
        let Some(mut adding) = self.adding.take() else { return Ok(false) };
        // A last row without its line break was read before.
        if self.rows() > 0 && self.place(self.rows() - 1).0 >= adding.end {
            return Ok(false);
        }
        self.file = self.run.rows_file()?;
        self.by_repeat = OnceLock::new();
        let mut is_ordered = true;
        adding.end = self.run.clone().read_lines_from(adding.end, &mut |at, line| {
            if let ReadLine::Row(row, _) = &line {
                is_ordered &= adding.last <= (row.session, row.seq);
            }
            if is_ordered {
                let number = u64::from(self.rows()) + self.totals.damaged_lines + 1;
                self.add(&mut adding, number, at, line);
            }
        })?;
        self.adding = Some(adding);
        Ok(is_ordered)
    }

    fn add(&mut self, adding: &mut Adding, number: u64, at: u64, line: ReadLine<'_>) {
        match line {
            ReadLine::Row(row, bytes) => self.add_row(adding, &row, (at, bytes)),
            ReadLine::Damaged(problem) => {
                self.totals.damaged_lines += 1;
                if let BadLine::Version(_) = problem {
                    let other_version = &mut self.totals.other_version;
                    other_version.get_or_insert_with(|| format!("line {number}: {problem}"));
                }
            }
            ReadLine::Torn => {}
        }
    }

    fn add_row(&mut self, adding: &mut Adding, row: &RowHead, (at, bytes): (u64, &[u8])) {
        adding.last = (row.session, row.seq);
        let first = self.totals.first_rows.entry(row.session).or_insert(row.seq);
        *first = row.seq.min(*first);
        // A row of a rescore repeats the worker of the attempt that it judges.
        if let Some(worker) = row.worker.as_deref().filter(|_| row.judged.is_none()) {
            let name = worker_of(worker).to_owned();
            let (attempts, errors) = self.totals.workers.entry(name).or_default();
            *attempts += 1;
            *errors += u64::from(row.outcome == runner_model::Outcome::Error);
        }
        let worker = row.worker.as_deref().map_or(0, |worker| self.process(worker));
        let trial = self.number(adding, &row.trial);
        // Only a session needs the number of a trial's attempts, and it has a plan.
        let facts = RowFacts { attempt: 1, ..RowFacts::new(row, bytes, &adding.known) };
        let index = adding.indexes.get(trial as usize).copied().unwrap_or(trial.into());
        let is_earlier = row.session < self.basis.last_session;
        let effect = adding.fold.add_unplanned(index, facts, is_earlier);
        let settles = effect.is_some_and(|effect| effect.settles);
        let flags = [
            (row.flaky, FLAKY),
            (settles, SETTLES),
            (row.has_sums(), HAS_SUMS),
            (row.denies(), DENIES),
            (row.r#final, FINAL),
        ];
        self.pay(adding, row);
        let attempt = row.attempt.min(MOST_ATTEMPTS) as u8;
        let number = self.rows();
        if facts.state != KnownState::Unlisted {
            self.states.resize(number as usize, KnownState::Unlisted as u8);
            self.states.push(facts.state as u8);
        }
        let ended = row.ended_at().since(self.basis.started_at);
        self.rows.push(RowEntry {
            place: at << LENGTH_BITS | bytes.len() as u64,
            fingerprints: [row.fingerprint, row.judgement_fingerprint].map(short),
            trial,
            duration_ms: row.duration_ms as f32,
            // A run may be continued after the 49 days that the entry can hold.
            ended_ms: u32::try_from(ended.as_millis()).unwrap_or(u32::MAX),
            outcome: row.outcome,
            flags: flags
                .iter()
                .filter(|(is, _)| *is)
                .fold(attempt << 5, |all, (_, flag)| all | flag),
            worker,
        });
        self.scores.set(number, row.trial_score());
        for (of, sums) in row.sums().into_iter().enumerate() {
            self.tokens[of].set(number, sums.tokens);
            self.costs[of].set(number, sums.cost_usd);
        }
        replace_newest(&self.rows, &mut self.trials[trial as usize].newest, number);
    }

    /// Counts the metrics of an attempt, and of grades that no row before has.
    fn pay(&mut self, adding: &mut Adding, row: &RowHead) {
        if row.judged.is_none() {
            self.totals.paid.add(row.metrics.unwrap_or_default());
        }
        for grade in row.grades.iter().filter(|grade| grade.metrics != MetricSums::default()) {
            // Attempts of a grader count from 1 in each session.
            let asked = (&grade.grader, grade.asked, grade.session, grade.attempt);
            if adding.grades.insert(adding.hasher.hash_one((&row.trial, row.attempt, asked))) {
                self.totals.paid.add(grade.metrics);
            }
        }
    }

    /// Returns the number of a worker's process, and adds the process if it is new. Those after many have the last number.
    fn process(&mut self, worker: &str) -> u16 {
        let processes = &mut self.totals.processes;
        let next = processes.len().saturating_add(1).min(usize::from(u16::MAX - 1)) as u16;
        match processes.get(worker) {
            Some(number) => *number,
            None => *processes.entry(worker.to_owned()).or_insert(next),
        }
    }

    /// Returns the number of a trial, and adds the trial if it is new.
    fn number(&mut self, adding: &mut Adding, trial: &TrialId) -> u32 {
        let provider = self.providers.iter().position(|name| **name == *trial.provider);
        let provider = provider.unwrap_or_else(|| {
            if self.providers.len() < self.basis.providers.len() + MOST_UNKNOWN {
                self.providers.push(trial.provider.to_string());
            }
            self.providers.len() - 1
        }) as u16;
        let (names, trials, hasher) = (&mut self.tests, &mut self.trials, &adding.hasher);
        let hash = hasher.hash_one(&*trial.test);
        let test = match adding.tests.find(hash, |test| names.get(*test) == &*trial.test) {
            Some(test) => *test,
            None => {
                let test = names.push(&trial.test);
                let rehash = |test: &u32| hasher.hash_one(names.get(*test));
                *adding.tests.insert_unique(hash, test, rehash).get()
            }
        };
        let key = (test, provider, trial.repeat);
        let hash = hasher.hash_one(key);
        let key_of = |number: &u32| trials[*number as usize].key();
        if let Some(number) = adding.trials.find(hash, |number| key_of(number) == key) {
            return *number;
        }
        let number = trials.len() as u32;
        let index = adding.fold.add_trial(trial);
        if adding.fold.is_adaptive() {
            adding.indexes.push(index);
        }
        adding.trials.insert_unique(hash, number, |number| hasher.hash_one(key_of(number)));
        trials.push(TrialEntry { test, provider, repeat: trial.repeat, newest: NO_ROW });
        number
    }

    /// Marks trials from number `from` on that the plan lacks. Only a run that took over another plan has such trials, and those
    /// of providers that the manifest lacks.
    pub(crate) fn mark_unplanned(&mut self, from: u32) {
        if from == self.trials() {
            return;
        }
        let suite = self.basis.has_adopted.then(|| plan::suite(&self.run)).flatten();
        self.lacks_plan = self.basis.has_adopted && suite.is_none();
        let known = self.basis.providers.len();
        for trial in from..self.trials() {
            let is_missing = || {
                let index = |suite: &Suite| suite.index(&self.trial_id(trial)?);
                suite.as_ref().is_some_and(|suite| index(suite).is_none())
            };
            if self.provider(trial) >= known || is_missing() {
                self.unplanned.insert(trial);
            }
        }
    }
}
