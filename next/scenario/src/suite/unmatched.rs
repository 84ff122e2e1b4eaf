//! [`Scenario::unmatched`]: the arguments of a selection that match nothing, with the nearest names.

use std::{collections::BTreeSet, ops::ControlFlow};

use crate::{
    globs,
    lists::{AllTests, Origin},
    scenario::Scenario,
    suite::selection::Selection,
};

/// Names that a message lists.
const MAX_NAMED: usize = 10;
/// Names that are compared, since a scenario can have millions.
const MAX_COMPARED: usize = 20_000;

impl Scenario {
    /// Returns a message for each argument of a selection that matches no test or provider.
    pub fn unmatched(&self, selection: &Selection) -> Vec<String> {
        let (mut ids, mut tags) = (Vec::new(), BTreeSet::new());
        if let Ok(document) = self.document() {
            let _ = AllTests::new(self, &document).visit(&mut |test| {
                if let Ok((origin, test)) = test {
                    let settings = match origin {
                        Origin::Scenario(..) => test.settings,
                        Origin::Record(record) => test.settings.over(&record.list.settings),
                    };
                    tags.extend(settings.over(&self.defaults).tags);
                    ids.push(test.id.to_string());
                }
                ControlFlow::Continue(())
            });
        }
        let names: Vec<_> =
            self.providers.iter().map(|provider| provider.name.to_string()).collect();
        let matches = |glob: &String, known: &[String]| {
            globs::over_ids(&[glob]).is_ok_and(|glob| known.iter().any(|id| glob.is_match(id)))
        };
        let tests = selection.tests.iter().filter(|glob| !matches(glob, &ids));
        let tests = tests.map(|glob| {
            format!("no test matches `--test {glob}`; {}", nearest_names(glob, ids.iter()))
        });
        let providers = selection.providers.iter().filter(|glob| !matches(glob, &names));
        let providers = providers.map(|glob| {
            format!(
                "no provider matches `--provider {glob}`; {}",
                nearest_names(glob, names.iter())
            )
        });
        let missing = selection.tags.iter().filter(|tag| !tags.contains(*tag));
        let missing = missing.map(|tag| match tags.len() {
            0 => format!("no test has the tag `{tag}`, or any other"),
            _ => format!("no test has the tag `{tag}`; {}", nearest_names(tag, tags.iter())),
        });
        tests.chain(providers).chain(missing).collect()
    }
}

/// Lists the names that are the most similar to a name or glob, the nearest first.
pub fn nearest_names<N: AsRef<str>>(name: &str, known: impl Iterator<Item = N>) -> String {
    let name = name.replace('*', "");
    let mut known: Vec<_> = known
        .take(MAX_COMPARED)
        .map(|known| (strsim::damerau_levenshtein(&name, known.as_ref()), known))
        .collect();
    known.sort_by_key(|(distance, _)| *distance);
    let named = known.iter().take(MAX_NAMED).map(|(_, known)| format!("`{}`", known.as_ref()));
    format!("nearest: {}", named.collect::<Vec<_>>().join(", "))
}
