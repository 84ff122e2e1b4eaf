//! [`Selection`]: the tests and providers that the command line selects.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use runner_model::known::KnownState;
use runner_model::{RowRef, Selected, Text, globs, provider::Provider};

use crate::{
    filter::{Condition, Expression, Facts, Filter, meta_text},
    keys::{TestList, TestSettings},
    problem::Problem,
};

/// The selection of the command line, with the results of earlier runs that it refers to.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The selection as written. Its filter and `last_failed` are in the other fields.
    pub selected: Selected,
    /// The only tests and providers, as `test@provider`. `None` selects all.
    pub only: Option<Arc<HashSet<String>>>,
    /// A resolved filter.
    pub filter: Option<Filter>,
}

impl From<Selected> for Selection {
    fn from(selected: Selected) -> Self {
        Self { selected, only: None, filter: None }
    }
}

impl Selection {
    /// Returns whether tests or providers are selected, so that others may be left out.
    pub fn is_some(&self) -> bool {
        let Selected { tests, exclude, providers, tags, first, sample, .. } = &self.selected;
        let lists = [tests, exclude, providers, tags];
        self.only.is_some()
            || self.filter.is_some()
            || first.is_some()
            || sample.is_some()
            || lists.iter().any(|list| !list.is_empty())
    }

    /// Returns whether one of a list's providers may be selected. Invalid globs leave all: they are reported later.
    pub(crate) fn may_use(&self, list: &TestList, providers: &[Provider]) -> bool {
        let own = list.providers.as_ref().map(|globs| globs::over_ids(globs));
        let (Some(Ok(own)), Ok(Some(filter))) = (own, self.compile()) else {
            return true;
        };
        providers.iter().filter(|one| one.is_tested()).any(|Provider { name, .. }| {
            let facts = TestFacts { test: None, provider: Some(name) };
            own.is_match(&**name) && filter.matches(&facts) != Some(false)
        })
    }

    /// Returns the filter that all parts of the selection make together. `None` if it selects everything.
    pub(crate) fn compile(&self) -> Result<Option<Filter>, Problem> {
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
        let is = |condition| Expression::Is(condition, 0..0);
        let Selected { tests, exclude, providers, tags, .. } = &self.selected;
        let tags = (!tags.is_empty()).then(|| tags.clone());
        let only = self.only.clone().map(Condition::of_run);
        let exclude = set(exclude)?.map(|globs| is(Condition::Test(globs)));
        let parts = [
            set(providers)?.map(|globs| is(Condition::Provider(globs))),
            set(tests)?.map(|globs| is(Condition::Test(globs))),
            exclude.map(|exclude| Expression::Not(Box::new(exclude))),
            tags.map(|tags| is(Condition::Tag(tags))),
            self.filter.as_ref().map(|filter| filter.root().clone()),
            only.map(is),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        Ok((!parts.is_empty()).then(|| Filter::new("", Expression::All(parts))))
    }
}

/// The facts of a test on a provider that may be planned.
struct TestFacts<'a> {
    test: Option<(&'a str, &'a TestSettings)>,
    provider: Option<&'a str>,
}

impl Facts for TestFacts<'_> {
    fn test(&self) -> Option<&str> {
        self.test.map(|(id, _)| id)
    }

    fn provider(&self) -> Option<&str> {
        self.provider
    }

    fn has_tag(&self, tag: &str) -> Option<bool> {
        self.test.map(|(_, settings)| settings.tags.iter().any(|own| own == tag))
    }

    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool> {
        let value = self.test?.1.meta.get(&Text::from(key));
        Some(value.is_some_and(|value| matches(&meta_text(value))))
    }

    fn row(&self) -> Option<&RowRef<'_>> {
        None
    }

    fn known(&self) -> Option<KnownState> {
        None
    }

    fn log(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn changed(&self) -> Option<Vec<String>> {
        None
    }
}

/// Removes the providers of a test on which a filter does not select it. `names` has the names of all providers.
pub(crate) fn narrow(
    filter: &Filter,
    id: &str,
    settings: &TestSettings,
    names: &[&str],
    providers: &mut Vec<u16>,
) {
    let mut facts = TestFacts { test: Some((id, settings)), provider: None };
    match filter.matches(&facts) {
        Some(true) => {}
        Some(false) => providers.clear(),
        None => providers.retain(|index| {
            facts.provider = Some(names[usize::from(*index)]);
            filter.matches(&facts) == Some(true)
        }),
    }
}
