//! [`SelectionFilter`]: what the command line selects among [`Resolved`] tests.

use std::sync::Arc;

use globset::GlobSet;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    model::ProviderId,
    scenario::{
        Scenario, ScenarioError, Selection, globs, settings::Settings, test_list::TestList,
    },
};

/// A test with everything that its list and the defaults say.
pub(super) struct Resolved {
    pub(super) id: String,
    pub(super) input: Value,
    pub(super) expect: Arc<RawValue>,
    pub(super) providers: Vec<u32>,
    pub(super) settings: Settings,
    pub(super) files: Map<String, Value>,
}

/// What was selected on the command line.
pub(super) struct SelectionFilter {
    tests: Option<GlobSet>,
    exclude: Option<GlobSet>,
    tags: Vec<String>,
    /// By place in the scenario.
    pub(super) providers: Vec<bool>,
    pub(super) repeat: Option<u32>,
}

impl SelectionFilter {
    pub(super) fn new(scenario: &Scenario, selection: &Selection) -> Result<Self, ScenarioError> {
        let providers = compile(&selection.providers)?;
        let is_selected = |name: &str| providers.as_ref().is_none_or(|set| set.is_match(name));
        Ok(Self {
            tests: compile(&selection.tests)?,
            exclude: compile(&selection.exclude)?,
            tags: selection.tags.clone(),
            providers: scenario
                .providers
                .iter()
                .map(|provider| is_selected(provider.id.as_str()))
                .collect(),
            repeat: selection.repeat,
        })
    }

    pub(super) fn selects(&self, test: &Resolved, list: Option<&TestList>) -> bool {
        let is_in = |set: &Option<GlobSet>| set.as_ref().map(|set| set.is_match(&test.id));
        let is_wanted =
            |select, exclude| is_in(select) != Some(false) && is_in(exclude) != Some(true);
        is_wanted(&self.tests, &self.exclude)
            && list.is_none_or(|list| is_wanted(&list.select, &list.exclude))
            && (self.tags.is_empty()
                || test.settings.tags.iter().any(|tag| self.tags.contains(tag)))
            && !test.providers.is_empty()
    }
}

impl Selection {
    /// Tells whether a provider is selected, whatever its tests are.
    pub fn has_provider(&self, provider: &ProviderId) -> Result<bool, ScenarioError> {
        let globs = compile(&self.providers)?;
        Ok(globs.is_none_or(|globs| globs.is_match(provider.as_str())))
    }
}

fn compile(globs: &[String]) -> Result<Option<GlobSet>, ScenarioError> {
    globs::set(globs.iter().map(String::as_str)).map_err(|source| ScenarioError::Selection {
        glob: source.glob().unwrap_or_default().to_owned(),
        source,
    })
}
