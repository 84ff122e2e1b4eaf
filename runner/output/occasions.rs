//! [`Begin`] and [`Finish`]: what is told of a run at its two ends.

use std::path::Path;

use crate::{
    error::ExitStatus,
    model::{Counts, Grants, Reason, RunStatus, StopSignal, Verdict},
};

/// What is told of a run's beginning.
pub struct Begin<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The run's directory.
    pub run_dir: &'a Path,
    /// The scenario's name.
    pub scenario: &'a str,
    /// How many trials are planned.
    pub planned: u64,
    /// How many providers there are.
    pub providers: usize,
    /// What each of them is granted.
    pub grants: Vec<(&'a str, &'a Grants)>,
    /// How many attempts run at once.
    pub jobs: usize,
}

/// What is told of a run's end.
pub struct Finish<'a> {
    /// The run's directory.
    pub run_dir: &'a Path,
    /// Its status.
    pub status: RunStatus,
    /// Why it has this status.
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    pub verdict: Verdict,
    /// What is on disk.
    pub counts: Counts,
    /// What the process exits with.
    pub exit: ExitStatus,
    /// Whether nobody waits for a summary.
    pub is_forced: bool,
    /// What went wrong, if the run could not go on.
    pub error: Option<String>,
    /// The command that goes on with the run, if anything is left.
    pub resume: Option<String>,
}
