//! Where a run is in its life, and what its trials showed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Outcome, enum_text::text_enum};

text_enum! {
    /// Where a run is in its life.
    pub enum RunStatus {
        /// A process holds its lock.
        Running = "running",
        /// Every planned trial has a final row.
        Completed = "completed",
        /// It could not start as requested; it has no rows.
        Failed = "failed",
        /// Trials are left; `runner resume` continues the run.
        Incomplete = "incomplete",
        /// Somebody cancelled it; only `runner resume --force` continues it.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Why a run has its status.
    pub enum Reason {
        /// A plugin could not be compiled, loaded or described, or refuses its configuration or an input.
        Plugin = "plugin",
        /// Something else that the run needs could not be had.
        Setup = "setup",
        /// A bug of the runner, or its machine lacked something.
        Internal = "internal",
        /// A signal.
        Interrupted = "interrupted",
        /// `runner stop`.
        Stopped = "stopped",
        /// The run's own deadline.
        Timeout = "timeout",
        /// The process that held the lock is gone.
        Crashed = "crashed",
        /// A row could not be stored.
        Storage = "storage",
        /// Too many trials ended badly.
        FailFast = "fail-fast",
        /// A budget is used up.
        Budget = "budget",
        /// It was merged from shards that had trials left.
        Holes = "holes",
        /// `runner cancel`.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// How far a session came.
    pub enum Stage {
        /// The run is planned and waits for other runs of its group.
        Waiting = "waiting",
        /// Plugins are compiled, loaded, described and checked.
        Plan = "plan",
        /// Trials run.
        Run = "run",
        /// Nothing is left to run.
        Finish = "finish",
    }
}

text_enum! {
    /// What a run's trials showed.
    pub enum RunVerdict {
        /// Every trial passed or was skipped.
        Passed = "passed",
        /// A trial failed, ended in an error or timed out; or the run gave up after so many of them.
        Failed = "failed",
        /// The run is not completed, so its trials show nothing yet.
        None = "none",
    }
}

text_enum! {
    /// A signal that asks a run to stop.
    pub enum StopSignal {
        /// Ctrl-C.
        Interrupt = "SIGINT",
        /// A supervisor's request.
        Terminate = "SIGTERM",
        /// The terminal is gone.
        HangUp = "SIGHUP",
    }
}

/// A change of status that the graph does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadTransition(String);

impl RunStatus {
    /// The status of a run whose session ended for this reason; without one, nothing was left to do. A run that has rows is
    /// never `failed` but `incomplete`.
    pub fn after(reason: Option<Reason>, has_rows: bool) -> Self {
        match reason {
            None => Self::Completed,
            Some(Reason::Cancelled) => Self::Cancelled,
            Some(Reason::Plugin | Reason::Setup | Reason::Internal) if !has_rows => Self::Failed,
            Some(_) => Self::Incomplete,
        }
    }

    /// Checks a change of status, the only way to one. The same graph stands in a trigger of the database.
    ///
    /// # Errors
    ///
    /// Refuses what the graph does not have.
    pub fn next(self, to: Self) -> Result<Self, BadTransition> {
        let refused = || BadTransition(format!("a run that is {self} cannot become {to}"));
        match (self, to) {
            (Self::Running, Self::Running) => Err(refused()),
            (Self::Running, _) | (_, Self::Running) => Ok(to),
            (from, to) if from == to => Err(BadTransition(format!("the run is already {to}"))),
            (Self::Incomplete | Self::Failed, Self::Cancelled) => Ok(to),
            _ => Err(refused()),
        }
    }

    /// Tells whether the run has ended.
    pub fn is_terminal(self) -> bool {
        self != Self::Running
    }
}

/// How many trials came to what. Only final rows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Trials that passed.
    pub passed: u64,
    /// Trials that failed.
    pub failed: u64,
    /// Trials that ended in an error.
    pub error: u64,
    /// Trials that timed out.
    pub timeout: u64,
    /// Trials that were skipped.
    pub skipped: u64,
    /// Those of `passed` that needed more than one attempt.
    pub flaky: u64,
}

impl Counts {
    /// Counts a final row. Outcomes that are never final count nothing.
    pub fn add(&mut self, outcome: Outcome, flaky: bool) {
        if let Some(count) = self.count(outcome) {
            *count += 1;
            self.flaky += u64::from(flaky);
        }
    }

    /// Takes back what [`Self::add`] counted of a trial that has a newer final row.
    pub fn remove(&mut self, outcome: Outcome, flaky: bool) {
        if let Some(count) = self.count(outcome) {
            *count -= 1;
            self.flaky -= u64::from(flaky);
        }
    }

    fn count(&mut self, outcome: Outcome) -> Option<&mut u64> {
        match outcome {
            Outcome::Passed => Some(&mut self.passed),
            Outcome::Failed => Some(&mut self.failed),
            Outcome::Error => Some(&mut self.error),
            Outcome::Timeout => Some(&mut self.timeout),
            Outcome::Skipped => Some(&mut self.skipped),
            Outcome::Stopped | Outcome::Ungraded => None,
        }
    }

    /// Trials that have a final row.
    pub fn done(&self) -> u64 {
        self.passed + self.failed + self.error + self.timeout + self.skipped
    }

    /// Trials that make the verdict `failed`.
    pub fn bad(&self) -> u64 {
        self.failed + self.error + self.timeout
    }

    /// The verdict of a run with these counts and this status. One that gave up after bad trials has failed.
    pub fn verdict(&self, status: RunStatus, reason: Option<Reason>) -> RunVerdict {
        match status {
            RunStatus::Completed if self.bad() > 0 => RunVerdict::Failed,
            RunStatus::Completed => RunVerdict::Passed,
            RunStatus::Incomplete if reason == Some(Reason::FailFast) => RunVerdict::Failed,
            _ => RunVerdict::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, RunStatus};

    #[test]
    fn a_status_changes_only_by_the_graph() {
        use RunStatus::{Cancelled, Completed, Failed, Incomplete, Running};
        for (from, to) in [
            (Running, Completed),
            (Running, Failed),
            (Running, Incomplete),
            (Running, Cancelled),
            (Completed, Running),
            (Incomplete, Running),
            (Failed, Running),
            (Cancelled, Running),
            (Incomplete, Cancelled),
            (Failed, Cancelled),
        ] {
            assert_eq!(from.next(to), Ok(to));
        }
        for (from, to) in [
            (Completed, Cancelled),
            (Completed, Incomplete),
            (Cancelled, Completed),
            (Running, Running),
        ] {
            let refused = from.next(to).unwrap_err().to_string();
            assert_eq!(refused, format!("a run that is {from} cannot become {to}"));
        }
        let refused = Cancelled.next(Cancelled).unwrap_err().to_string();
        assert_eq!(refused, "the run is already cancelled");
    }

    #[test]
    fn a_run_with_rows_is_never_failed() {
        assert_eq!(RunStatus::after(Some(Reason::Plugin), false), RunStatus::Failed);
        assert_eq!(RunStatus::after(Some(Reason::Plugin), true), RunStatus::Incomplete);
        assert_eq!(RunStatus::after(None, false), RunStatus::Completed);
    }
}
