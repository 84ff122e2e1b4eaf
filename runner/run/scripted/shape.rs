//! [`PlanShape`]: a plan, made by the scenario's own way from a text, whose tests are held in memory.

use std::{collections::HashSet, iter, path::Path, sync::Arc, time::Duration};

use super::random::Random;
use crate::{
    judge::AnswerForm,
    model::{Digest, ProviderId},
    record::GradingDeaths,
    run::{
        dispatcher::{GradingParts, Lane, LaneRules, Tests},
        grading::{GraderRole, Graders},
    },
    scenario::{self, Grader, Rate, Selection, Test},
};

/// A plan without plugins.
pub(super) struct PlanShape {
    pub(super) providers: Vec<ProviderShape>,
    pub(super) tests: Vec<Arc<Test>>,
    /// By ordinal.
    pub(super) trials: Vec<TrialShape>,
    pub(super) graders: Vec<GraderShape>,
}

/// What bounds a grader.
pub(super) struct GraderShape {
    pub(super) definition: Grader,
    pub(super) concurrency: usize,
}

impl GraderShape {
    pub(super) fn name(&self) -> &str {
        self.definition.name()
    }

    /// How far apart its attempts begin, at least.
    pub(super) fn gap(&self) -> Duration {
        gap(self.definition.provider.rate.as_ref())
    }
}

fn gap(rate: Option<&Rate>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| rate.per / rate.count)
}

/// How much of a delay later starts may make up.
const MADE_UP: Duration = Duration::from_millis(10);

/// When something has begun.
#[derive(Clone, Default)]
pub(super) struct Starts(Vec<Duration>);

impl Starts {
    /// Adds one; tells whether they keep this gap, of which no delay longer than [`MADE_UP`] is taken off.
    pub(super) fn add(&mut self, now: Duration, gap: Duration) -> bool {
        let mut before = self.0.iter().rev().zip(1..);
        let keeps = before.all(|(began, nth)| now + MADE_UP >= *began + gap * nth);
        self.0.push(now);
        keeps
    }
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
        gap(self.rate.as_ref())
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
        let graders = scenario.graders().iter().map(|grader| GraderShape {
            concurrency: grader.provider.concurrency.map_or(4, Into::into),
            definition: grader.clone(),
        });
        Self {
            graders: graders.collect(),
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
        let graders = random.below(3);
        for index in 0..graders {
            write!(text, "[graders.g{index}]\nplugin = \"plugins/echo\"\n").unwrap();
            if random.one_in(2) {
                writeln!(text, "concurrency = {}", 1 + random.below(2)).unwrap();
            }
            if random.one_in(3) {
                let rate = random.one_of(&["20/s", "100/s", "500/s"]);
                writeln!(text, "rate = \"{rate}\"").unwrap();
            }
            if random.one_in(2) {
                text.push_str("retries = { max = 1, backoff = \"10ms\", on = [\"unavailable\", \"timeout\"] }\n");
            }
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
            let named = ["\"g0\"", "\"g0\", \"g1\""];
            if graders > 0 && random.one_in(2) {
                let named = named[random.below(graders) as usize];
                writeln!(text, "expect = {{ graders = [{named}] }}").unwrap();
            }
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

    /// By provider, what an attempt may take.
    pub(super) fn memory(&self) -> Vec<u64> {
        self.providers
            .iter()
            .map(|provider| provider.memory)
            .collect()
    }

    /// The same by grader.
    pub(super) fn grader_memory(&self) -> Vec<u64> {
        let graders = self.graders.iter();
        let limits = graders.map(|grader| grader.definition.provider.limits);
        limits.map(|limits| limits.memory).collect()
    }

    /// The graders that tests name, with their lanes, in a run of which nothing is on disk.
    pub(super) fn grading(&self, poison_after: u32) -> GradingParts {
        let graders = self.graders.iter().enumerate();
        let lane = |(index, grader): (usize, &GraderShape)| {
            let provider = &grader.definition.provider;
            Lane::of_grader(index, provider, grader.concurrency, provider.limits.memory)
        };
        let roles = self.graders.iter().map(|grader| {
            Some(GraderRole {
                definition: grader.definition.clone(),
                form: AnswerForm::Reply,
                digest: Digest::of(grader.name().as_bytes()),
            })
        });
        GradingParts {
            lanes: graders.map(lane).collect(),
            graders: Arc::new(Graders {
                roles: roles.collect(),
                plain: vec![false; self.providers.len()],
                scenario: Digest::of(b"scripted"),
            }),
            backlog: Box::new(iter::empty()),
            planned: self.trials.len() as u64,
            deaths: GradingDeaths::new(),
            poison_after,
        }
    }
}

/// What a schedule sets.
#[derive(Clone, Copy)]
pub(super) struct AuditRules {
    pub(super) fail_fast: Option<u64>,
    pub(super) poison_after: u32,
    pub(super) grace: Duration,
    pub(super) ends: Duration,
    pub(super) forsaken: Duration,
}
