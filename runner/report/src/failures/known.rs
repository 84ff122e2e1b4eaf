//! [`KnownReason`]: known failures. [`StaleEntry`]: an entry of their list that does not apply.

use runner_model::RowRef;
use runner_model::known::{Known, KnownEntry, Stale};
use runner_model::visible::visible_line;
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure;

/// Known failures whose entries have the same reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KnownReason {
    /// Selects the trials: `/runs/{run}/trials?group=KEY`.
    pub(crate) key: String,
    pub reason: String,
    pub trials: u64,
    /// Up to 3 trials, the first by their ids.
    pub(crate) first: Vec<String>,
}

/// An entry of the list of known failures that does not apply to the run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StaleEntry {
    /// Why the entry does not apply.
    pub why: Stale,
    /// Globs over the ids of tests, up to 3.
    pub(crate) tests: Vec<String>,
    /// File and line. `scenario` and the line for an entry of the scenario.
    pub(crate) place: String,
    /// The entry's reason.
    pub(crate) reason: String,
    /// The last day on which the entry applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// The entry's outcomes and that of the trial, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<String>,
}

impl StaleEntry {
    /// Describes an entry that does not apply. `None` without a reason.
    pub(crate) fn of(entry: &KnownEntry, why: Option<Stale>) -> Option<Self> {
        let KnownEntry { tests, reason, until, .. } = entry;
        Some(Self {
            why: why?,
            tests: tests.iter().take(3).cloned().collect(),
            place: failure::place(entry),
            reason: reason.clone(),
            until: until.clone(),
            outcomes: None,
        })
    }

    /// Describes the entry of a trial that failed in a way which it does not expect. `None` for an expected one.
    pub(crate) fn of_other(known: &Known, row: &RowRef<'_>) -> Option<Self> {
        let (words, entry) = failure::other_failure(known, row)?;
        let outcomes = Some(words);
        Self::of(entry, Some(Stale::Outcome)).map(|entry| Self { outcomes, ..entry })
    }

    /// Formats the entry as one line.
    pub(crate) fn line(&self) -> String {
        let why = match (self.why, &self.until) {
            (Stale::Expired, Some(until)) => format!("expired {until}"),
            (Stale::Expired, None) => "expired".to_owned(),
            (Stale::Changed, _) => "changed".to_owned(),
            (Stale::Unmatched, _) => "unmatched".to_owned(),
            (Stale::Outcome, _) => self.outcomes.clone().unwrap_or_default(),
        };
        visible_line(&format!("{why}: {} ({})", self.reason, self.place)).into_owned()
    }
}
