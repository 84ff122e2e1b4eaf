//! [`Fold`]: the state of a run by its rows. Live state, resume, sweep, list and reports are this one fold.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use runner_model::{Counts, Outcome, Places, Time, TrialId, row::RowHead};

use crate::{Manifest, RecordError, Rerun, RunDir, rows::line_reader::ReadLine};

/// The state of a run, by its rows: the one fold behind live state, resume, sweep, list and reports. One byte a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    trials: Vec<PackedState>,
    /// Of trials that have more than one.
    attempts: HashMap<u64, u32>,
    counts: Counts,
    last_seq: u64,
    damaged: u64,
    /// Rows up to this one may be of trials that an earlier plan had.
    earlier_plan: u64,
    /// The first row that can only be of another run: its line, and why.
    foreign: Option<(u64, String)>,
}

/// What of a row the fold goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFacts {
    /// What the attempt came to.
    pub outcome: Outcome,
    /// Which attempt of its trial, from 1.
    pub attempt: u32,
    /// Whether the attempt settles its trial.
    pub is_final: bool,
    /// Passed after an attempt that did not.
    pub flaky: bool,
    /// Whether it judges an attempt again that has a row.
    pub is_judged: bool,
    /// Whether something was denied to it.
    pub has_denied: bool,
    /// The row's number in the run; 0 if it has none.
    pub seq: u64,
}

impl From<&RowHead> for RowFacts {
    fn from(row: &RowHead) -> Self {
        Self {
            outcome: row.outcome,
            attempt: row.attempt,
            is_final: row.r#final,
            flaky: row.flaky,
            is_judged: row.judged.is_some(),
            has_denied: row.has_denied,
            seq: row.seq,
        }
    }
}

/// What a trial has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialState {
    /// The newest final outcome; none before there is one.
    pub outcome: Option<Outcome>,
    /// Whether the newest row is `ungraded`.
    pub ungraded: bool,
    /// Whether a row that did not pass was seen, in any session; then a pass is flaky.
    pub had_bad: bool,
    /// Whether it has to run: it has no final row, or none since a session selected it to run again.
    pub is_pending: bool,
}

/// The rows of a trial in a byte: the newest final outcome, and flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedState(u8);

const OUTCOME: u8 = 0b0000_0111;
const FLAKY: u8 = 0b0000_1000;
const UNGRADED: u8 = 0b0001_0000;
const HAD_BAD: u8 = 0b0010_0000;
const HAS_ROWS: u8 = 0b0100_0000;
/// In a [`Fold`]: it has to run again. In a [`Tally`]: it has a final row of the last session.
const MARK: u8 = 0b1000_0000;

impl PackedState {
    /// The newest final outcome.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        usize::from(self.0 & OUTCOME)
            .checked_sub(1)
            .and_then(|place| Outcome::ALL.get(place).copied())
    }

    fn is_pending(self) -> bool {
        self.0 & OUTCOME == 0 || self.has(MARK)
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.0 = if is_set { self.0 | flag } else { self.0 & !flag };
    }

    /// Adds a row of the trial, and counts it if it is final, which it returns. A final row takes the place of an older one.
    pub(crate) fn add(&mut self, row: RowFacts, counts: &mut Counts) -> bool {
        self.set(HAS_ROWS, true);
        self.set(UNGRADED, row.outcome == Outcome::Ungraded);
        if row.outcome.is_bad() {
            self.set(HAD_BAD, true);
        } else if row.is_judged && row.outcome == Outcome::Passed {
            // What the attempt came to before does not count any more.
            self.set(HAD_BAD, row.flaky);
        }
        if !row.is_final || !row.outcome.can_be_final() {
            return false;
        }
        if let Some(old) = self.outcome() {
            counts.remove(old, self.has(FLAKY));
        }
        let place = Outcome::ALL.iter().position(|one| *one == row.outcome);
        self.0 = self.0 & !OUTCOME | place.map_or(0, |place| place as u8 + 1);
        self.set(FLAKY, row.flaky);
        counts.add(row.outcome, row.flaky);
        true
    }
}

impl Fold {
    /// Without rows.
    pub fn new(trials: u64) -> Self {
        Self {
            trials: vec![PackedState::default(); trials as usize],
            attempts: HashMap::new(),
            counts: Counts::default(),
            last_seq: 0,
            damaged: 0,
            earlier_plan: 0,
            foreign: None,
        }
    }

    /// Folds the rows of a run by its plan, and what its sessions selected to run again: each selection is made among the
    /// rows before its session. `matches` tells whether a glob means a trial.
    pub fn of(
        run: &RunDir,
        manifest: &Manifest,
        places: &dyn Places,
        matches: &dyn Fn(&str, u64) -> bool,
    ) -> Result<Self, RecordError> {
        let mut fold = Self::new(places.trials());
        fold.earlier_plan = manifest.earlier_plan();
        let sessions = manifest.sessions.iter();
        let mut reruns = sessions
            .filter_map(|session| Some((session.from_seq, session.rerun.as_ref()?)))
            .peekable();
        let mut begin = |fold: &mut Self, seq| {
            while let Some((_, rerun)) = reruns.next_if(|(from, _)| *from < seq) {
                fold.select(rerun, matches);
            }
        };
        let mut lines = 0;
        run.rows(&mut |_, line| {
            lines += 1;
            match line {
                ReadLine::Row(row, _) => {
                    begin(&mut fold, row.seq);
                    let index = places.index(&row.trial);
                    if fold.foreign.is_none() {
                        let place = (row.session, row.seq);
                        let foreign = manifest.foreign(&row.trial, place, index.is_some());
                        fold.foreign = foreign.map(|why| (lines, why));
                    }
                    // No trial has this index.
                    fold.add(index.unwrap_or(u64::MAX), (&row).into());
                }
                ReadLine::Damaged(_) => fold.damaged += 1,
                ReadLine::Torn => {}
            }
        })?;
        begin(&mut fold, u64::MAX);
        Ok(fold)
    }

    /// Lets the trials that a session selects run again. `matches` tells whether a glob means a trial. Returns how many.
    pub fn select(&mut self, rerun: &Rerun, matches: &dyn Fn(&str, u64) -> bool) -> u64 {
        let mut selected = 0;
        for (index, state) in (0..).zip(&mut self.trials) {
            let is_meant = state.outcome().is_some_and(|outcome| rerun.is_of(outcome))
                && rerun.glob().is_none_or(|glob| matches(glob, index));
            if is_meant {
                state.set(MARK, true);
                selected += 1;
            }
        }
        selected
    }

    /// Lets a trial run again.
    pub fn mark(&mut self, index: u64) {
        if let Some(state) = self.trials.get_mut(index as usize) {
            state.set(MARK, true);
        }
    }

    /// Trials that have to run: those without a final row, and those that have none since they were selected to run again.
    pub fn left(&self) -> u64 {
        let pending = self.trials.iter().filter(|state| state.is_pending());
        pending.count() as u64
    }

    /// Adds a row that is on disk. A final row takes the place of an older one.
    pub fn add(&mut self, index: u64, row: RowFacts) {
        self.last_seq = self.last_seq.max(row.seq);
        let Some(state) = self.trials.get_mut(index as usize) else {
            self.damaged += u64::from(row.seq > self.earlier_plan);
            return;
        };
        if state.add(row, &mut self.counts) {
            state.set(MARK, false);
        }
        if row.attempt > 1 {
            let attempts = self.attempts.entry(index).or_default();
            *attempts = row.attempt.max(*attempts);
        }
    }

    /// What the trial has come to.
    pub fn trial(&self, index: u64) -> TrialState {
        let state = self.state(index);
        TrialState {
            outcome: state.outcome(),
            ungraded: state.has(UNGRADED),
            had_bad: state.has(HAD_BAD),
            is_pending: state.is_pending(),
        }
    }

    /// By final rows.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Number of the newest row; 0 before there is one.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Attempts that the trial's rows have, so that the next one has a number of its own.
    pub fn attempts(&self, index: u64) -> u32 {
        let one = u32::from(self.state(index).has(HAS_ROWS));
        self.attempts.get(&index).copied().unwrap_or(one)
    }

    /// Lines that are damaged or rows of trials that no plan had.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The first row that can only be of another run: its line, and why.
    pub fn foreign(&self) -> Option<(u64, &str)> {
        let (line, why) = self.foreign.as_ref()?;
        Some((*line, why))
    }

    fn state(&self, index: u64) -> PackedState {
        let state = self.trials.get(index as usize);
        state.copied().unwrap_or_default()
    }
}

/// [`Fold`] where the plan is not known. Trials are told apart by 64 bits of a hash.
#[derive(Debug)]
pub(crate) struct Tally {
    trials: HashMap<u64, PackedState>,
    pub(crate) counts: Counts,
    pub(crate) has_rows: bool,
    /// Trials that have a final row of the last session.
    settled: u64,
    /// Rows of the last session are behind this one.
    from_seq: u64,
    /// What counts instead of the rows up to this one, because a session took over another plan.
    adopted: Option<(u64, Counts)>,
}

impl Tally {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let mut sessions = manifest.sessions.iter().rev();
        Self {
            trials: HashMap::new(),
            counts: Counts::default(),
            has_rows: false,
            settled: 0,
            from_seq: sessions.clone().next().map_or(0, |last| last.from_seq),
            adopted: sessions.find_map(|session| Some((session.from_seq, session.adopted?))),
        }
    }

    /// Adds all rows of a run. Returns when the last attempt ended.
    pub(crate) fn add_rows(&mut self, run: &RunDir) -> Result<Time, RecordError> {
        let mut last_end = Time::default();
        run.rows(&mut |_, line| {
            if let ReadLine::Row(row, _) = line {
                self.add(&row.trial, (&row).into());
                last_end = last_end.max(row.ended_at());
            }
        })?;
        Ok(last_end)
    }

    pub(crate) fn add(&mut self, trial: &TrialId, row: RowFacts) {
        self.has_rows = true;
        self.adopt(row.seq);
        let mut hasher = DefaultHasher::new();
        trial.hash(&mut hasher);
        let state = self.trials.entry(hasher.finish()).or_default();
        let is_final = state.add(row, &mut self.counts);
        if is_final && row.seq > self.from_seq && !state.has(MARK) {
            state.set(MARK, true);
            self.settled += 1;
        }
    }

    /// Tells whether nothing is left to do: every planned trial has a final row, and every trial that the last session had
    /// to do has one of that session.
    pub(crate) fn finish(&mut self, manifest: &Manifest) -> bool {
        self.adopt(u64::MAX);
        let pending = manifest.sessions.last().and_then(|last| last.pending);
        self.counts.done() == manifest.metadata.planned_trial_count
            && pending.is_none_or(|pending| self.settled == pending)
    }

    fn adopt(&mut self, seq: u64) {
        if let Some((_, counts)) = self.adopted.take_if(|(from, _)| *from < seq) {
            self.counts = counts;
        }
    }
}

#[cfg(test)]
#[path = "tests/reruns.rs"]
mod reruns;
#[cfg(test)]
#[path = "tests/fold.rs"]
mod tests;
