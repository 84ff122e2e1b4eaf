//! Results of `cleanup`, `prune`, `--detach` and requests to a run.

use runner_model::{Reason, RunStatus, Time};
use runner_record::{Answer, Manifest, Pruning, RecordError, ResultsRoot, RunDir, RunHead};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    VERSION,
    list::{RunSummary, short_of},
};

/// `runner cleanup`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CleanupDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Nothing was written.
    pub dry_run: bool,
    /// Runs with a dead process.
    pub runs: Vec<DeadRun>,
    /// Runs that could not be written.
    pub problems: Vec<String>,
}

/// A run with a dead process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadRun {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    pub started_at: Time,
    /// Trials that have a final row.
    pub done: u64,
    /// Trials of the plan.
    pub planned: u64,
    /// Names of the providers.
    pub providers: Vec<String>,
    /// The status that the cleanup writes.
    pub status: RunStatus,
    pub reason: Option<Reason>,
}

impl From<Manifest> for DeadRun {
    fn from(run: Manifest) -> Self {
        let providers = run.providers.into_iter().filter(|provider| !provider.is_grader);
        Self {
            run: run.id,
            scenario: run.scenario,
            started_at: run.started_at,
            done: run.counts.done(),
            planned: run.metadata.planned_trial_count,
            providers: providers.map(|provider| provider.name).collect(),
            status: run.status,
            reason: run.reason,
        }
    }
}

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
        let head = RunHead::from(&run.truth()?);
        let (short, path) = (short_of(root, run.id()), run.path().to_string_lossy().into_owned());
        Ok(Self { v: VERSION, result, run: RunSummary::new(head, short, path) })
    }
}
