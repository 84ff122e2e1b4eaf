//! [`KnownResult`]: a result that the list of known failures changes.

use runner_model::known::{Known, KnownEntry, KnownState};
use runner_model::{RowRef, visible::visible_line};
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

impl KnownResult {
    /// Compares a row with a list. `None` if the result counts as without the list.
    pub fn of(known: &Known, row: &RowRef<'_>) -> Option<Self> {
        let state = known.state(&row.test, &row.provider, row.outcome);
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
