//! Globs over ids, where `*` crosses `/`, and over files, where it does not.

use globset::{Glob, GlobBuilder, GlobSet};
use serde_json::{Map, Value};

use super::settings;
use crate::filter;

/// Compiles a glob over the ids of tests or providers.
pub(super) fn over_ids(text: &str) -> Result<Glob, globset::Error> {
    filter::glob(text)
}

/// Compiles a glob over files.
pub(super) fn over_files(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

/// Compiles globs over ids, of which one must match; `None` where there is none.
pub(super) fn set<'a>(
    globs: impl Iterator<Item = &'a str>,
) -> Result<Option<GlobSet>, globset::Error> {
    filter::glob_set(globs)
}

/// The places of the providers that a table's `providers` match: all of them where the key is absent.
pub(super) fn matching(table: &Map<String, Value>, names: &[&str]) -> Vec<u32> {
    let globs = set(settings::strings(table, "providers")).unwrap_or_default();
    let is_everything = !table.contains_key("providers");
    (0..)
        .zip(names)
        .filter(|(_, name)| is_everything || globs.as_ref().is_some_and(|set| set.is_match(name)))
        .map(|(place, _)| place)
        .collect()
}

/// The globs in a table's `providers` that match none of `names`, with their places.
///
/// Globs that cannot be understood are not among them, nor is any where there is no name at all.
pub(super) fn unmatched<'a>(
    table: &'a Map<String, Value>,
    names: &[&str],
) -> Vec<(usize, &'a str)> {
    let matches_nothing = |glob: &str| match over_ids(glob) {
        Ok(glob) => {
            let matcher = glob.compile_matcher();
            !names.is_empty() && !names.iter().any(|name| matcher.is_match(name))
        }
        Err(_) => false,
    };
    settings::strings(table, "providers")
        .enumerate()
        .filter(|(_, glob)| matches_nothing(glob))
        .collect()
}
