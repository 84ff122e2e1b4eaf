//! [`RunHead`]: the line of a run in a list.

use std::{collections::BTreeMap, time::Duration};

use runner_model::status::{RunState, RunVerdict, Stage};
use runner_model::{Counts, GateResult, Reason, RunStatus, Shard, StopSignal, Time, row::duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GroupPlace, Manifest, Pause, Pin, disk::fault::now};

/// Difference of clocks that needs no caution.
const SKEW: Duration = Duration::from_secs(10);

/// The keys of a [`Manifest`] that lists show. A manifest is ten times as long. A changed key needs a new version of the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunHead {
    /// The name of the run's directory.
    #[serde(rename = "run")]
    pub id: String,
    /// Place in the order in which the results root recorded its runs, from 1. `None` in a run of an earlier version: those come
    /// before all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The scenario's name.
    pub scenario: String,
    /// The true status, also if the run's process has died.
    pub status: RunStatus,
    /// Reason of the status, if there is one.
    pub reason: Option<Reason>,
    /// Details of the reason, for people. In a running run, present only while it waits for workers on other machines.
    pub message: Option<String>,
    /// Arguments of `--budget` with which `resume` continues the run, if budgets are used up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub larger_budgets: Vec<String>,
    /// The reports that the last session could not write, with the causes, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_report: Option<String>,
    /// The first condition that makes the gate of a completed run fail, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_gate: Option<String>,
    /// The signal that stopped the run.
    pub signal: Option<StopSignal>,
    /// The result of the trials. `none` until the run is completed.
    pub verdict: RunVerdict,
    /// The stage that the last session reached.
    pub stage: Stage,
    /// Trials by outcome.
    pub counts: RunCounts,
    /// Number of sessions.
    pub sessions: u64,
    /// The user who started the run. `None` for a run that waits for others.
    pub user: Option<String>,
    /// Start of the first session. Of a run that waits for others, its creation.
    pub started_at: Time,
    /// End of the last session. `None` while the run is running.
    pub completed_at: Option<Time>,
    /// Working time of all sessions in milliseconds, without pauses.
    pub worked_ms: f64,
    /// The current pause.
    pub paused: Option<Pause>,
    /// Labels and variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Present if one command started several runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPlace>,
    /// The part of a plan that the run has, such as `3/64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// The id of the run whose responses guests receive. Present in a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<String>,
    /// Present if `prune` must not delete the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
}

/// The place of a run in the order of recording, the oldest first. Runs of earlier versions have no number, and come before all
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunOrder<'a> {
    pub number: Option<u64>,
    /// Start of the first session. It decides between runs with equal numbers, such as copies from another root.
    pub started_at: Time,
    pub id: &'a str,
}

/// Trials of a run, by the newest final row of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCounts {
    /// Trials of the plan.
    pub planned: u64,
    #[serde(flatten)]
    pub done: Counts,
}

impl RunHead {
    /// Returns status and verdict in one word.
    pub fn state(&self) -> RunState {
        RunState::of(self.status, self.verdict)
    }

    /// Returns the place in the order of recording.
    pub fn order(&self) -> RunOrder<'_> {
        let Self { number, started_at, id, .. } = self;
        RunOrder { number: *number, started_at: *started_at, id }
    }

    /// Returns the working time of all sessions.
    pub fn worked(&self) -> Duration {
        duration(self.worked_ms)
    }
}

impl From<&Manifest> for RunCounts {
    fn from(manifest: &Manifest) -> Self {
        Self { planned: manifest.metadata.planned_trial_count, done: manifest.counts }
    }
}

impl From<&Manifest> for RunHead {
    fn from(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id.clone(),
            number: manifest.number,
            scenario: manifest.scenario.clone(),
            // Readers ask the lock whether the session still writes its reports.
            status: if manifest.owes_reports() { RunStatus::Running } else { manifest.status },
            reason: manifest.reason,
            message: manifest.message.clone(),
            larger_budgets: manifest.larger_budgets.clone(),
            lost_report: manifest.lost_report.clone(),
            failed_gate: manifest.gate.as_ref().and_then(GateResult::failure),
            signal: manifest.signal,
            verdict: manifest.verdict,
            stage: manifest.stage,
            counts: manifest.into(),
            sessions: manifest.sessions.len() as u64,
            user: manifest.sessions.first().map(|session| session.user.clone()),
            // A run of a group starts when those before it have ended.
            started_at: manifest.sessions.first().map_or(manifest.started_at, |one| one.started_at),
            completed_at: manifest.completed_at,
            worked_ms: manifest.worked_ms(now()),
            paused: manifest.paused().cloned(),
            labels: manifest.labels_and_vars(),
            group: manifest.group.clone(),
            shard: manifest.metadata.selection.shard,
            replay_of: manifest.metadata.selection.replayed().map(str::to_owned),
            pinned: manifest.pinned.clone(),
        }
    }
}

/// Returns a caution if a run has started in the future.
pub fn clock_caution<'r>(runs: impl IntoIterator<Item = &'r RunHead>, now: Time) -> Option<String> {
    let ahead = runs.into_iter().find(|run| is_ahead(run.started_at, now))?;
    Some(caution(&format!("run {} started at {}", ahead.id, ahead.started_at)))
}

/// Returns a caution for a new run if another one started later by its clock.
pub(crate) fn new_run_caution(later: Time) -> String {
    caution(&format!("an earlier run started at {later}"))
}

fn caution(fact: &str) -> String {
    format!(
        "{fact}, which is in the future: a clock was or is wrong; `latest` and lists go by the order in which runs were recorded"
    )
}

/// Returns whether a run has started in the future.
pub(crate) fn is_ahead(start: Time, now: Time) -> bool {
    start.since(now) > SKEW
}
