//! Inputs of a schedule: settings, bounds of providers, and pending trials.

use runner_model::{Micros, Outcome, RunTime, SessionSettings, provider::Rate, test::Retries};

use super::budgets::Spending;

/// The pending trials of a session, according to the suite and the rows.
pub trait Trials {
    /// Returns the first pending trial with an index of at least `from` that needs an attempt of `provider`. `None` for trials of
    /// any provider whose stored rows are judged. The schedule calls it with increasing `from`, so it never sees trials with
    /// rows of this session.
    fn next_pending(&self, provider: Option<u16>, from: u64) -> Option<Pending>;
}

#[derive(Clone, Debug)]
pub struct ScheduleSettings {
    pub session: SessionSettings,
    /// Trials of the plan, for a `fail_fast` that is a fraction.
    pub planned: u64,
    /// Bounds by provider, graders included. Each has a lane with the same index. One more lane judges stored rows.
    pub providers: Vec<Bounds>,
    /// Budgets of the run, with the spending of earlier sessions.
    pub spending: Spending,
}

impl ScheduleSettings {
    /// Returns the end of the session's run time.
    pub(super) fn timeout(&self) -> RunTime {
        RunTime(Micros::from(self.session.timeout).0)
    }

    pub(super) fn grace(&self) -> Micros {
        self.session.grace.into()
    }

    /// Returns the number of bad trials after which no trial starts.
    pub(super) fn most_bad(&self) -> Option<u64> {
        self.session.fail_fast.most(self.planned)
    }
}

/// Bounds of a provider's attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Maximum number of attempts in flight. 0 for no bound.
    pub concurrency: u32,
    /// Maximum rate of starts. `None` for no bound.
    pub rate: Option<Rate>,
    /// Memory limit of an attempt with its stack and its largest tool, in bytes.
    pub memory: u64,
    /// The part of `memory` that peaks do not include, in bytes: stack and tool.
    pub unmeasured: u64,
    /// Whether its tasks grade outputs of other providers.
    pub is_grader: bool,
    /// Whether interrupted attempts continue with their journals. They leave no row, and keep their numbers.
    pub has_journal: bool,
}

/// The slots of a worker, and the memory of all its guests in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Attempts of providers that run at once.
    pub slots: u32,
    /// Tasks of graders that run at once, in further slots.
    pub graders: u32,
    pub memory: u64,
}

/// The retry policy of a test. The coordinator keeps it with each task in flight.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub retries: Retries,
    /// Time for all attempts of a trial together.
    pub trial_timeout: Option<Micros>,
    /// Index of the grader to call if the grader of this task ends in an error. `None` if no other is to be called.
    pub next_grader: Option<u16>,
    /// The outcomes that `fail_fast` counts. `None` for failures, errors and timeouts.
    pub unexpected: Option<Vec<Outcome>>,
}

impl Policy {
    /// Returns whether `fail_fast` counts a final row with this outcome.
    pub(super) fn is_unexpected(&self, outcome: Outcome) -> bool {
        match &self.unexpected {
            Some(unexpected) => unexpected.contains(&outcome),
            None => outcome.is_bad(),
        }
    }
}

/// A pending trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Index of the trial.
    pub trial: u64,
    /// Attempts with rows.
    pub attempts: u32,
    /// Whether an attempt of an earlier session did not pass, so that a pass is flaky.
    pub had_bad: bool,
}
