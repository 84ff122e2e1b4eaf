//! [`Selection`]: the tests and providers that the command line selects.

use std::collections::HashSet;

use globset::GlobSet;
use runner_model::{ScenarioOverrides, provider::Provider};

use crate::{
    globs,
    keys::{TestList, TestSettings},
    problem::Problem,
};

/// The selection of the command line. An empty list selects everything, or excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over test ids.
    pub tests: Vec<String>,
    /// Globs over ids of tests that are left out.
    pub exclude: Vec<String>,
    /// Globs over provider names.
    pub providers: Vec<String>,
    /// Tags. A test must have at least one of them.
    pub tags: Vec<String>,
    /// The only tests and providers, as `test@provider`. `None` selects all.
    pub only: Option<HashSet<String>>,
    pub overrides: ScenarioOverrides,
}

impl Selection {
    /// Returns whether anything is selected, so that tests or providers may be left out.
    pub fn is_some(&self) -> bool {
        let lists = [&self.tests, &self.exclude, &self.providers, &self.tags];
        self.only.is_some() || lists.iter().any(|list| !list.is_empty())
    }

    /// Returns whether the providers leave one of a list's. Invalid globs leave all: they are reported later.
    pub(crate) fn may_use(&self, list: &TestList, providers: &[Provider]) -> bool {
        let own = list.providers.as_ref().map(|globs| globs::over_ids(globs));
        let (Some(Ok(own)), Ok(selected)) = (own, globs::over_ids(&self.providers)) else {
            return true;
        };
        let mut names = providers.iter().map(|provider| &*provider.name);
        self.providers.is_empty() || names.any(|name| own.is_match(name) && selected.is_match(name))
    }
}

/// A [`Selection`] with compiled globs.
pub(crate) struct Filter<'s> {
    tests: Option<GlobSet>,
    exclude: Option<GlobSet>,
    providers: Option<GlobSet>,
    pub(crate) selection: &'s Selection,
}

impl<'s> Filter<'s> {
    pub(crate) fn new(selection: &'s Selection) -> Result<Self, Problem> {
        let refuse = |message| {
            Problem::new(message)
                .with_help("`--test`, `--exclude` and `--provider` take globs such as `words/*`")
        };
        let set = |globs: &[String]| {
            for glob in globs {
                let checked = match &**glob {
                    "" => Err("it is empty".to_owned()),
                    glob => globs::over_ids(&[glob]).map(drop),
                };
                checked.map_err(|reason| {
                    refuse(format!("invalid glob `{glob}` on the command line: {reason}"))
                })?;
            }
            let set = (!globs.is_empty()).then(|| globs::over_ids(globs)).transpose();
            set.map_err(|reason| refuse(format!("too many globs on the command line: {reason}")))
        };
        Ok(Self {
            tests: set(&selection.tests)?,
            exclude: set(&selection.exclude)?,
            providers: set(&selection.providers)?,
            selection,
        })
    }

    /// Removes the providers of a test on which it is not selected. `names` has the names of all providers.
    pub(crate) fn narrow(
        &self,
        id: &str,
        settings: &TestSettings,
        names: &[&str],
        providers: &mut Vec<u16>,
    ) {
        let Selection { tags, only, .. } = self.selection;
        let has_tag = || tags.iter().any(|tag| settings.tags.contains(tag));
        let is_selected = self.tests.as_ref().is_none_or(|tests| tests.is_match(id))
            && self.exclude.as_ref().is_none_or(|exclude| !exclude.is_match(id))
            && (tags.is_empty() || has_tag());
        if !is_selected {
            providers.clear();
        } else if let Some(selected) = &self.providers {
            providers.retain(|index| selected.is_match(names[usize::from(*index)]));
        }
        if let Some(only) = only {
            providers
                .retain(|index| only.contains(&format!("{id}@{}", names[usize::from(*index)])));
        }
    }
}
