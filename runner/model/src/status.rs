//! [`RunStatus`] with the graph of its changes, reasons, and the verdict of a run's [`Counts`].
//!
//! A manifest has a [`RunStatus`], the [`Reason`] of it, and a [`RunVerdict`] on its trials. [`RunState`] is both in one word,
//! for people, and a [`RunEnding`] is a set of them, for receivers of notifications.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::enum_text::{is_default, text_enum};
use crate::{HostFault, Outcome, known::KnownState, units::plural};

text_enum! {
    pub enum RunStatus {
        /// A process holds the run's lock.
        Running = "running",
        /// Every planned trial has a final row.
        Completed = "completed",
        /// The run could not start as requested, and has no rows.
        Failed = "failed",
        /// Trials are left. `runner resume` continues the run.
        Incomplete = "incomplete",
        /// Stopped for good. Only `runner resume --force` continues the run.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// The cause of a run's status.
    pub enum Reason {
        /// A plugin could not be compiled, loaded or described, or refuses its configuration or an input.
        Plugin = "plugin",
        /// Another prerequisite of the run is missing.
        Setup = "setup",
        /// The machine lacked memory, addresses, open files or threads.
        Machine = "machine",
        /// A bug of the runner.
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
        /// Too many bad trials.
        FailFast = "fail-fast",
        /// A budget is used up.
        Budget = "budget",
        /// No worker on another machine was left.
        Workers = "workers",
        /// The run was merged from shards that had trials left.
        Holes = "holes",
        /// `runner cancel`.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// The progress of a session.
    pub enum Stage {
        /// The run is planned and waits for other runs of its group.
        Waiting = "waiting",
        /// Plugins are compiled, loaded, described and checked.
        Plan = "plan",
        /// Trials run.
        Run = "run",
        /// No trial is left.
        Finish = "finish",
    }
}

text_enum! {
    /// The current step of a running guest.
    pub enum GuestPhase {
        /// On the processor.
        Computing = "computing",
        /// Able to continue, while another guest of the worker is on the processor.
        Ready = "ready",
        /// Asleep, or in a call to the host.
        Waiting = "waiting",
    }
}

text_enum! {
    pub enum RunVerdict {
        /// Every trial passed, was skipped, or is a known failure. With a gate: it holds, and with known failures, no trial is unexpected.
        Passed = "passed",
        /// A trial failed, ended in an error or timed out unexpectedly, or passed although it is a known failure, or the run ended early because of too many. With a gate: it does not hold.
        Failed = "failed",
        /// Rows that the run's last session counted are lost or changed.
        Damaged = "damaged",
        /// The run is not completed.
        None = "none",
    }
}

text_enum! {
    /// Status and verdict of a run in one word, for people.
    pub enum RunState {
        /// Completed, and passed.
        Passed = "passed",
        /// Completed, and failed.
        Failed = "failed",
        /// The run could not start.
        NotStarted = "not-started",
        Incomplete = "incomplete",
        Cancelled = "cancelled",
        Running = "running",
        /// Rows are lost or changed, with any status.
        Damaged = "damaged",
    }
}

text_enum! {
    /// An end of a run that receivers are notified of.
    pub enum RunEnding {
        /// With any verdict.
        Completed = "completed",
        /// Completed, and passed.
        TestsPassed = "tests-passed",
        /// Completed, and not passed.
        TestsFailed = "tests-failed",
        Failed = "failed",
        Incomplete = "incomplete",
        Cancelled = "cancelled",
    }
}

impl RunEnding {
    /// Returns whether a run with this status and verdict has this ending.
    pub fn matches(self, status: RunStatus, verdict: RunVerdict) -> bool {
        let is_passed = verdict == RunVerdict::Passed;
        match self {
            Self::Completed => status == RunStatus::Completed,
            Self::TestsPassed => status == RunStatus::Completed && is_passed,
            Self::TestsFailed => status == RunStatus::Completed && !is_passed,
            Self::Failed => status == RunStatus::Failed,
            Self::Incomplete => status == RunStatus::Incomplete,
            Self::Cancelled => status == RunStatus::Cancelled,
        }
    }
}

impl RunState {
    pub fn of(status: RunStatus, verdict: RunVerdict) -> Self {
        match (status, verdict) {
            (_, RunVerdict::Damaged) => Self::Damaged,
            (RunStatus::Completed, RunVerdict::Failed) => Self::Failed,
            (RunStatus::Completed, _) => Self::Passed,
            (RunStatus::Failed, _) => Self::NotStarted,
            (RunStatus::Incomplete, _) => Self::Incomplete,
            (RunStatus::Cancelled, _) => Self::Cancelled,
            (RunStatus::Running, _) => Self::Running,
        }
    }

    /// Returns the words that select runs: each state, and `completed`.
    pub fn selectors() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|state| state.as_str()).chain(["completed"])
    }

    /// Returns the states that a word of [`RunState::selectors`] selects.
    pub fn selected_by(word: &str) -> Option<&'static [Self]> {
        match word {
            "failed" => Some(&[Self::Failed, Self::NotStarted]),
            "completed" => Some(&[Self::Passed, Self::Failed]),
            word => Self::ALL.chunks(1).find(|state| state[0].as_str() == word),
        }
    }
}

text_enum! {
    /// A signal that stops a run.
    pub enum StopSignal {
        /// Ctrl-C.
        Interrupt = "SIGINT",
        /// Sent by service managers.
        Terminate = "SIGTERM",
        /// The terminal is gone.
        HangUp = "SIGHUP",
    }
}

impl HostFault {
    /// Returns the reason of a run that ends because of this fault.
    pub fn reason(self) -> Reason {
        match self {
            Self::Storage => Reason::Storage,
            Self::Memory | Self::Files | Self::Threads => Reason::Machine,
        }
    }
}

/// A change of status that the graph does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadTransition(String);

impl RunStatus {
    /// Returns the status of a run whose session ended for this reason, or completed all trials. A run that has rows is
    /// `incomplete` instead of `failed`.
    pub fn after(reason: Option<Reason>, has_rows: bool) -> Self {
        match reason {
            None => Self::Completed,
            Some(Reason::Cancelled) => Self::Cancelled,
            Some(Reason::Plugin | Reason::Setup | Reason::Machine | Reason::Internal)
                if !has_rows =>
            {
                Self::Failed
            }
            Some(_) => Self::Incomplete,
        }
    }

    /// Returns the new status. All changes use this graph, and a trigger of the database has the same.
    ///
    /// # Errors
    ///
    /// A change that the graph does not have.
    pub fn next(self, to: Self) -> Result<Self, BadTransition> {
        let refused = || BadTransition(format!("a run that is {self} cannot become {to}"));
        match (self, to) {
            (Self::Running, Self::Running) => Err(refused()),
            // `runner resume` continues any run; `--force` is checked by the caller.
            (Self::Running, _) | (_, Self::Running) => Ok(to),
            (from, to) if from == to => Err(BadTransition(format!("the run is already {to}"))),
            // `runner cancel` after the run has ended.
            (Self::Incomplete | Self::Failed, Self::Cancelled) => Ok(to),
            _ => Err(refused()),
        }
    }

    pub fn is_terminal(self) -> bool {
        self != Self::Running
    }
}

/// Numbers of trials by the outcome of their final rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Trials that passed.
    pub passed: u64,
    /// Trials whose output was judged as wrong.
    pub failed: u64,
    /// Trials without a verdict, because of an error.
    pub error: u64,
    /// Trials that reached their timeout.
    pub timeout: u64,
    /// Trials that the provider skipped.
    pub skipped: u64,
    /// Trials in `passed` that needed more than one attempt.
    pub flaky: u64,
    /// Trials without a final row whose newest row waits for a grader. They are not done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ungraded: u64,
    /// Trials in `failed`, `error` and `timeout` whose result is a known failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub known: u64,
    /// Trials in `passed` that the list of known failures expects to fail.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unexpected_passes: u64,
    /// Planned trials that adaptive repeats do not need, because the results of their test decide its rate. Absent without such
    /// repeats. Until all others are done, more trials may turn out not to be needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_needed: Option<u64>,
}

/// Writes counts that are not 0: `6 passed, 3 failed, 1 flaky`. Beside known failures: `6 passed, 1 unexpected, 2 known, 1 flaky`.
impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [failed, error, timeout, unexpected] = self.unexpected_or_outcomes();
        let words = [
            (self.passed.saturating_sub(self.unexpected_passes), "passed", "passed"),
            (unexpected, "unexpected", "unexpected"),
            (self.known, "known", "known"),
            (failed, "failed", "failed"),
            (error, "error", "errors"),
            (timeout, "timeout", "timeouts"),
            (self.skipped, "skipped", "skipped"),
            (self.flaky, "flaky", "flaky"),
            (self.not_needed.unwrap_or(0), "not needed", "not needed"),
        ];
        let shown = words.into_iter().filter(|(count, ..)| *count > 0);
        let shown: Vec<_> = shown.map(|(count, one, many)| plural(count, one, many)).collect();
        formatter.write_str(&shown.join(", "))
    }
}

impl Counts {
    /// Counts a final row, or a trial that is `ungraded`. Ignores interrupted attempts.
    pub fn add(&mut self, outcome: Outcome, flaky: bool) {
        if let Some(count) = self.count(outcome) {
            *count += 1;
            self.flaky += u64::from(flaky);
        }
    }

    /// Counts a result by the list of known failures, after [`Self::add`].
    pub fn add_state(&mut self, state: KnownState) {
        if let Some(count) = self.of_state(state) {
            *count += 1;
        }
    }

    /// Undoes [`Self::add_state`].
    pub fn remove_state(&mut self, state: KnownState) {
        if let Some(count) = self.of_state(state) {
            *count -= 1;
        }
    }

    fn of_state(&mut self, state: KnownState) -> Option<&mut u64> {
        match state {
            KnownState::Unlisted => None,
            KnownState::Known => Some(&mut self.known),
            KnownState::UnexpectedPass => Some(&mut self.unexpected_passes),
        }
    }

    /// Undoes [`Self::add`] for a trial that has a newer final row.
    pub fn remove(&mut self, outcome: Outcome, flaky: bool) {
        if let Some(count) = self.count(outcome) {
            *count -= 1;
            self.flaky -= u64::from(flaky);
        }
    }

    /// Returns the counts without those of `other`, at least 0 each.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// Returns the sums of both counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |own, other| own + other)
    }

    fn with(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            passed: join(self.passed, other.passed),
            failed: join(self.failed, other.failed),
            error: join(self.error, other.error),
            timeout: join(self.timeout, other.timeout),
            skipped: join(self.skipped, other.skipped),
            flaky: join(self.flaky, other.flaky),
            ungraded: join(self.ungraded, other.ungraded),
            known: join(self.known, other.known),
            unexpected_passes: join(self.unexpected_passes, other.unexpected_passes),
            not_needed: (self.not_needed.or(other.not_needed))
                .map(|_| join(self.not_needed.unwrap_or(0), other.not_needed.unwrap_or(0))),
        }
    }

    fn count(&mut self, outcome: Outcome) -> Option<&mut u64> {
        match outcome {
            Outcome::Passed => Some(&mut self.passed),
            Outcome::Failed => Some(&mut self.failed),
            Outcome::Error => Some(&mut self.error),
            Outcome::Timeout => Some(&mut self.timeout),
            Outcome::Skipped => Some(&mut self.skipped),
            Outcome::Ungraded => Some(&mut self.ungraded),
            Outcome::Stopped => None,
        }
    }

    /// Returns the number of trials with a final row.
    pub fn done(&self) -> u64 {
        self.passed + self.failed + self.error + self.timeout + self.skipped
    }

    /// Returns the number of planned trials that the results so far may need, of all planned ones.
    pub fn needed_of(&self, planned: u64) -> u64 {
        planned.saturating_sub(self.not_needed.unwrap_or(0))
    }

    /// Returns whether all trials have a final row that the results need, of all planned ones.
    pub fn is_whole(&self, planned: u64) -> bool {
        self.done() == self.needed_of(planned)
    }

    /// Returns the number of trials that failed, ended in an error or timed out.
    pub fn bad(&self) -> u64 {
        self.failed + self.error + self.timeout
    }

    /// Returns the number of trials that make the verdict `failed`: bad ones that are not known, and passes that are not expected.
    pub fn unexpected(&self) -> u64 {
        self.bad().saturating_sub(self.known) + self.unexpected_passes
    }

    /// Returns whether known failures change what the counts mean. Then texts name unexpected and known results in place of
    /// outcomes.
    pub fn has_known(&self) -> bool {
        self.known + self.unexpected_passes > 0
    }

    /// Returns the counts without unexpected results.
    #[must_use]
    pub fn expected(self) -> Self {
        let passed = self.passed.saturating_sub(self.unexpected_passes);
        Self { passed, failed: self.known, error: 0, timeout: 0, unexpected_passes: 0, ..self }
    }

    /// Returns failures, errors and timeouts, and then the number of unexpected results, which replaces them if [`Self::has_known`].
    pub fn unexpected_or_outcomes(&self) -> [u64; 4] {
        match self.has_known() {
            true => [0, 0, 0, self.unexpected()],
            false => [self.failed, self.error, self.timeout, 0],
        }
    }

    /// Returns the verdict of a run with these counts. A run that ended early because of bad trials has failed.
    pub fn verdict(&self, status: RunStatus, reason: Option<Reason>) -> RunVerdict {
        match status {
            RunStatus::Completed if self.unexpected() > 0 => RunVerdict::Failed,
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
