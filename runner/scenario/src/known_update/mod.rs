//! [`update_known`]: edits lists of known failures so that they expect the results of a run.
//!
//! `decisions.rs` decides which entries change, and `text.rs` edits their files.

mod decisions;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use runner_model::known::{KnownEntry, KnownList};

use self::decisions::{Decisions, EntryChange};
use self::text::{ListText, place};
use crate::Scenario;
use crate::accepted::{FileEdit, ReadFile, inside};

pub use self::decisions::{KnownResults, PairResults};
pub use self::text::KnownSource;

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
    /// The files that change, by their path relative to the scenario's folder.
    pub files: BTreeMap<String, FileEdit>,
    pub added: usize,
    pub removed: usize,
    /// Number of entries with other globs, or a new `judged`.
    pub changed: usize,
    /// Expired entries whose tests fail, with the number of failing pairs.
    pub expired: Vec<(KnownEntry, usize)>,
    /// Entries that match no test of the plan.
    pub unmatched: Vec<KnownEntry>,
    /// The pairs that the added entries are for, as `test@provider`.
    pub newly_failing: Vec<String>,
    /// Numbers of entries without a reason, by the path of their source.
    pub drafts: BTreeMap<String, u64>,
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
    let texts = sources.iter().map(ListText::new);
    let mut texts = texts.collect::<Result<Vec<_>, _>>()?;
    let mut update = KnownUpdate {
        added: decided.added.len(),
        expired: decided.expired,
        unmatched: decided.unmatched,
        newly_failing: decided.newly_failing,
        ..KnownUpdate::default()
    };
    for (entry, change) in list.entries.iter().zip(&decided.changes) {
        let text = texts.iter_mut().find(|text| text.source.file == entry.file);
        let text = text.ok_or_else(|| format!("{} is missing", place(entry.file.as_deref())))?;
        let index = text.compared;
        text.compared += 1;
        if entry.reason.trim().is_empty() {
            text.drafts += change.entries() as u64;
        }
        match change {
            EntryChange::Keep => continue,
            EntryChange::Remove => update.removed += 1,
            EntryChange::Split(_) => update.changed += 1,
        }
        if !text.has(index, entry) {
            return Err(format!(
                "the entry at {}:{} must change, and it is not a table with a header and plain texts",
                place(entry.file.as_deref()),
                entry.line
            ));
        }
        change.apply(text, index, entry);
        text.changes += 1;
    }
    if update.added > 0 {
        let last = texts.iter_mut().rfind(|text| text.source.file.is_some());
        let last = last.ok_or("the scenario names no list of known failures")?;
        decided.added.iter().for_each(|entry| last.append(entry));
        last.changes += update.added;
        if results.reason.trim().is_empty() {
            last.drafts += update.added as u64;
        }
    }
    for text in texts {
        let ListText { source, changes, drafts, .. } = text;
        update.drafts.extend((drafts > 0).then(|| (source.path.clone(), drafts)));
        update.files.extend(text.finish()?.map(|new| {
            let old = Some(source.text.clone().into_bytes());
            (source.path.clone(), FileEdit { old, new, changes })
        }));
    }
    Ok(update)
}

#[cfg(test)]
mod tests;
