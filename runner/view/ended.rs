//! [`EndedRun`]: what came of asking a run to end.

use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion};

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
