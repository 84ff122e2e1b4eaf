//! Where a run is in its life, and what its trials showed.

use std::{fmt, ops::AddAssign};

use super::Outcome;

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// A process holds its lock.
    Running,
    /// Every planned trial has a final row.
    Completed,
    /// It could not begin as asked; no row exists.
    Failed,
    /// Work remains and nobody decided to drop it.
    Incomplete,
    /// A person dropped it.
    Cancelled,
}

impl RunStatus {
    /// Every status, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Incomplete,
        Self::Cancelled,
    ];

    /// Where a run is whose session has ended for this reason; without one nothing was left to do.
    ///
    /// Only this makes a status of a stop or a failure. A run that has rows is not `failed` but `incomplete`, which only
    /// whoever writes it down can know.
    pub fn after(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Completed,
            Some(Reason::Plugin | Reason::Setup | Reason::Internal) => Self::Failed,
            Some(Reason::Cancelled) => Self::Cancelled,
            Some(
                Reason::Interrupted
                | Reason::Stopped
                | Reason::Timeout
                | Reason::Crashed
                | Reason::Storage
                | Reason::FailFast
                | Reason::Budget
                | Reason::Holes,
            ) => Self::Incomplete,
        }
    }

    /// The word for it on disk, in SQLite and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`RunStatus::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Why a run has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `failed`: a plugin could not be compiled, linked or described, or refuses its configuration or an input. Like the
    /// next, `incomplete` in a session that goes on with rows.
    Plugin,
    /// `failed`: something else that a run needs could not be had.
    Setup,
    /// `failed` or `incomplete`: a bug of the runner.
    Internal,
    /// `incomplete`: a signal.
    Interrupted,
    /// `incomplete`: `runner stop`.
    Stopped,
    /// `incomplete`: the run's own deadline.
    Timeout,
    /// `incomplete`: the process that held the lock is gone.
    Crashed,
    /// `incomplete`: a row could not be written.
    Storage,
    /// `incomplete`: too many trials ended badly, as the scenario asked.
    FailFast,
    /// `incomplete`: a budget is used up.
    Budget,
    /// `incomplete`: it was merged of shards that had not run all of their trials.
    Holes,
    /// `cancelled`: `runner cancel`.
    Cancelled,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Plugin,
        Self::Setup,
        Self::Internal,
        Self::Interrupted,
        Self::Stopped,
        Self::Timeout,
        Self::Crashed,
        Self::Storage,
        Self::FailFast,
        Self::Budget,
        Self::Holes,
        Self::Cancelled,
    ];

    /// The word for it on disk, in SQLite and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Setup => "setup",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::Storage => "storage",
            Self::FailFast => "fail-fast",
            Self::Budget => "budget",
            Self::Holes => "holes",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`Reason::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// How far a session came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Plugins are compiled, linked, described and checked.
    Plan,
    /// Trials run.
    Run,
    /// Nothing is left to run.
    Finish,
}

impl Stage {
    /// The word for it on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Run => "run",
            Self::Finish => "finish",
        }
    }

    /// Reads [`Stage::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Plan, Self::Run, Self::Finish]
            .into_iter()
            .find(|stage| stage.as_str() == word)
    }
}

/// What a run's trials showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Every trial passed or was skipped.
    Passed,
    /// A trial failed, ended in an error or ran into its deadline.
    Failed,
    /// The run is not completed, so its trials show nothing yet.
    None,
}

impl Verdict {
    /// The word for it on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::None => "none",
        }
    }

    /// Reads [`Verdict::as_str`] back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Passed, Self::Failed, Self::None]
            .into_iter()
            .find(|verdict| verdict.as_str() == word)
    }
}

/// A signal that asks a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// A supervisor's polite request.
    Terminate,
    /// The terminal has gone.
    HangUp,
}

impl StopSignal {
    /// The three signals.
    pub const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    /// Its POSIX name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        }
    }

    /// Reads [`StopSignal::as_str`] back.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == name)
    }
}

/// How many trials came to what. Only final rows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Trials of the plan.
    pub planned: u64,
    /// Final rows that passed.
    pub passed: u64,
    /// Final rows that failed.
    pub failed: u64,
    /// Final rows that are errors.
    pub error: u64,
    /// Final rows that timed out.
    pub timeout: u64,
    /// Final rows that were skipped.
    pub skipped: u64,
    /// Those of `passed` that needed more than one attempt.
    pub flaky: u64,
}

impl Counts {
    /// Counts a final row.
    pub fn add(&mut self, outcome: Outcome, is_flaky: bool) {
        let count = match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Error => &mut self.error,
            Outcome::Timeout => &mut self.timeout,
            Outcome::Skipped => &mut self.skipped,
            // Never final.
            Outcome::Stopped | Outcome::Ungraded => return,
        };
        *count += 1;
        self.flaky += u64::from(is_flaky);
    }

    /// Takes back what was counted of a trial that means something else now.
    pub fn remove(&mut self, outcome: Outcome, is_flaky: bool) {
        let mut counted = Self::default();
        counted.add(outcome, is_flaky);
        self.passed -= counted.passed;
        self.failed -= counted.failed;
        self.error -= counted.error;
        self.timeout -= counted.timeout;
        self.skipped -= counted.skipped;
        self.flaky -= counted.flaky;
    }

    /// Trials that have a final row.
    pub fn done(&self) -> u64 {
        self.passed + self.failed + self.error + self.timeout + self.skipped
    }

    /// Trials whose final row makes the verdict `failed`.
    pub fn bad(&self) -> u64 {
        self.failed + self.error + self.timeout
    }

    /// The verdict of a run that is completed with these counts.
    pub fn verdict(&self) -> Verdict {
        match self.bad() {
            0 => Verdict::Passed,
            _ => Verdict::Failed,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.planned += other.planned;
        self.passed += other.passed;
        self.failed += other.failed;
        self.error += other.error;
        self.timeout += other.timeout;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
