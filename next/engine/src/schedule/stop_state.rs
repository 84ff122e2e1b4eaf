//! [`StopState`]: how far a stop is.

use runner_model::{Reason, RunTime};

use super::effect::StopMode;

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct StopState {
    pub(super) mode: StopMode,
    pub(super) reason: Reason,
    pub(super) message: Option<String>,
    pub(super) next: Step,
}

/// What a stop does next, unless everything is reported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: what runs may finish.
    Wait,
    /// Kill workers that have not answered.
    Kill(RunTime),
    /// Record what they had begun without them.
    GiveUp(RunTime),
    /// Nothing: nothing is in flight.
    Done,
}
