//! [`SessionEntry`]: a session in the manifest of a run, with its pauses, and [`Transition`]: a change of the run's status.

use runner_model::{Counts, Digest, Reason, RunStatus, SessionSettings, Time, row::Actor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{InFlight, Rerun};

/// A process that worked on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEntry {
    /// Number of the session, from 1.
    pub number: u32,
    /// Random number that the session's lines of `calls.jsonl` have, too. 0 in runs of earlier versions.
    #[serde(default)]
    pub key: u32,
    /// Whether `calls.jsonl` got lines of the session. Written before a guest continues after the first of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_calls: bool,
    /// Whether the session is older than a `runner trust` of the run. No attempt continues with its calls.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// In a replay: `key` of the newest session of the replayed run that records calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replays: Option<u32>,
    /// The command as typed.
    pub command: Vec<String>,
    /// The request that the session was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestMark>,
    /// Id of the process.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// Name of the user who started the session.
    pub user: String,
    #[serde(flatten)]
    pub settings: SessionSettings,
    /// Start of the session.
    pub started_at: Time,
    /// End of the session. Absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Number of the last row before the session.
    pub from_seq: u64,
    /// Trials that the session runs again. A later session continues an unfinished selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<Rerun>,
    /// Trials that the session selected to run again while it ran, the oldest selection first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<AddedRerun>,
    /// Pending trials at the start, or at the last selection of `added`. Absent for the first session, which runs all. Those of
    /// a session of `rescore`, which runs none, are still pending at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// The session only judges stored outputs again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rescores: bool,
    /// The tests in the store whose expectations a session of `rescore` judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<Digest>,
    /// The known failures in the store that the session judged by. Absent if it judged by those of the session before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Digest>,
    /// Present if the session took over another plan: the counts of trials that have rows and that this plan lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Counts>,
    /// The last 100 pauses, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// Milliseconds in which the session was paused or its process suspended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspended_ms: u64,
    /// Milliseconds in which the session worked, by a clock that cannot be set. For a session that is running, as of
    /// its last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_ms: Option<f64>,
    /// The user who ended the session from another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// The protections of workers beyond the sandbox, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<String>,
    /// Attempts that ran when the session's process died, as of its last `live.json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<InFlight>,
}

/// Trials that a session selected to run again while it ran, because a worker's copy of the folder that their workspaces start as
/// was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddedRerun {
    /// Number of the last row before the selection.
    pub from_seq: u64,
    /// Trials that the selection runs again.
    pub rerun: Rerun,
}

impl SessionEntry {
    /// Returns the selections of trials to run again, in their order. Each applies to the rows of earlier sessions, and to those
    /// of this session up to the number.
    pub fn reruns(&self) -> impl Iterator<Item = (u64, &Rerun)> + Clone {
        let added = self.added.iter().map(|added| (added.from_seq, &added.rerun));
        self.rerun.iter().map(|rerun| (0, rerun)).chain(added)
    }
}

/// The request that a session was started for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestMark {
    /// The request's id.
    pub id: String,
    /// Priority at the start.
    #[serde(default)]
    pub priority: i64,
    /// SHA-256 of the call and its body. Absent for a request of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
}

/// A pause of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    pub from: Time,
    /// Absent while the pause lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Time>,
    /// The user who requested it. Absent for Ctrl-Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// A change of a run's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    pub at: Time,
    /// Absent for the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RunStatus>,
    /// The new status.
    pub to: RunStatus,
    /// Reason of the new status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The writing command, such as `exec`, `resume` or `sweep`.
    pub writer: String,
    /// The user who requested it from another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

impl Transition {
    /// Returns the creation of a run.
    pub(crate) fn created(at: Time, writer: &str) -> Self {
        let to = RunStatus::Running;
        let writer = writer.into();
        Self { at, from: None, to, reason: None, writer, by: None }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
