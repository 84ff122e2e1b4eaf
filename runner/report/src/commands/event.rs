//! The events of a session, one JSON line each.

use runner_model::{Reason, RunStatus, StopSignal, row::Actor, status::RunVerdict};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use runner_record::RunCounts;

use crate::rows::StoredRow;

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
        /// The run's id.
        run: &'a str,
        /// The directory as a user would type it.
        run_dir: &'a str,
        /// The scenario's name.
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
        /// The row as on disk.
        #[schemars(with = "StoredRow")]
        row: &'a RawValue,
    },
    /// The session stops.
    Stopping {
        /// The signal that stops it.
        signal: Option<StopSignal>,
        /// The user whose request stops it.
        by: Option<&'a Actor>,
        /// Attempts that run.
        in_flight: u64,
    },
    /// The session is paused.
    Paused {
        /// The user who requested it. `null` for Ctrl-Z.
        by: Option<&'a Actor>,
    },
    /// The session continues after a pause.
    Unpaused,
    /// Progress of a run that another process works on.
    Progress {
        /// The run's id.
        run: &'a str,
        /// Results so far.
        counts: RunCounts,
        /// Attempts that run.
        in_flight: u64,
        /// More attempts would run if there were memory for them.
        waits_for_memory: bool,
    },
    /// A message for people.
    Notice {
        /// One or several lines.
        text: &'a str,
    },
    /// The session has ended.
    Finished {
        /// The run's id.
        run: &'a str,
        /// The directory as a user would type it.
        run_dir: &'a str,
        /// The run's status.
        status: RunStatus,
        /// Reason of the status, or of a `rescore` that was cut short, if there is one.
        reason: Option<Reason>,
        /// Details of the reason, for people.
        message: Option<&'a str>,
        /// The signal that stopped the session.
        signal: Option<StopSignal>,
        /// The result of the trials. `none` until the run is completed.
        verdict: RunVerdict,
        /// Results of all sessions.
        counts: RunCounts,
        /// Duration of the session without pauses, in milliseconds.
        took_ms: f64,
        /// Exit code of the command.
        exit_code: u8,
    },
}
