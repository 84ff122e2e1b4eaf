//! [`update_known`]: edits lists of known failures so that they expect the results of a run.
//!
//! `decisions.rs` decides which entries change, and `text.rs` edits their files.

mod decisions;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use runner_model::known::KnownList;

use self::decisions::{Change, Decisions};
use self::text::ListText;
use crate::Scenario;
use crate::accepted::{ReadFile, inside};

pub use self::decisions::{KnownResults, PairResults};

/// A list of known failures, or the scenario with its own ones.
#[derive(Clone, Debug)]
pub struct KnownSource {
    /// The list as the scenario names it. `None` for the scenario.
    pub file: Option<String>,
    /// The path relative to the scenario's folder, in its simplest form.
    pub path: String,
    pub text: String,
}

/// Reads the lists of a scenario in the order in which they apply, and the scenario if it has entries of its own.
///
/// # Errors
///
/// A file that must not be replaced, as the end of a sentence with its name.
pub fn known_sources(
    scenario: &Scenario,
    list: &KnownList,
    read: &mut ReadFile<'_>,
) -> Result<Vec<KnownSource>, String> {
    let own = Path::new(scenario.path()).file_name().unwrap_or_default().to_string_lossy();
    let lists = scenario.known_files().map(|(file, _)| (Some(file.to_owned()), file));
    let has_own = list.entries.iter().any(|entry| entry.file.is_none());
    let own = has_own.then_some((None, &*own));
    let sources = lists.chain(own).map(|(file, path)| {
        let path = inside(path)?;
        let bytes = read(&path)?.ok_or_else(|| format!("`{path}` is gone"))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8"))?;
        Ok(KnownSource { file, path, text })
    });
    sources.collect()
}

/// The changes of lists of known failures.
#[derive(Debug, Default)]
pub struct KnownUpdate {
    /// The new texts of the sources that change, by their index.
    pub texts: BTreeMap<usize, String>,
    pub added: usize,
    pub removed: usize,
    /// Number of entries with other globs, or a new `judged`.
    pub changed: usize,
    /// Indexes of expired entries whose tests fail, with the number of failing pairs.
    pub expired: Vec<(usize, usize)>,
    /// Indexes of entries that match no test of the plan.
    pub unmatched: Vec<usize>,
    /// The pairs that the added entries are for, as `test@provider`.
    pub newly_failing: Vec<String>,
    /// Numbers of entries without a reason, by the index of their source.
    pub drafts: BTreeMap<usize, u64>,
}

/// Edits the sources of `list`, in the order in which they apply. Comments and the layout of other entries stay as they are.
///
/// Entries whose pairs all pass are removed unless they are flaky. An entry that also matches pairs with other results is
/// narrowed to those that it expects. Failures without an entry are added to the last list.
///
/// # Errors
///
/// An entry cannot be edited, or there is no list. The reason is a clause.
pub fn update_known(
    list: &KnownList,
    sources: &[KnownSource],
    results: KnownResults<'_>,
) -> Result<KnownUpdate, String> {
    let decided = Decisions::new(list, results)?;
    let texts = sources.iter().map(|source| {
        ListText::new(&source.text, source.file.is_some())
            .ok_or_else(|| format!("{} is not valid TOML", place(source.file.as_deref())))
    });
    let mut texts = texts.collect::<Result<Vec<_>, _>>()?;
    let mut update = KnownUpdate {
        added: decided.added.len(),
        expired: decided.expired,
        unmatched: decided.unmatched,
        newly_failing: decided.newly_failing,
        ..KnownUpdate::default()
    };
    let mut drafts = vec![0; sources.len()];
    let mut next = vec![0; sources.len()];
    for (entry, change) in list.entries.iter().zip(&decided.changes) {
        let source = sources.iter().position(|source| source.file == entry.file);
        let source =
            source.ok_or_else(|| format!("{} is missing", place(entry.file.as_deref())))?;
        let index = next[source];
        next[source] += 1;
        if entry.reason.trim().is_empty() {
            drafts[source] += change.entries() as u64;
        }
        let text = &mut texts[source];
        match change {
            Change::Keep => continue,
            Change::Remove => update.removed += 1,
            Change::Split(_) => update.changed += 1,
        }
        if !text.has(index, entry) {
            return Err(format!(
                "the entry at {}:{} must change, and it is not a table with a header and plain texts",
                place(entry.file.as_deref()),
                entry.line
            ));
        }
        change.apply(text, index, entry);
    }
    if !decided.added.is_empty() {
        let last = sources.iter().rposition(|source| source.file.is_some());
        let last = last.ok_or("the scenario names no list of known failures")?;
        decided.added.iter().for_each(|entry| texts[last].append(entry));
        if results.reason.trim().is_empty() {
            drafts[last] += update.added as u64;
        }
    }
    for (index, text) in texts.into_iter().enumerate() {
        update.texts.extend(text.finish().map(|text| (index, text)));
    }
    update.drafts = (0..).zip(drafts).filter(|(_, drafts)| *drafts > 0).collect();
    Ok(update)
}

fn place(file: Option<&str>) -> String {
    file.map_or_else(|| "the scenario".to_owned(), |file| format!("`{file}`"))
}

#[cfg(test)]
mod tests;
