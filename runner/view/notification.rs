//! [`RunNotification`]: what is told of a run's end, and [`NotifyReport`]: what came of telling it.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion, written};
use crate::{
    model::RunStatus,
    record::{RunEntry, words::InstantSchema},
};

/// What webhooks are sent, and commands get on their standard input.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunNotification {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What has happened: the run has ended, or goes on for longer than somebody wants to hear of.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["run.ended", "run.long"]))]
    pub kind: &'static str,
    /// When the document was made.
    #[schemars(with = "InstantSchema")]
    pub timestamp: Timestamp,
    /// The session that has ended or goes on, from 1.
    pub session: u32,
    /// What went wrong, for people, if the run could not go on.
    pub error: Option<String>,
    /// The run and how it stands.
    pub run: RunSummary,
}

/// The document of `runner notify --json`: who was told of a run's end.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotifyReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run's directory.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub run_dir: PathBuf,
    /// Those who had to be told.
    pub targets: Vec<NotifiedTarget>,
    /// How many had been told before.
    pub already_told: usize,
}

/// Somebody who had to be told of a run's end.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotifiedTarget {
    /// Who: an address, without what may be secret of it, or a program.
    pub to: String,
    /// `delivered`; `refused`, where it was not wanted or can never arrive; `failed`, where it has not arrived.
    #[schemars(extend("enum" = ["delivered", "refused", "failed"]))]
    pub result: &'static str,
    /// What was answered, or why there was no answer.
    pub answer: String,
    /// How many attempts it took.
    pub attempts: u32,
}

impl NotifyReport {
    /// Tells whether nobody is left who has to be told.
    pub fn is_delivered(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.all(|target| target.result == "delivered")
    }
}

impl RunNotification {
    /// Tells of a run: of its end, or how long it goes on.
    pub fn new(run: &RunEntry, error: Option<String>, now: Timestamp) -> Self {
        Self {
            v: DocumentVersion,
            kind: match run.status {
                RunStatus::Running => "run.long",
                _ => "run.ended",
            },
            timestamp: now,
            session: run.sessions,
            error,
            run: RunSummary::new(run, now),
        }
    }
}
