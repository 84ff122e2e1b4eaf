//! What a schedule is made with: the session's settings, the providers' bounds and the pending trials.

use runner_model::{Micros, RunTime, SessionSettings, provider::Rate, test::Retries};

use super::budgets::Spending;

/// The trials that a session has to do. Implemented over the suite and the state of its rows.
pub trait Trials {
    /// The first of `provider` with an index of at least `from`. Asked only for trials of which this session has no row.
    fn next_pending(&self, provider: u16, from: u64) -> Option<Pending>;
}

/// What a schedule goes by.
#[derive(Clone, Debug)]
pub struct ScheduleSettings {
    /// How the session runs and what ends it early.
    pub session: SessionSettings,
    /// Trials of the plan, for a `fail_fast` that is a fraction.
    pub planned: u64,
    /// What bounds each provider's attempts.
    pub providers: Vec<Bounds>,
    /// The run's budgets, with what earlier sessions have used up.
    pub spending: Spending,
}

impl ScheduleSettings {
    /// The end of the session's run time.
    pub(super) fn timeout(&self) -> RunTime {
        RunTime(Micros::from(self.session.timeout).0)
    }

    pub(super) fn grace(&self) -> Micros {
        self.session.grace.into()
    }

    /// Bad trials after which no further trial starts.
    pub(super) fn most_bad(&self) -> Option<u64> {
        self.session.fail_fast.most(self.planned)
    }
}

/// What bounds the attempts of a provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// How many run at once; 0: as many as there are jobs.
    pub concurrency: u32,
    /// How many may start in which time.
    pub rate: Option<Rate>,
    /// Bytes of memory that one may hold.
    pub memory: u64,
}

/// What a test's line says about attempts; the coordinator keeps it with each task that it sends.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which attempts are made again.
    pub retries: Retries,
    /// How long all attempts of a trial may take together.
    pub trial_timeout: Option<Micros>,
}

/// A trial that this session has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The trial's index.
    pub trial: u64,
    /// Attempts that its rows have already.
    pub attempts: u32,
    /// Whether a row that did not pass was seen in an earlier session; then a pass is flaky.
    pub had_bad: bool,
}
