//! Documents without results that several crates print: previews, the queue and notifications; in this file, those of `prune`,
//! `--detach` and requests to a run. Others are next to their command.

mod notify;
mod preview;
mod queue;

use runner_record::{Answer, Pruning, RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{notify::*, preview::*, queue::*};
use crate::{VERSION, list::RunSummary};

/// `runner prune`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PruneDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Nothing was deleted.
    pub dry_run: bool,
    #[serde(flatten)]
    pub pruning: Pruning,
}

/// A run or group that a background process has started.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// Always [`VERSION`].
    pub v: u8,
    /// Id of the run or group.
    pub id: String,
    /// `None` for a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<String>,
}

/// `runner stop`, `cancel`, `pause`, `unpause` and `label`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RequestResult {
    /// Always [`VERSION`].
    pub v: u8,
    /// The effect of the request.
    pub result: Answer,
    /// The run after the request. A removed run is as before.
    #[serde(flatten)]
    pub run: RunSummary,
}

impl RequestResult {
    /// Reads the run after a request.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(root: &ResultsRoot, run: &RunDir, result: Answer) -> Result<Self, RecordError> {
        Ok(Self { v: VERSION, result, run: RunSummary::from_run(root, run, &run.truth()?) })
    }
}
