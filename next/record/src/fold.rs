//! [`Fold`]: the state of a run by its rows. Live state, resume, sweep, list and reports are this one fold.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use runner_model::{Counts, Outcome, Places, RowRef};

use crate::rows::ReadLine;

/// The state of a run, by its rows: the one fold behind live state, resume, sweep, list and reports. One byte a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    trials: Vec<State>,
    /// Of trials that have more than one.
    attempts: HashMap<u64, u32>,
    counts: Counts,
    last_seq: u64,
    damaged: u64,
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
    /// The row's number in the run; 0 if it has none.
    pub seq: u64,
}

impl From<&RowRef<'_>> for RowFacts {
    fn from(row: &RowRef<'_>) -> Self {
        Self {
            outcome: row.outcome,
            attempt: row.attempt,
            is_final: row.r#final == Some(true),
            flaky: row.flaky,
            seq: row.seq.unwrap_or(0),
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
}

/// The rows of a trial in a byte: the newest final outcome, and flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(u8);

const OUTCOME: u8 = 0b0000_0111;
const FLAKY: u8 = 0b0000_1000;
const UNGRADED: u8 = 0b0001_0000;
const HAD_BAD: u8 = 0b0010_0000;
const HAS_ROWS: u8 = 0b0100_0000;

impl State {
    /// The newest final outcome.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        usize::from(self.0 & OUTCOME)
            .checked_sub(1)
            .and_then(|place| Outcome::ALL.get(place).copied())
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.0 = if is_set {
            self.0 | flag
        } else {
            self.0 & !flag
        };
    }

    /// Adds a row of the trial, and counts it if it is final. A final row takes the place of an older one.
    pub(crate) fn add(&mut self, row: RowFacts, counts: &mut Counts) {
        self.set(HAS_ROWS, true);
        self.set(UNGRADED, row.outcome == Outcome::Ungraded);
        if row.outcome.is_bad() {
            self.set(HAD_BAD, true);
        }
        if !row.is_final || !row.outcome.can_be_final() {
            return;
        }
        if let Some(old) = self.outcome() {
            counts.remove(old, self.has(FLAKY));
        }
        let place = Outcome::ALL.iter().position(|one| *one == row.outcome);
        self.0 = self.0 & !OUTCOME | place.map_or(0, |place| place as u8 + 1);
        self.set(FLAKY, row.flaky);
        counts.add(row.outcome, row.flaky);
    }
}

impl Fold {
    /// Without rows.
    pub fn new(trials: u64) -> Self {
        Self {
            trials: vec![State::default(); usize::try_from(trials).unwrap_or(usize::MAX)],
            attempts: HashMap::new(),
            counts: Counts::default(),
            last_seq: 0,
            damaged: 0,
        }
    }

    /// Adds a row that is on disk. A final row takes the place of an older one.
    pub fn add(&mut self, index: u64, row: RowFacts) {
        self.last_seq = self.last_seq.max(row.seq);
        let state = usize::try_from(index).ok();
        let Some(state) = state.and_then(|index| self.trials.get_mut(index)) else {
            self.damaged += 1;
            return;
        };
        state.add(row, &mut self.counts);
        if row.attempt > 1 {
            let attempts = self.attempts.entry(index).or_default();
            *attempts = row.attempt.max(*attempts);
        }
    }

    /// Adds a line of the rows. Damaged lines and rows of trials that the plan does not have are counted as damaged.
    pub fn add_line(&mut self, line: &ReadLine<'_>, places: &dyn Places) {
        match line {
            // An index that no trial has is counted as damaged.
            ReadLine::Row(row, _) => {
                let index = places.index(&row.trial).unwrap_or(u64::MAX);
                self.add(index, row.into());
            }
            ReadLine::Damaged(_) => self.damaged += 1,
            ReadLine::Torn(_) => {}
        }
    }

    /// What the trial has come to.
    pub fn trial(&self, index: u64) -> TrialState {
        let state = self.state(index);
        TrialState {
            outcome: state.outcome(),
            ungraded: state.has(UNGRADED),
            had_bad: state.has(HAD_BAD),
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

    /// Lines that are damaged or no rows of the plan.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    fn state(&self, index: u64) -> State {
        let state = usize::try_from(index).ok();
        let state = state.and_then(|index| self.trials.get(index));
        state.copied().unwrap_or_default()
    }
}

/// The same fold where the plan is not known: counts and the number of trials that have a final row. Trials are told apart
/// by 64 bits of a hash.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    trials: HashMap<u64, State>,
    pub(crate) counts: Counts,
    pub(crate) has_rows: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, row: &RowRef<'_>) {
        self.has_rows = true;
        let mut hasher = DefaultHasher::new();
        row.trial.hash(&mut hasher);
        let state = self.trials.entry(hasher.finish()).or_default();
        state.add(row.into(), &mut self.counts);
    }
}

#[cfg(test)]
#[path = "tests/fold.rs"]
mod tests;
