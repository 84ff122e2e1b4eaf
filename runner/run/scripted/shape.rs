//! [`PlanShape`]: a plan, made by the scenario's own way from a text, whose tests are held in memory.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use super::random::Random;
use crate::{
    model::ProviderId,
    run::dispatcher::{Lane, LaneRules, Tests},
    scenario::{self, Rate, Selection, Test},
};

/// A plan without plugins.
pub(super) struct PlanShape {
    pub(super) providers: Vec<ProviderShape>,
    pub(super) tests: Vec<Arc<Test>>,
    /// By ordinal.
    pub(super) trials: Vec<TrialShape>,
}

/// What bounds a provider.
pub(super) struct ProviderShape {
    id: ProviderId,
    pub(super) concurrency: Option<usize>,
    pub(super) rate: Option<Rate>,
    pub(super) memory: u64,
}

/// A trial.
pub(super) struct TrialShape {
    pub(super) provider: usize,
    pub(super) test: Arc<Test>,
}

impl ProviderShape {
    /// How far apart its attempts begin, at least.
    pub(super) fn gap(&self) -> Duration {
        let rate = self.rate.as_ref();
        rate.map_or(Duration::ZERO, |rate| rate.per / rate.count)
    }
}

impl PlanShape {
    /// Makes the plan of a scenario's text.
    pub(super) fn of(text: &str) -> Self {
        let scenario = scenario::parse(Path::new("scripted.toml"), text).unwrap();
        let suite = scenario::normalise(&scenario, &Selection::default()).unwrap();
        let mut reader = suite.reader();
        let tests: Vec<_> = (0..suite.test_count())
            .map(|index| reader.test(index).unwrap())
            .collect();
        let trials = (0..suite.trial_count()).map(|ordinal| {
            let (test, provider, _) = reader.at(ordinal).unwrap();
            TrialShape { provider, test }
        });
        let providers = scenario.providers().iter().map(|provider| ProviderShape {
            id: provider.id.clone(),
            concurrency: provider.concurrency.map(Into::into),
            rate: provider.rate,
            memory: provider.limits.memory,
        });
        Self {
            trials: trials.collect(),
            providers: providers.collect(),
            tests,
        }
    }

    /// Makes up a plan.
    pub(super) fn random(random: &mut Random) -> Self {
        use std::fmt::Write as _;

        let mut text = String::from("name = \"scripted\"\n");
        for index in 0..=random.below(3) {
            write!(text, "[providers.p{index}]\nplugin = \"plugins/echo\"\n").unwrap();
            if random.one_in(3) {
                writeln!(text, "concurrency = {}", 1 + random.below(2)).unwrap();
            }
            if random.one_in(3) {
                let rate = random.one_of(&["20/s", "100/s", "500/s"]);
                writeln!(text, "rate = \"{rate}\"").unwrap();
            }
            let memory = random.one_of(&[64, 64, 128, 256]);
            writeln!(text, "limits = {{ memory = \"{memory}MiB\" }}").unwrap();
        }
        for index in 0..1 + random.below(7) {
            let repeat = 1 + random.below(3);
            write!(text, "[[tests]]\nid = \"t{index}\"\nrepeat = {repeat}\n").unwrap();
            let retries = match random.below(3) {
                0 => "{ max = 0 }",
                1 => "{ max = 1, backoff = \"0ms\", on = [\"timeout\"] }",
                _ => "{ max = 2, backoff = \"30ms\", on = [\"unavailable\", \"timeout\"] }",
            };
            writeln!(text, "retries = {retries}").unwrap();
        }
        Self::of(&text)
    }

    /// The lanes of all providers.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let held = Arc::new(HashSet::new());
        let providers = self.providers.iter().enumerate();
        let lane = |(index, provider): (usize, &ProviderShape)| {
            let rules = LaneRules {
                provider: index,
                id: provider.id.clone(),
                concurrency: provider.concurrency,
                rate: provider.rate,
                memory: provider.memory,
                keeps_instances: false,
            };
            let tests = self.tests.clone();
            let tests = Tests {
                count: tests.len() as u64,
                first: 0,
                read: Box::new(move |index| Ok(Arc::clone(&tests[index as usize]))),
            };
            Lane::new(rules, tests, Arc::clone(&held))
        };
        providers.map(lane).collect()
    }
}
