//! [`History`]: what the rows and sessions of a run come to.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::{missing::MissingRows, state::State};
use crate::{
    model::{Reason, add_to_ranges},
    record::format::{manifest::ManifestSession, mark::AttemptKey, rerun::Rerun},
};

/// What the rows and sessions of a run come to.
#[derive(Clone, Debug)]
pub struct History {
    /// Every trial; those that a session was asked to run again, and that have no final row since, are pending.
    pub state: State,
    /// The number of the last row; 0 if there is none.
    pub last_seq: u64,
    /// The newest version of a row's format; 0 if there is no row.
    pub version: u32,
    /// Lines that give no row although others come after them; their trials count as not seen.
    pub damaged_lines: u64,
    /// Final rows that the manifest counts, and that are not there or in damaged lines.
    pub missing: Option<MissingRows>,
    /// At how many deaths of a process in a row a trial was being executed, by ordinal.
    ///
    /// A death before the trial was begun does not interrupt the row; an attempt that got through ends it.
    pub deaths: HashMap<u64, u32>,
    /// At how many deaths of a process since its latest row or judgement a trial was being graded, by ordinal and by the grader's
    /// place in the scenario.
    pub grading_deaths: GradingDeaths,
    /// What was being executed when the latest session's process died, and has no row.
    pub unrecorded: Vec<AttemptKey>,
}

/// Deaths of a process by the ordinal of the trial that was being graded, and by the place of its grader in the scenario.
pub type GradingDeaths = HashMap<u64, BTreeMap<u32, u32>>;

impl History {
    /// What a run of `trials` trials begins with.
    pub fn planned(trials: u64) -> Self {
        Self {
            state: State::planned(trials),
            last_seq: 0,
            version: 0,
            damaged_lines: 0,
            missing: None,
            deaths: HashMap::new(),
            grading_deaths: HashMap::new(),
            unrecorded: Vec::new(),
        }
    }
}

/// What is asked of a session that is opened now.
#[derive(Clone, Copy, Debug, Default)]
pub struct NextSession<'a> {
    /// Which trials that have a final row are to run again.
    pub rerun: Option<&'a Rerun>,
    /// How many trials another plan has that is to be adopted; those of the old one keep their ordinals.
    pub planned: Option<u64>,
}

impl History {
    /// Rows that are missing and of which no damaged line has told.
    pub(in crate::record) fn untold_missing(&self) -> Option<MissingRows> {
        (self.missing).filter(|rows| rows.missing > self.damaged_lines)
    }

    /// Takes what is to be told of missing rows: whoever asks again has been told.
    pub(in crate::record) fn take_missing(&mut self) -> Option<MissingRows> {
        let untold = self.untold_missing();
        self.missing = None;
        untold
    }

    /// Lets the session that was the latest have ended, after all rows.
    pub(super) fn end(&mut self, session: &ManifestSession) {
        self.die(died_with(session), true);
        self.die_grading(&session.grading);
    }

    pub(super) fn die_grading(&mut self, grading: &[(u64, u32)]) {
        for (ordinal, grader) in grading {
            let deaths = self.grading_deaths.entry(*ordinal).or_default();
            *deaths.entry(*grader).or_default() += 1;
        }
    }

    pub(super) fn die(&mut self, in_flight: &[(u64, u32)], is_latest: bool) {
        for &(ordinal, number) in in_flight {
            let key = AttemptKey { ordinal, number };
            if !self.is_unrecorded(key) {
                continue;
            }
            *self.deaths.entry(ordinal).or_default() += 1;
            if is_latest {
                self.unrecorded.push(key);
            }
        }
    }

    /// Tells whether an attempt may have been begun, and has no row.
    pub(in crate::record) fn is_unrecorded(&self, key: AttemptKey) -> bool {
        self.state.is_pending(key.ordinal) && self.state.attempts(key.ordinal) < key.number
    }

    /// Makes the trials pending again that are selected and have a final row; tells which, as ranges of ordinals without
    /// their ends.
    pub(super) fn reopen(&mut self, is_selected: impl Fn(&State, u64) -> bool) -> Vec<Range<u64>> {
        let mut reopened = Vec::new();
        // A manifest may speak of many sessions, and of many trials.
        for ordinal in self.state.known().into_iter().flatten() {
            if self.state.outcome(ordinal).is_none() || !is_selected(&self.state, ordinal) {
                continue;
            }
            self.state.reopen(ordinal);
            add_to_ranges(&mut reopened, ordinal);
        }
        reopened
    }
}

/// What was being executed when a session's process crashed; nothing where it ended otherwise.
pub(super) fn died_with(session: &ManifestSession) -> &[(u64, u32)] {
    match session.reason {
        Some(Reason::Crashed) => &session.in_flight,
        _ => &[],
    }
}
