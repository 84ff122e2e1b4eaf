//! [`LiveSession`] and [`Death`]: what is seen of a run while a process works on it, and what was when one died.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{activity::RunActivity, trial::AttemptName, written};
use crate::record::{Holder, words::InstantSchema};

/// What is seen of a run while a process works on it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LiveSession {
    /// The process; `null` if it has not written that down.
    pub pid: Option<u32>,
    /// The host that it is on.
    pub host: Option<String>,
    /// Since when it works on the run.
    #[schemars(with = "InstantSchema")]
    pub since: Timestamp,
    /// For how long, in milliseconds.
    #[serde(rename = "elapsed_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
    /// How many trials it has done.
    pub done: u64,
    /// What it is doing.
    #[serde(flatten)]
    pub activity: RunActivity,
}

/// What a session was executing when its process died.
#[derive(Clone, Debug)]
pub struct Death {
    /// The session, from 1.
    pub session: u32,
    /// Some of the attempts that were being executed.
    pub attempts: Vec<AttemptName>,
    /// Some of the trials that were being graded.
    pub graded: Vec<GradedAtDeath>,
    /// How many more there were.
    pub more: usize,
}

/// A trial that was being graded when a process died.
#[derive(Clone, Debug)]
pub struct GradedAtDeath {
    /// Its id, or its place in the plan where that is not there any more.
    pub trial: String,
    /// Who was asked; `None` where that is not known any more.
    pub grader: Option<String>,
}

impl Death {
    /// How many attempts, and how many trials that were being graded, are named at most.
    pub const MAX_NAMED: usize = 5;
}

impl LiveSession {
    /// What is seen of whoever holds a run's lock.
    pub fn new(
        holder: Holder,
        since: Timestamp,
        elapsed: Duration,
        done: u64,
        activity: RunActivity,
    ) -> Self {
        Self {
            pid: holder.pid,
            host: holder.host,
            since,
            elapsed,
            done,
            activity,
        }
    }
}
