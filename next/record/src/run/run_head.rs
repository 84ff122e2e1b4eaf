//! [`RunHead`]: what a list says of a run.

use std::collections::BTreeMap;

use runner_model::{
    Counts, Reason, RunStatus, StopSignal, Time,
    status::{RunVerdict, Stage},
};
use serde::{Deserialize, Serialize};

use crate::{GroupPlace, Manifest, Pause, Pin, disk::fault::now};

/// The keys of a [`Manifest`] that a list needs, each as it is there. A manifest is ten times as long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// The run's id.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// Why.
    pub reason: Option<Reason>,
    /// More about the reason, for people.
    pub message: Option<String>,
    /// How far the last session came.
    pub stage: Stage,
    /// The signal that stopped it.
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    pub verdict: RunVerdict,
    /// By final rows.
    pub counts: Counts,
    /// When the first session began.
    pub started_at: Time,
    /// When the run ended; set whenever the run is not running.
    pub completed_at: Option<Time>,
    /// What its user has labelled it with.
    pub labels: BTreeMap<String, String>,
    /// The group that it is one of.
    pub group: Option<GroupPlace>,
    /// That `prune` leaves it alone.
    pub pinned: Option<Pin>,
    /// Trials of the plan.
    pub planned: u64,
    /// The names of the providers in the suite's order.
    pub providers: Vec<String>,
    /// The pause that lasts.
    pub paused: Option<Pause>,
    /// For how long its sessions have worked until now, in milliseconds, without pauses.
    pub worked_ms: u64,
    /// How many sessions it has had.
    pub sessions: u64,
}

impl From<&Manifest> for RunHead {
    fn from(manifest: &Manifest) -> Self {
        let providers = manifest.providers.iter();
        Self {
            id: manifest.id.clone(),
            scenario: manifest.scenario.clone(),
            status: manifest.status,
            reason: manifest.reason,
            message: manifest.message.clone(),
            stage: manifest.stage,
            signal: manifest.signal,
            verdict: manifest.verdict,
            counts: manifest.counts,
            started_at: manifest.started_at,
            completed_at: manifest.completed_at,
            labels: manifest.labels.clone(),
            group: manifest.group.clone(),
            pinned: manifest.pinned.clone(),
            planned: manifest.metadata.planned_trial_count,
            providers: providers.map(|provider| provider.name.clone()).collect(),
            paused: manifest.paused().cloned(),
            worked_ms: manifest.worked_ms(now()),
            sessions: manifest.sessions.len() as u64,
        }
    }
}
