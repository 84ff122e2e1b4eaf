//! [`PausedDocument`]: what came of asking a run to pause, or to go on.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion};
use crate::record::RunEntry;

/// The document of `runner pause --json` and of `runner unpause --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PausedDocument<'a> {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What came of it: `paused`; `already_paused`; `unpaused`; `not_paused`; `already_terminal`, where the run had ended;
    /// `no_answer`, where its process lives and has not answered.
    #[schemars(extend("enum" = [
        "paused", "already_paused", "unpaused", "not_paused", "already_terminal", "no_answer",
    ]))]
    pub result: &'a str,
    /// The run and how it stands now.
    #[serde(flatten)]
    pub run: RunSummary,
}

impl<'a> PausedDocument<'a> {
    /// What came of it, and how the run stands `now`.
    pub fn new(run: &RunEntry, result: &'a str, now: Timestamp) -> Self {
        Self {
            v: DocumentVersion,
            result,
            run: RunSummary::new(run, now),
        }
    }
}
