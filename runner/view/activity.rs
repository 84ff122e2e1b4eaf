//! [`RunActivity`]: what the attempts of a run are doing that a process works on, and what its trials wait for.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{trial::AttemptName, written};
use crate::record::{
    RunPause, WaitReason,
    words::{self, InstantSchema, WordSchema},
};

/// What the attempts of a run are doing that a process works on, and what its trials wait for.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct RunActivity {
    /// The attempts that have begun and not ended, the oldest first.
    pub in_flight: Vec<InFlightAttempt>,
    /// The trials whose next attempt waits for its time, those first that are due first.
    pub waiting: Vec<ComingAttempt>,
    /// How many more wait beside these.
    pub more_waiting: u64,
    /// Since when no worker is there, where workers on other machines are to make the attempts; `null` if one is there, or if
    /// nothing waits for one.
    #[schemars(with = "Option<InstantSchema>")]
    pub without_workers_since: Option<Timestamp>,
    /// Since when the run is paused and by whom; `null` if it is not. No time passes for what is in flight, then.
    pub paused: Option<RunPause>,
}

/// An attempt, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlacedAttempt {
    /// Which one it is.
    #[serde(flatten)]
    pub name: AttemptName,
    /// Its test's id; `null`, as what follows, where that is not in the content store any more.
    pub test: Option<String>,
    /// Its provider's name.
    pub provider: Option<String>,
    /// Which repeat of the test it is, from 1.
    pub repeat: Option<u32>,
    /// How many attempts its trial has at most, if none of them is stopped or lost.
    pub attempts: Option<u32>,
}

/// An attempt that is being executed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InFlightAttempt {
    /// Which one it is.
    #[serde(flatten)]
    pub place: PlacedAttempt,
    /// Whether it is one of a grader, which judges what an attempt of the trial has put out; its number says nothing then.
    pub is_grading: bool,
    /// The grader's name; `null` where it is none's, or where the scenario is not there any more.
    pub grader: Option<String>,
    /// For how long it has been executed, in milliseconds, if its beginning was written down.
    #[serde(rename = "elapsed_ms", serialize_with = "written::optional_duration")]
    #[schemars(with = "Option<f64>")]
    pub elapsed: Option<Duration>,
    /// What it is doing; `null` where its runner does not say.
    pub phase: Option<GuestPhase>,
    /// What its guest waits for in a host call: `http api.example.com:443`, `sleep`, `file`, `memory`, or `host` where it is
    /// none of these.
    pub what: Option<String>,
    /// Since when it is doing that.
    #[schemars(with = "Option<InstantSchema>")]
    pub since: Option<Timestamp>,
    /// For how long, in milliseconds.
    #[serde(
        rename = "phase_elapsed_ms",
        serialize_with = "written::optional_duration"
    )]
    #[schemars(with = "Option<f64>")]
    pub phase_elapsed: Option<Duration>,
}

/// What an attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuestPhase {
    /// Its guest computes.
    Computing,
    /// Its guest waits for an answer of the host.
    HostCall,
}

/// The next attempt of a trial, which waits for its time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ComingAttempt {
    /// Which one it is.
    #[serde(flatten)]
    pub place: PlacedAttempt,
    /// What it waits for: its trial's `retry`, or the `rate-limit` of its provider.
    #[serde(serialize_with = "words::word::serialize")]
    #[schemars(with = "WordSchema<WaitReason>")]
    pub why: WaitReason,
    /// Until when.
    #[schemars(with = "InstantSchema")]
    pub until: Timestamp,
    /// For how long still, in milliseconds.
    #[serde(rename = "left_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub left: Duration,
}
