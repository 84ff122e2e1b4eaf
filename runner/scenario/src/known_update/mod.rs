//! [`update_known`]: edits lists of known failures so that they expect the results of a run.
//!
//! `decisions.rs` decides which entries change, and `text.rs` edits their files.

mod decisions;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use runner_model::known::{Known, KnownEntry, KnownList, KnownState};

use self::decisions::{Change, Decisions, compared};
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
    let mut update = KnownUpdate::default();
    let mut texts = Vec::new();
    for source in sources {
        let text = ListText::new(&source.text, source.file.is_some());
        texts.push(
            text.ok_or_else(|| format!("{} is not valid TOML", place(source.file.as_deref()))),
        );
    }
    let mut texts = texts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut next = vec![0; sources.len()];
    for (entry, change) in list.entries.iter().zip(&decided.changes) {
        let source = sources.iter().position(|source| source.file == entry.file);
        let source =
            source.ok_or_else(|| format!("{} is missing", place(entry.file.as_deref())))?;
        let index = next[source];
        next[source] += 1;
        if matches!(change, Change::Keep) {
            continue;
        }
        let text = &mut texts[source];
        if !text.has(index, entry) {
            return Err(format!(
                "the entry at {}:{} must change, and it is not a table with a header and plain texts",
                place(entry.file.as_deref()),
                entry.line
            ));
        }
        match change {
            Change::Remove => update.removed += 1,
            _ => update.changed += 1,
        }
        change.apply(text, index, entry);
    }
    let added = decided.added;
    update.added = added.len();
    if !added.is_empty() {
        let last = sources.iter().rposition(|source| source.file.is_some());
        let last = last.ok_or("the scenario names no list of known failures")?;
        added.iter().for_each(|entry| texts[last].append(entry));
    }
    for (index, text) in texts.into_iter().enumerate() {
        update.texts.extend(text.finish().map(|text| (index, text)));
    }

    // Whatever the texts were, nothing else may have changed, and the results must be expected now.
    let mut new = KnownList { entries: Vec::new(), ..*list };
    for (index, source) in sources.iter().enumerate() {
        let first = new.entries.len();
        if let Some(text) = update.texts.get(&index) {
            let [old, text] =
                [&source.text, text].map(|text| ListText::new(text, source.file.is_some()));
            let others = |text: &Option<ListText<'_>>| text.as_ref().map(ListText::others);
            let entries = text.as_ref().filter(|_| others(&old) == others(&text));
            new.entries.extend(entries.and_then(ListText::read).ok_or(CANNOT)?);
        } else {
            let of_source = list.entries.iter().filter(|entry| entry.file == source.file);
            new.entries.extend(of_source.cloned());
        }
        let is_draft = |entry: &&KnownEntry| entry.reason.trim().is_empty();
        let drafts = new.entries[first..].iter().filter(is_draft).count() as u64;
        update.drafts.extend((drafts > 0).then_some((index, drafts)));
    }
    update.expired = decided.expired;
    update.unmatched = decided.unmatched;
    let newly_failing = decided.newly_failing.iter().map(|pair| &results.pairs[*pair]);
    update.newly_failing =
        newly_failing.map(|pair| format!("{}@{}", pair.test, pair.provider)).collect();
    let held = decided.held;
    let known = Known::new(compared(new, results)?)?;
    let is_expected = |pair: &PairResults| {
        pair.ends.iter().all(|(outcome, kinds)| {
            match known.state(&pair.test, &pair.provider, *outcome, || kinds.clone()) {
                KnownState::Known => true,
                KnownState::UnexpectedPass => false,
                KnownState::Unlisted => !outcome.is_bad(),
            }
        })
    };
    let mut pairs = results.pairs.iter().zip(held);
    if pairs.all(|(pair, is_held)| is_held || is_expected(pair)) {
        Ok(update)
    } else {
        Err(CANNOT.to_owned())
    }
}

const CANNOT: &str = "the lists cannot be edited without other changes";

fn place(file: Option<&str>) -> String {
    file.map_or_else(|| "the scenario".to_owned(), |file| format!("`{file}`"))
}

#[cfg(test)]
mod tests;
