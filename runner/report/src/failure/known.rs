//! [`KnownResult`]: a result that the list of known failures changes.

use runner_model::known::{Known, KnownEntry, KnownState};
use runner_model::{RowRef, row::FailureKinds, visible::visible_line};
use schemars::JsonSchema;
use serde::Serialize;

/// Why a pass is listed as a failure.
pub(crate) const PASSES: &str = "passes although known";

/// A result that the list of known failures changes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KnownResult {
    /// `known` counts neither as passed nor as failed, `unexpected-pass` as failed.
    pub state: KnownState,
    /// The reason of the entry that decides.
    pub reason: String,
    /// File and line of the entry. `scenario` and the line for an entry of the scenario.
    pub place: String,
}

/// A trial of a run with its [`KnownResult`].
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KnownTrial {
    /// The trial's id.
    pub(crate) trial: String,
    #[serde(flatten)]
    pub(crate) known: KnownResult,
}

/// Formats file and line of an entry.
pub(crate) fn place(KnownEntry { file, line, .. }: &KnownEntry) -> String {
    format!("{}:{line}", file.as_deref().unwrap_or("scenario"))
}

/// Describes a result that is unexpected because its entry is for other outcomes or kinds: `known as failed, now error`. Also
/// returns the entry.
pub(crate) fn other_failure<'k>(
    known: &'k Known,
    row: &RowRef<'_>,
) -> Option<(String, &'k KnownEntry)> {
    let entry = known.entry(&row.test, &row.provider).filter(|_| row.outcome.is_bad())?;
    let outcomes: Vec<_> = entry.outcomes.iter().map(|outcome| outcome.as_str()).collect();
    let words = |as_what: &str, now: &str| format!("known as {as_what}, now {now}");
    if !entry.outcomes.contains(&row.outcome) {
        return Some((words(&outcomes.join(" or "), row.outcome.as_str()), entry));
    }
    let is_other = KnownResult::of(known, row).is_none();
    is_other.then(|| (words(&entry.kinds.join(" or "), &FailureKinds::of(row).words()), entry))
}

/// Describes a row beside the list of known failures in one line. `None` if no entry applies to its trial, or it passed as expected.
pub fn known_line(known: &Known, row: &RowRef<'_>) -> Option<String> {
    if let Some(known) = KnownResult::of(known, row) {
        return Some(known.line());
    }
    let (words, entry) = other_failure(known, row)?;
    Some(visible_line(&format!("{words}: {} ({})", entry.reason, place(entry))).into_owned())
}

impl KnownResult {
    /// Compares a row with a list. `None` if the result counts as without the list.
    pub fn of(known: &Known, row: &RowRef<'_>) -> Option<Self> {
        let state = known.state(&row.test, &row.provider, row.outcome, || FailureKinds::of(row));
        let entry = known.entry(&row.test, &row.provider);
        let entry = entry.filter(|_| state != KnownState::Unlisted)?;
        Some(Self { state, reason: entry.reason.clone(), place: place(entry) })
    }

    /// Formats the state and the reason as one line.
    pub fn line(&self) -> String {
        let word = if self.state == KnownState::Known { "known" } else { PASSES };
        visible_line(&format!("{word}: {}", self.reason)).into_owned()
    }
}
