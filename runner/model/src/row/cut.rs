//! Attempts that a timeout or a limit has cut off. Their workspaces can be judged, and their graders add grades.

use super::line::{Row, RowRef};
use super::parts::RowError;
use crate::{ErrorClass, Outcome, Text, outcome::Verdict};

/// The value of [`Row::cut_by`] for a timeout, whatever key has set it.
const TIMEOUT: &str = "timeout";

/// Returns `timeout` for a timeout, and the code of the error of a limit. `None` for other ends of an attempt.
pub fn limit_of<'r>(outcome: Outcome, error: &'r RowError<'_>) -> Option<Text<'r>> {
    match error.class {
        Some(ErrorClass::Limit) => Some((&*error.code).into()),
        None if outcome == Outcome::Timeout => Some(TIMEOUT.into()),
        _ => None,
    }
}

impl RowRef<'_> {
    /// Returns the reason why an attempt was cut off whose workspace is kept: `timeout`, or the code of the limit's error. `None` for other
    /// attempts. Those of earlier versions have no `cut_by`, and the error of a grader may be in the place of the attempt's own.
    pub fn limit_that_cut(&self) -> Option<Text<'_>> {
        // A reply that is too large is an answer, and its attempt was not cut off.
        if !self.workspace.is_some_and(|left| left.is_kept() && left.partial) {
            return None;
        }
        let limit = self.error.as_ref().and_then(|error| limit_of(self.outcome, error));
        limit.or_else(|| self.cut_by.clone())
    }

    /// Returns whether the attempt was cut off and has its outcome by that, which grades do not change.
    pub fn keeps_outcome(&self) -> bool {
        keeps_outcome(self.cut_by.as_ref(), self.outcome, self.error.as_ref())
    }
}

impl<'a> Row<'a> {
    /// Returns the row of an attempt that was cut off, with the outcome by its checks, and then by `graders`.
    pub fn decided(cut: RowRef<'a>, graders: &[&str]) -> Self {
        let mut row = Self::from(cut);
        row.decide();
        if row.outcome == Outcome::Passed && !graders.is_empty() {
            row.outcome = Outcome::Ungraded;
        }
        row
    }

    pub(super) fn decide(&mut self) {
        let has_failed = self.checks.iter().any(|check| check.verdict == Verdict::Fail);
        self.outcome = if has_failed { Outcome::Failed } else { Outcome::Passed };
    }

    /// Gives the row of an attempt that was cut off an error, if that of a grader has replaced its own.
    pub fn restore_error(&mut self) {
        let Some(limit) = self.cut_by.as_deref().filter(|_| self.error.is_none()) else { return };
        self.error = Some(RowError {
            class: (limit != TIMEOUT).then_some(ErrorClass::Limit),
            code: limit.to_owned().into(),
            message: format!("the attempt was cut off by its `{limit}`").into(),
            ..RowError::default()
        });
    }

    pub(super) fn keeps_outcome(&self) -> bool {
        keeps_outcome(self.cut_by.as_ref(), self.outcome, self.error.as_ref())
    }
}

fn keeps_outcome(
    cut_by: Option<&Text<'_>>,
    outcome: Outcome,
    error: Option<&RowError<'_>>,
) -> bool {
    // The error of a grader ends an attempt whose workspace decides.
    let is_graded = error.is_some_and(|error| error.class == Some(ErrorClass::Grader));
    cut_by.is_some() && matches!(outcome, Outcome::Timeout | Outcome::Error) && !is_graded
}
