//! What of an attempt decides state: which one it is, and what it came to.

use crate::model::{Attempt, Outcome};

/// Which attempt of which trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// Which of the trial's attempts, from 1.
    pub number: u32,
}

/// What of a row decides state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose row it is.
    pub key: AttemptKey,
    /// What the attempt came to.
    pub outcome: Outcome,
    /// Whether it settles its trial.
    pub is_final: bool,
    /// Whether its trial passed after an attempt that did not.
    pub is_flaky: bool,
}

impl From<&Attempt> for AttemptKey {
    fn from(attempt: &Attempt) -> Self {
        Self {
            ordinal: attempt.ordinal,
            number: attempt.number,
        }
    }
}
