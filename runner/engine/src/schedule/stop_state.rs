//! [`StopState`]: the progress of a stop.

use runner_model::{Reason, RunTime};

use super::effect::StopMode;

#[derive(Debug)]
pub(super) struct StopState {
    pub(super) mode: StopMode,
    pub(super) reason: Reason,
    pub(super) message: Option<String>,
    pub(super) next: Step,
}

/// The next step of a stop with attempts in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Waits for running attempts without a bound.
    Wait,
    /// Kills workers that have not answered by this time.
    Kill(RunTime),
    /// Writes the rows of started attempts at this time, even if the worker's exit was not reported.
    GiveUp(RunTime),
    /// No attempts are in flight.
    Done,
}
