//! [`TrialNames`]: the ids of a run's trials by their places in its plan, for those who only read.

use std::sync::Arc;

use fs_err::File;

use crate::{
    model::TrialId,
    record::RunReader,
    scenario::{self, Scenario, Suite, SuiteReader, Test},
};

/// The ids of a run's trials by their places in its plan.
pub struct TrialNames {
    scenario: Scenario,
    suite: SuiteReader,
}

impl TrialNames {
    /// Opens what was stored with a run; `None` if that is not there any more.
    pub fn of(reader: &RunReader) -> Option<Self> {
        let manifest = reader.manifest();
        let text = reader.scenario_text().ok()?;
        let scenario = scenario::parse_stored(manifest.scenario.path.as_ref(), &text).ok()?;
        let suite = File::open(reader.content().path(manifest.metadata.suite)).ok()?;
        let suite = Suite::open(suite.into_parts().0).ok()?;
        Some(Self {
            scenario,
            suite: suite.reader_of_rows(),
        })
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
