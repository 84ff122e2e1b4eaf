//! The events of a session, one JSON line each.

use runner_model::{Reason, RunStatus, StopSignal, row::Actor, status::RunVerdict};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use runner_record::RunCounts;

use crate::schema::stored::StoredRow;

/// An event with its number.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NumberedEvent<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// Number in the stream, from 1.
    pub n: u64,
    #[serde(flatten)]
    pub event: Event<'a>,
}

/// An event of a session.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The run exists, and its trials start.
    Started {
        run: &'a str,
        run_dir: &'a str,
        scenario: &'a str,
        /// Trials of the plan.
        planned: u64,
        /// Trials that this session has to run.
        pending: u64,
        /// Attempts that may run at once.
        jobs: u32,
    },
    /// A row as on disk.
    Row {
        #[schemars(with = "StoredRow")]
        row: &'a RawValue,
    },
    /// The session stops.
    Stopping { signal: Option<StopSignal>, by: Option<&'a Actor>, in_flight: u64 },
    /// The session is paused. Without `by`, by Ctrl-Z.
    Paused { by: Option<&'a Actor> },
    /// The session continues after a pause.
    Unpaused,
    /// Progress of a run that another process works on.
    Progress { run: &'a str, counts: RunCounts, in_flight: u64, waits_for_memory: bool },
    /// A message for people.
    Notice { text: &'a str },
    /// The session has ended.
    Finished {
        run: &'a str,
        run_dir: &'a str,
        status: RunStatus,
        reason: Option<Reason>,
        message: Option<&'a str>,
        signal: Option<StopSignal>,
        verdict: RunVerdict,
        counts: RunCounts,
        /// Duration of the session without pauses.
        took_ms: f64,
        exit_code: u8,
    },
}
