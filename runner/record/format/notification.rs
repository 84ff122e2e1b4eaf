//! [`NotificationLine`]: a line of a run's `notifications.jsonl`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words;
use crate::model::{Reason, RunStatus, Verdict};

/// The ending of which somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedEnding {
    /// The run's status.
    #[serde(with = "words::word")]
    pub status: RunStatus,
    /// Why it has this status.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    pub reason: Option<Reason>,
    /// What its trials showed.
    #[serde(with = "words::word")]
    pub verdict: Verdict,
}

/// What was done about telling somebody of a run's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationLine {
    /// The version of the format: 1.
    pub v: u32,
    /// When.
    #[serde(with = "words::instant")]
    pub at: Timestamp,
    /// The session that has ended.
    pub session: u32,
    /// What was done.
    #[serde(flatten)]
    pub step: NotificationStep,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum NotificationStep {
    /// The session is about to end, and somebody is to be told.
    Pending,
    /// Somebody was told.
    Delivered(NotificationAttempt),
    /// Somebody does not want it, or can never be told.
    Refused(NotificationAttempt),
    /// Somebody could not be told.
    Failed(NotificationAttempt),
}

/// An attempt to tell somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationAttempt {
    /// Who, without what may be secret of an address.
    pub to: String,
    /// What tells this target from every other.
    pub target: String,
    /// The id of what was told.
    pub id: String,
    /// The ending.
    pub ending: NotifiedEnding,
    /// What was answered, or why there was no answer.
    pub answer: String,
}

impl NotificationLine {
    /// A step at a session's end.
    pub fn new(at: Timestamp, session: u32, step: NotificationStep) -> Self {
        Self {
            v: 1,
            at,
            session,
            step,
        }
    }

    /// The attempt, if it was one.
    pub fn attempt(&self) -> Option<&NotificationAttempt> {
        match &self.step {
            NotificationStep::Pending => None,
            NotificationStep::Delivered(attempt)
            | NotificationStep::Refused(attempt)
            | NotificationStep::Failed(attempt) => Some(attempt),
        }
    }
}
