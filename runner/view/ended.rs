//! [`EndedRun`]: what came of asking a run to end.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion};
use crate::record::RunEntry;

/// The document of `runner stop --json` and of `runner cancel --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EndedRun<'a> {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What came of it: `stopped`; `cancelled`; `already_terminal`, where it had ended before; `no_answer`, where its process
    /// lives and has not answered.
    #[schemars(extend("enum" = ["stopped", "cancelled", "already_terminal", "no_answer"]))]
    pub result: &'a str,
    /// The run and how it stands now.
    #[serde(flatten)]
    pub run: RunSummary,
}

impl<'a> EndedRun<'a> {
    /// What came of it, and how the run stands `now`.
    pub fn new(run: &RunEntry, result: &'a str, now: Timestamp) -> Self {
        Self {
            v: DocumentVersion,
            result,
            run: RunSummary::new(run, now),
        }
    }
}
