//! [`TableRow`]: a row of a table.

use runner_model::{Counts, Outcome, known::KnownState};
use runner_record::RowFacts;

/// No row, in a list of row numbers.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableRow {
    /// Place in the order in which rows were written, from 0.
    pub number: u32,
    /// Number of the trial.
    pub trial: u32,
    pub outcome: Outcome,
    pub duration_ms: f32,
    pub score: Option<f64>,
    /// End of the attempt, in milliseconds since the run's start.
    pub ended_ms: u32,
    /// Number of the worker on another machine, for [`RunTable::worker`](crate::RunTable::worker). 0 for this machine.
    pub worker: u16,
    /// The result beside the known failures.
    pub state: KnownState,
    pub(crate) flags: u8,
}

pub(crate) const FLAKY: u8 = 1;
pub(crate) const SETTLES: u8 = 2;
pub(crate) const HAS_SUMS: u8 = 4;
pub(crate) const DENIES: u8 = 8;
pub(crate) const FINAL: u8 = 16;
/// Higher numbers of attempts are not distinguished. They have the three highest bits of the flags.
pub(crate) const MOST_ATTEMPTS: u32 = 7;

impl TableRow {
    /// Adds the row to counts.
    pub fn count(&self, counts: &mut Counts) {
        counts.add(self.outcome, self.is_flaky());
        if self.settles() {
            counts.add_state(self.state);
        }
    }

    /// Returns the outcome for a fold over results only.
    pub(crate) fn as_result(&self) -> RowFacts {
        RowFacts {
            outcome: self.outcome,
            attempt: 1,
            is_final: true,
            flaky: false,
            is_judged: false,
            has_denied: false,
            service_failed: false,
            state: KnownState::Unlisted,
            seq: 0,
            session: 0,
        }
    }

    /// Returns whether the result makes the verdict `failed`.
    pub fn is_unexpected(&self) -> bool {
        self.state.is_unexpected(self.outcome)
    }

    /// Returns whether the trial passed after an attempt that did not.
    pub fn is_flaky(&self) -> bool {
        self.flags & FLAKY != 0
    }

    /// Returns whether the row gave its trial a result.
    pub fn settles(&self) -> bool {
        self.flags & SETTLES != 0
    }

    /// Returns whether the row counts: it has a result, or waits for a grader.
    pub fn counts(&self) -> bool {
        self.settles() || self.outcome == Outcome::Ungraded
    }

    /// Returns whether the row is an attempt that did not end its trial, and no output that waits for a grader.
    pub fn is_unsettling(&self) -> bool {
        self.flags & FINAL == 0 && self.outcome != Outcome::Ungraded
    }

    /// Returns whether the row has metrics or grades.
    pub fn has_sums(&self) -> bool {
        self.flags & HAS_SUMS != 0
    }

    /// Returns whether the attempt or one of its graders was denied something.
    pub fn denies(&self) -> bool {
        self.flags & DENIES != 0
    }

    /// Returns the duration in milliseconds. Rows have whole microseconds, which the column rounds.
    pub fn ms(&self) -> f64 {
        (f64::from(self.duration_ms) * 1e3).round() / 1e3
    }

    /// Returns the number of the attempt, from 1 to 7: higher ones are not distinguished.
    pub fn attempt(&self) -> u8 {
        self.flags >> 5
    }
}
