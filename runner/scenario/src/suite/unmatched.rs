//! [`Scenario::unmatched`]: the arguments of a selection that match nothing, with the nearest names.

use std::{collections::BTreeSet, ops::ControlFlow};

use globset::GlobSet;
use runner_model::{globs, visible::quoted};

use crate::{
    filter::Condition,
    lists::{AllTests, Origin},
    reading::slip_distance,
    scenario::Scenario,
    suite::selection::Selection,
};

/// Names that a message lists.
const MAX_NAMED: usize = 10;
/// Names that are compared, since a scenario can have millions.
const MAX_COMPARED: usize = 20_000;

/// Messages about arguments of a selection that match nothing.
#[derive(Debug, Default)]
pub struct Unmatched {
    /// About words of the filter, unless they are negated.
    pub words: Vec<String>,
    pub others: Vec<String>,
}

impl Scenario {
    /// Returns a message for each argument of a selection that matches no test or provider.
    pub fn unmatched(&self, selection: &Selection) -> Unmatched {
        let mut ids = Vec::new();
        let mut tags = BTreeSet::new();
        self.each_test(&mut |id, own| {
            ids.push(id);
            tags.extend(own);
        });
        let providers = self.providers.iter().filter(|provider| provider.is_tested());
        let providers = providers.map(|provider| provider.name.to_string());
        let names: Vec<_> = providers.chain(self.unused.iter().cloned()).collect();
        let tags: Vec<_> = tags.into_iter().collect();
        let globs = [
            ("test", "--test", &selection.selected.tests, &ids),
            ("test", "--exclude", &selection.selected.exclude, &ids),
            ("provider", "--provider", &selection.selected.providers, &names),
        ];
        let mut unmatched = Vec::new();
        let mut words = Vec::new();
        for (kind, flag, globs, known) in globs {
            let mut unused: BTreeSet<_> = (0..globs.len()).collect();
            // Invalid globs were refused before.
            if let Ok(set) = globs::over_ids(globs) {
                for name in known {
                    if unused.is_empty() {
                        break;
                    }
                    for index in set.matches(name) {
                        unused.remove(&(index / 2));
                    }
                }
            }
            for glob in unused.iter().take(MAX_NAMED).map(|index| &globs[*index]) {
                let folder = format!("{glob}/");
                let nearest = if known.iter().any(|name| name.starts_with(&folder)) {
                    format!("to select the tests in it: `{flag} {}`", quoted(&format!("{glob}/*")))
                } else {
                    nearest_names(glob, known.iter())
                };
                unmatched.push(format!("no {kind} matches `{flag} {glob}`; {nearest}"));
            }
            if let Some(more @ 1..) = unused.len().checked_sub(MAX_NAMED) {
                unmatched.push(format!("no {kind} matches {more} more globs of `{flag}`"));
            }
        }
        let nearest_tags = |tag: &str| match tags.len() {
            0 => "the tests have no tags".to_owned(),
            _ => nearest_names(tag, tags.iter()),
        };
        for tag in selection.selected.tags.iter().filter(|tag| !tags.contains(tag)) {
            unmatched.push(format!("no test has the tag `{tag}`; {}", nearest_tags(tag)));
        }
        if let Some(filter) = &selection.filter {
            let ids_at_names =
                || ids.iter().flat_map(|id| names.iter().map(move |name| format!("{id}@{name}")));
            filter.each_term(&mut |condition, term, is_negated| {
                let name = term.split(['(', ')']).nth(1).unwrap_or_default();
                let (is_matched, kind, nearest) = match condition {
                    Condition::Test(globs) => {
                        (is_any(globs, &ids), "test", nearest_names(name, ids.iter()))
                    }
                    Condition::Provider(globs) => {
                        (is_any(globs, &names), "provider", nearest_names(name, names.iter()))
                    }
                    Condition::Tag(wanted) => {
                        (wanted.iter().any(|tag| tags.contains(tag)), "test", nearest_tags(name))
                    }
                    Condition::Word(word) => {
                        let is_matched = ids_at_names().any(|id| id.to_lowercase().contains(word));
                        (is_matched, "test", nearest_names(word, ids.iter()))
                    }
                    Condition::WordGlob(globs) => {
                        let is_matched =
                            is_any(globs, &ids) || ids_at_names().any(|id| globs.is_match(id));
                        (is_matched, "test", nearest_names(term, ids.iter()))
                    }
                    _ => return,
                };
                let is_word = matches!(condition, Condition::Word(_) | Condition::WordGlob(_));
                let unmatched = if is_word && !is_negated { &mut words } else { &mut unmatched };
                if !is_matched {
                    unmatched.push(format!("no {kind} matches `{term}` of `-E`; {nearest}"));
                }
            });
        }
        Unmatched { words, others: unmatched }
    }

    /// Returns the tags of all tests, also of those that a selection leaves out.
    pub(crate) fn all_tags(&self) -> BTreeSet<String> {
        let mut tags = BTreeSet::new();
        self.each_test(&mut |_, own| tags.extend(own));
        tags
    }

    /// Calls `each` with the id and the tags of every valid test, also of those that a selection leaves out.
    pub fn each_test(&self, each: &mut dyn FnMut(String, Vec<String>)) {
        let Ok(document) = self.document() else { return };
        let _ = AllTests::new(self, &document).visit(&mut |test| {
            if let Ok((origin, test)) = test {
                let settings = match origin {
                    Origin::Scenario(..) => test.settings,
                    Origin::Record(record) => test.settings.over(&record.list.settings),
                };
                each(test.id.to_string(), settings.over(&self.defaults).tags);
            }
            ControlFlow::Continue(())
        });
    }

    /// Like [`Self::unmatched`], for a selection that leaves trials. Reads the tests again only if an argument may match nothing.
    pub fn unmatched_of_several(&self, selection: &Selection) -> Unmatched {
        let lists =
            [&selection.selected.tests, &selection.selected.providers, &selection.selected.tags];
        if selection.selected.exclude.is_empty()
            && selection.filter.is_none()
            && lists.iter().all(|list| list.len() < 2)
        {
            return Unmatched::default();
        }
        self.unmatched(selection)
    }
}

fn is_any(globs: &GlobSet, names: &[String]) -> bool {
    names.iter().any(|name| globs.is_match(name))
}

/// Lists the names that a name or glob may be a slip or a part of, or else some of the existing names.
pub fn nearest_names<N: AsRef<str>>(name: &str, known: impl Iterator<Item = N>) -> String {
    let name = name.replace('*', "");
    let known = known.take(MAX_COMPARED).map(|known| {
        let is_part = !name.is_empty() && known.as_ref().contains(&*name);
        let distance = if is_part { Some(0) } else { slip_distance(&name, known.as_ref()) };
        (distance, known)
    });
    let mut known: Vec<_> = known.collect();
    let near = known.iter().filter(|(distance, _)| distance.is_some()).count();
    let (word, count) = if near > 0 { ("nearest", near) } else { ("choose from", known.len()) };
    if near > 0 {
        known.sort_by_key(|(distance, _)| distance.unwrap_or(usize::MAX));
    }
    let named = known.iter().take(count.min(MAX_NAMED));
    let mut named: Vec<_> = named.map(|(_, known)| format!("`{}`", known.as_ref())).collect();
    if near == 0 && count > MAX_NAMED {
        named.push(format!("{} more", count - MAX_NAMED));
    }
    format!("{word}: {}", named.join(", "))
}
