//! [`Selection`]: the tests and providers that the command line selects.

use std::collections::HashSet;

use globset::GlobSet;

use crate::{globs, keys::TestSettings, problem::Problem};

/// The selection of the command line. An empty list selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs over test ids.
    pub tests: Vec<String>,
    /// Globs over provider names.
    pub providers: Vec<String>,
    /// Tags, of which a test must have one.
    pub tags: Vec<String>,
    /// The only tests and providers, as `test@provider`. `None` selects all.
    pub only: Option<HashSet<String>>,
}

/// A [`Selection`] with compiled globs.
pub(crate) struct Filter<'s> {
    tests: Option<GlobSet>,
    providers: Option<GlobSet>,
    selection: &'s Selection,
}

impl<'s> Filter<'s> {
    pub(crate) fn new(selection: &'s Selection) -> Result<Self, Problem> {
        let set = |globs: &[String]| {
            let set = (!globs.is_empty()).then(|| globs::set(globs)).transpose();
            set.map_err(|error| {
                let glob = error.glob().unwrap_or_default().to_owned();
                Problem::new(format!("invalid glob `{glob}` on the command line: {}", error.kind()))
                    .with_help("`--test` and `--provider` take globs such as `words/*`")
            })
        };
        Ok(Self { tests: set(&selection.tests)?, providers: set(&selection.providers)?, selection })
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
