//! [`Entry`]: an attempt on its way to becoming a row.

use super::mark::Mark;
use crate::model::{Attempt, Fingerprint};

/// An attempt to be written, and what its trial makes of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub attempt: Attempt,
    /// Whether it settles its trial.
    pub is_final: bool,
    /// Whether its trial passed after an attempt that did not.
    pub is_flaky: bool,
    /// What decides the result.
    pub fingerprint: Fingerprint,
}

impl Entry {
    /// What of its row will decide state.
    pub fn mark(&self) -> Mark {
        Mark {
            key: (&self.attempt).into(),
            outcome: self.attempt.outcome,
            is_final: self.is_final,
            is_flaky: self.is_flaky,
        }
    }
}
