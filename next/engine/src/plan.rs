//! [`Plan`]: a scenario with its suite and plugins; what a session works through.

use std::{rc::Rc, time::Duration};

use runner_model::{Budgets, FailFast, Micros, Places, provider::PreparedProvider};
use runner_record::PluginCache;
use runner_scenario::{Scenario, Suite};

use crate::{
    fingerprint::Fingerprints,
    machine,
    plugins::Plugins,
    schedule::{Settings, Trials},
};

/// A scenario with its suite and plugins.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) suite: Rc<Suite>,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: Plugins,
    pub(crate) prints: Fingerprints,
    pub(crate) cache: PluginCache,
    /// How many attempts run at once.
    pub(crate) jobs: u32,
    /// How long the session may take.
    pub(crate) timeout: Duration,
    /// When the session gives up.
    pub(crate) fail_fast: FailFast,
    /// Budgets that a command line has given.
    pub(crate) given_budgets: Budgets,
}

/// What one worker gets of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) slots: u32,
    pub(crate) memory: u64,
}

impl Trials for Rc<Suite> {
    fn count(&self) -> u64 {
        self.trials()
    }

    fn next_trial(&self, provider: u16, from: u64) -> Option<u64> {
        Suite::next_trial(self, provider, from)
    }
}

impl Plan {
    /// What the schedule goes by; the session's time began at 0.
    pub(crate) fn settings(&self) -> Settings {
        let providers = self.providers.iter().map(|prepared| &prepared.provider);
        Settings {
            jobs: self.jobs,
            concurrency: providers
                .map(|provider| provider.concurrency.unwrap_or(0))
                .collect(),
            timeout: runner_model::RunTime(Micros::from(self.timeout).0),
            grace: self.scenario.run.grace,
        }
    }

    /// The workers that the session starts for so many trials. Their slots are together as many as attempts run at once.
    pub(crate) fn shapes(&self, pending: u64) -> Vec<Shape> {
        let limits = self.providers.iter();
        let largest = limits.map(|prepared| prepared.provider.limits.memory).max();
        shapes(
            u64::from(self.jobs).min(pending) as u32,
            machine::cores(),
            machine::memory(),
            largest.unwrap_or(0),
        )
    }
}

fn shapes(jobs: u32, cores: u32, memory: u64, largest: u64) -> Vec<Shape> {
    let jobs = jobs.max(1);
    let fitting = memory.checked_div(largest).unwrap_or(u64::MAX);
    let workers = u64::from(cores.min(jobs)).min(fitting).max(1) as u32;
    let shape = |worker| Shape {
        slots: jobs / workers + u32::from(worker < jobs % workers),
        memory: memory / u64::from(workers),
    };
    (0..workers).map(shape).collect()
}
