//! [`NewRun`] and [`NewSession`]: plans and settings from callers, and the entries of a manifest that are made from them.

use std::collections::BTreeMap;

use runner_model::{Counts, Digest, SessionSettings, Stage, Time, visible::quoted};

use crate::disk::{beneath::random, lock};
use crate::{GroupPlace, ManifestProvider, Metadata, RequestMark, Rerun, SessionEntry};

/// The writer of sessions that only judge stored outputs again.
pub const RESCORE: &str = "rescore";

/// The plan of a new run. Its times and session entry are added by [`ResultsRoot::create`](crate::ResultsRoot::create).
#[derive(Debug)]
pub struct NewRun {
    /// The name of the run's folder: a [`new_id`](crate::new_id), or a name that the user chose.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// Absolute path of the scenario.
    pub scenario_path: String,
    /// The scenario's text.
    pub text: String,
    pub labels: BTreeMap<String, String>,
    pub group: Option<GroupPlace>,
    pub metadata: Metadata,
    pub providers: Vec<ManifestProvider>,
    /// The first session.
    pub session: NewSession,
}

/// The settings of a new session.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// `exec`, `resume` or [`RESCORE`], the writer of transitions.
    pub writer: &'static str,
    /// The command as typed.
    pub command: Vec<String>,
    /// The request that the session is started for.
    pub request: Option<RequestMark>,
    pub settings: SessionSettings,
    /// The tests in the store whose expectations [`RESCORE`] judges by.
    pub suite: Option<Digest>,
    /// The known failures in the store that the session judges by. `None` for those of the session before it.
    pub known: Option<Digest>,
    /// The graders that [`RESCORE`] judges by.
    pub graders: Vec<ManifestProvider>,
    /// Number of the last row that the caller has read; 0 for a new run.
    pub last_seq: u64,
    /// The key of the newest session of the run that is replayed.
    pub replays: Option<u32>,
    /// Trials that run again.
    pub rerun: Option<Rerun>,
    /// Pending trials. `None` if all trials are.
    pub pending: Option<u64>,
    /// Counts of trials that have rows and that the plan lacks.
    pub removed: Counts,
    /// The session waits until [`Owned::start`](crate::Owned::start), for other runs of its group or until the root is free.
    pub waits: bool,
}

/// Another plan that a session takes over.
#[derive(Debug)]
pub struct NewPlan {
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's text.
    pub text: String,
    pub metadata: Metadata,
    pub providers: Vec<ManifestProvider>,
    /// Counts of the existing rows whose trials the plan has.
    pub counts: Counts,
}

/// Returns whether any provider gets secrets. Guests can write them in forms that redaction does not find.
pub(super) fn has_secrets(providers: &[ManifestProvider]) -> bool {
    let mut grants = providers.iter().map(|provider| &provider.grants);
    grants.any(|grants| !grants.secret_names().is_empty())
}

pub(super) fn first_stage(session: &NewSession) -> Stage {
    if session.waits { Stage::Waiting } else { Stage::Plan }
}

pub(super) fn session_entry(
    session: NewSession,
    number: u32,
    from_seq: u64,
    now: Time,
) -> SessionEntry {
    SessionEntry {
        number,
        key: random() as u32,
        has_calls: false,
        foreign: false,
        replays: session.replays,
        command: session.command,
        request: session.request,
        pid: std::process::id(),
        host: lock::host(),
        user: lock::user(),
        settings: session.settings,
        started_at: now,
        ended_at: None,
        from_seq,
        rerun: session.rerun,
        added: Vec::new(),
        pending: session.pending,
        rescores: session.writer == RESCORE,
        suite: session.suite,
        known: session.known,
        adopted: None,
        pauses: Vec::new(),
        suspended_ms: 0,
        worked_ms: session.waits.then_some(0.0),
        stopped_by: None,
        wall: None,
        in_flight: Vec::new(),
    }
}

/// Formats a command for a shell.
pub(super) fn command_line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
