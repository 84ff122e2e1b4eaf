//! Documents of commands that show no results: events, previews, the queue and plugins; in this file, those of `cleanup`,
//! `merge`, `prune`, `verify`, `--detach` and requests to a run.

mod event;
mod fleet;
mod notify;
mod plugin;
mod preview;
mod queue;

use runner_model::{GateResult, Places, Reason, RunStatus, Time};
use runner_record::{
    Answer, DiskFault, Manifest, MergeFindings, Pruning, RecordError, ResultsRoot, RunDir, Verified,
};
use runner_results::plan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{event::*, fleet::*, notify::*, plugin::*, preview::*, queue::*};
use crate::{VERSION, list::RunSummary};

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
    /// Start of the first session.
    pub started_at: Time,
    /// Trials that have a final row.
    pub done: u64,
    /// Trials of the plan.
    pub planned: u64,
    /// Names of the providers.
    pub providers: Vec<String>,
    /// The status that the cleanup writes.
    pub status: RunStatus,
    /// Reason of that status.
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
        Ok(Self { v: VERSION, result, run: RunSummary::from_run(root, run, &run.truth()?) })
    }
}

/// `runner merge`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergeDocument {
    /// Always [`VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub found: MergeFindings,
    /// The merged run. `None` if nothing was merged.
    pub run: Option<RunSummary>,
    /// The result of the gate over all trials.
    pub gate: Option<GateResult>,
}

impl MergeDocument {
    /// Reads the merged run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(found: MergeFindings, run: Option<&RunDir>) -> Result<Self, RecordError> {
        let Some(run) = run else { return Ok(Self { v: VERSION, found, run: None, gate: None }) };
        let manifest = run.truth()?;
        let summary = RunSummary::from_run(&run.results_root()?, run, &manifest);
        Ok(Self { v: VERSION, found, run: Some(summary), gate: manifest.gate })
    }
}

/// The result of a verification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// The directory as a user would type it.
    pub run_dir: String,
    #[serde(flatten)]
    pub found: Verified,
}

impl VerifyDocument {
    /// Verifies a run.
    ///
    /// # Errors
    ///
    /// The manifest cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, RecordError> {
        // The plan must be that of the rows.
        let found = run.snapshot(|| {
            let plan = plan::read(run);
            let places = plan.as_ref().ok().and_then(Option::as_ref);
            let mut found = run.verify(places.map(|suite| suite as &dyn Places))?;
            if let Err(problem) = plan {
                found
                    .faults
                    .insert(0, DiskFault { path: run.path(), line: None, problem, remedy: None });
            }
            Ok::<_, RecordError>(found)
        })?;
        Ok(Self {
            v: VERSION,
            run: run.id().to_owned(),
            run_dir: run.path().to_string_lossy().into_owned(),
            found,
        })
    }
}
