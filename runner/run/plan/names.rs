//! [`TrialNames`]: the ids of a run's trials by their places in its plan, for those who only read.

use std::sync::Arc;

use fs_err::File;

use crate::{
    model::TrialId,
    record::RunReader,
    scenario::{self, Scenario, Suite, SuiteReader, Test, TestLabels},
};

/// The ids of a run's trials by their places in its plan.
#[derive(Clone)]
pub struct TrialNames {
    scenario: Scenario,
    suite: SuiteReader,
}

impl TrialNames {
    /// Opens what was stored with a run; `None` if that is not there any more.
    pub fn of(reader: &RunReader) -> Option<Self> {
        let scenario = stored_scenario(reader)?;
        Some(Self::with(scenario, &open_stored_suite(reader)?))
    }

    /// The trials of these tests.
    pub(super) fn with(scenario: Scenario, suite: &Suite) -> Self {
        Self {
            scenario,
            suite: suite.reader_of_rows(),
        }
    }

    /// What the tests of the run's trials say of themselves, where its trials can be named; it takes a fraction of the time.
    pub fn labels(reader: &RunReader) -> Option<TestLabels> {
        stored_scenario(reader)?;
        TestLabels::read(&stored_suite(reader)?).ok()
    }

    /// The scenario that was stored with the run.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The test of the trial with this place.
    pub fn test(&mut self, ordinal: u64) -> Option<Arc<Test>> {
        self.suite.at(ordinal).ok().map(|(test, ..)| test)
    }

    /// The trial with this place.
    pub fn name(&mut self, ordinal: u64) -> Option<TrialId> {
        let (test, provider, repeat) = self.suite.at(ordinal).ok()?;
        Some(TrialId {
            test: test.id.clone(),
            provider: self.scenario.providers().get(provider)?.id.clone(),
            repeat,
        })
    }
}

pub(super) fn stored_scenario(reader: &RunReader) -> Option<Scenario> {
    let text = reader.scenario_text().ok()?;
    scenario::parse_stored(reader.manifest().scenario.path.as_ref(), &text).ok()
}

/// The tests that were stored with the run.
pub(in crate::run) fn open_stored_suite(reader: &RunReader) -> Option<Suite> {
    let digest = reader.manifest().metadata.suite;
    Suite::open_as(stored_suite(reader)?, digest).ok()
}

fn stored_suite(reader: &RunReader) -> Option<std::fs::File> {
    let suite = File::open(reader.content().path(reader.manifest().metadata.suite)).ok()?;
    Some(suite.into_parts().0)
}
