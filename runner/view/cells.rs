//! [`TrialCells`]: what a table tells of one trial.

use jiff::Timestamp;

use super::ReportTrial;
use crate::{
    model::Outcome,
    record::{RowCells, RowError, RowGrade, RowMetric},
};

/// What a table tells of one trial, beside what its test says of itself.
#[derive(Clone, Copy, Debug)]
pub struct TrialCells<'a> {
    /// Its id: `test@provider#repeat`.
    pub trial: &'a str,
    /// Its test's id.
    pub test: &'a str,
    /// Its provider's name.
    pub provider: &'a str,
    /// Which repeat of the test it is, from 1.
    pub repeat: u32,
    /// What it came to; `None` if nothing has settled it.
    pub outcome: Option<Outcome>,
    /// Whether it passed only after an attempt that did not.
    pub is_flaky: bool,
    /// How many of its attempts have begun.
    pub attempts: u32,
    /// The provider's score.
    pub score: Option<f64>,
    /// When the attempt that settled it began.
    pub started_at: Option<Timestamp>,
    /// How long that took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
    /// The provider's summary.
    pub summary: Option<&'a str>,
    /// What the provider measured.
    pub metrics: &'a [RowMetric<'static>],
    /// Why there is no verdict.
    pub error: Option<&'a RowError<'static>>,
    /// What graders said.
    pub grades: &'a [RowGrade<'static>],
}

impl<'a> TrialCells<'a> {
    /// Those of the trial that a row settles.
    pub fn of_row(row: &'a RowCells<'_>) -> Self {
        let (test, provider, repeat) = row.parts();
        Self {
            trial: &row.trial,
            test,
            provider,
            repeat,
            outcome: Some(row.outcome),
            is_flaky: row.is_flaky,
            // The newest one settles it.
            attempts: row.attempt,
            score: row.score,
            started_at: Some(row.started_at),
            duration_ms: Some(row.duration_ms),
            peak_memory: row.peak_memory,
            summary: row.summary.as_deref(),
            metrics: &row.metrics,
            error: row.error.as_ref(),
            grades: &row.grades,
        }
    }
}

impl<'a> From<&'a ReportTrial> for TrialCells<'a> {
    fn from(trial: &'a ReportTrial) -> Self {
        Self {
            trial: &trial.trial,
            test: &trial.test,
            provider: &trial.provider,
            repeat: trial.repeat,
            outcome: trial.outcome,
            is_flaky: trial.is_flaky,
            attempts: trial.attempts,
            score: trial.score,
            started_at: trial.started_at,
            duration_ms: trial.duration_ms,
            peak_memory: trial.peak_memory,
            summary: trial.summary.as_deref(),
            metrics: &trial.metrics,
            error: trial.error.as_ref(),
            grades: &trial.grades,
        }
    }
}
