//! What the upkeep of a results root has done, or would do.

use runner_model::{Reason, RunStatus, Time};
use runner_record::{Manifest, Pruning};
use serde::Serialize;

/// `runner cleanup`.
#[derive(Debug, Serialize)]
pub struct CleanupDocument {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The runs whose process died.
    pub runs: Vec<DeadRun>,
    /// Runs that could not be written.
    pub problems: Vec<String>,
}

/// A run whose process died.
#[derive(Debug, Serialize)]
pub struct DeadRun {
    /// Its id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// When it began.
    pub started_at: Time,
    /// Trials that have a final row.
    pub done: u64,
    /// Trials of the plan.
    pub planned: u64,
    /// The names of its providers.
    pub providers: Vec<String>,
    /// What it becomes.
    pub status: RunStatus,
    /// Why.
    pub reason: Option<Reason>,
}

impl From<Manifest> for DeadRun {
    fn from(run: Manifest) -> Self {
        let providers = run.providers.into_iter();
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
#[derive(Debug, Serialize)]
pub struct PruneDocument {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// What was deleted, and what stays.
    #[serde(flatten)]
    pub pruning: Pruning,
}
