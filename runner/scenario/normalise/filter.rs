//! [`SelectionFilter`]: what the command line selects among [`Resolved`] tests.

use std::{borrow::Cow, mem, sync::Arc};

use globset::GlobSet;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    filter::{CameTo, Expression, Facts},
    model::ProviderId,
    scenario::{ScenarioError, Selection, settings::Settings, test_list::TestList},
};

/// A test with everything that its list and the defaults say.
pub(super) struct Resolved {
    pub(super) id: String,
    pub(super) input: Value,
    /// What a good output is like, if it is said.
    pub(super) reference: Option<Value>,
    pub(super) expect: Arc<RawValue>,
    pub(super) providers: Vec<u32>,
    pub(super) settings: Settings,
    pub(super) files: Map<String, Value>,
}

/// What was selected on the command line.
pub(super) struct SelectionFilter {
    /// Absent where everything is selected.
    expression: Option<Expression>,
    pub(super) repeat: Option<u32>,
}

impl SelectionFilter {
    pub(super) fn new(selection: &Selection) -> Result<Self, ScenarioError> {
        let is_everything = Selection {
            repeat: None,
            shard: None,
            ..selection.clone()
        } == Selection::default();
        Ok(Self {
            expression: match is_everything {
                true => None,
                false => Some(selection.expression()?),
            },
            repeat: selection.repeat,
        })
    }

    /// Tells whether every test is selected.
    pub(super) fn is_everything(&self) -> bool {
        self.expression.is_none()
    }

    /// Leaves a test those of its providers on which it is selected; `names` are those of all providers.
    pub(super) fn narrow(&self, test: &mut Resolved, names: &[&str]) {
        let Some(expression) = &self.expression else {
            return;
        };
        let mut places = mem::take(&mut test.providers);
        places.retain(|place| {
            let facts = TestFacts {
                test: Some(&test.id),
                provider: names[*place as usize],
                tags: Some(&test.settings.tags),
                meta: Some(&test.settings.meta),
            };
            expression.holds(&facts) == Some(true)
        });
        test.providers = places;
    }
}

/// Tells whether a test's list has it run, and it has a provider left.
pub(super) fn is_run(test: &Resolved, list: Option<&TestList>) -> bool {
    let is_in = |set: &Option<GlobSet>| set.as_ref().map(|set| set.is_match(&test.id));
    list.is_none_or(|list| is_in(&list.select) != Some(false) && is_in(&list.exclude) != Some(true))
        && !test.providers.is_empty()
}

/// What is known before anything runs: of a test on a provider, or of a provider alone.
struct TestFacts<'a> {
    test: Option<&'a str>,
    provider: &'a str,
    tags: Option<&'a [String]>,
    meta: Option<&'a Map<String, Value>>,
}

impl Facts for TestFacts<'_> {
    fn test(&self) -> Option<&str> {
        self.test
    }

    fn provider(&self) -> Option<&str> {
        Some(self.provider)
    }

    fn trial(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn tags(&self) -> Option<&[String]> {
        self.tags
    }

    fn meta(&self) -> Option<&Map<String, Value>> {
        self.meta
    }

    fn came_to(&self) -> Option<CameTo> {
        None
    }
}

impl Selection {
    /// Tells whether a provider may be selected, whatever its tests are.
    pub fn has_provider(&self, provider: &ProviderId) -> Result<bool, ScenarioError> {
        let facts = TestFacts {
            test: None,
            provider: provider.as_str(),
            tags: None,
            meta: None,
        };
        Ok(self.expression()?.holds(&facts) != Some(false))
    }
}
