//! [`Notification`]: the message to the receivers of `[notify]`. [`SentNotification`]: the attempts to send it.

use runner_model::{RunStatus, Time, status::RunEnding};
use runner_record::{NotificationResult, NotifiedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{RunSummary, VERSION};

/// The body of a webhook, and the standard input of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notification {
    /// Always [`VERSION`].
    pub v: u8,
    /// The event of the run.
    #[serde(rename = "type")]
    pub kind: NotificationKind,
    /// End of the run; of a run that takes long, the time of the notification.
    pub timestamp: Time,
    /// The run.
    pub data: RunSummary,
}

/// The type of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum NotificationKind {
    /// A session of the run has ended.
    #[serde(rename = "run.ended")]
    Ended,
    /// A session of the run takes longer than `longer_than` of the receiver.
    #[serde(rename = "run.long")]
    Long,
}

impl Notification {
    /// Returns the notification about the state of a run.
    pub fn new(run: RunSummary, now: Time) -> Self {
        let kind = match run.head.status {
            RunStatus::Running => NotificationKind::Long,
            _ => NotificationKind::Ended,
        };
        let timestamp = run.head.completed_at.unwrap_or(now);
        Self { v: VERSION, kind, timestamp, data: run }
    }
}

/// A notification of a run for a receiver.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SentNotification {
    /// The run's id.
    pub run: String,
    /// The event of the run.
    pub event: NotifiedEvent,
    /// Kind of the receiver.
    pub kind: ReceiverKind,
    /// Scheme, host and port of a webhook, or the program of a command.
    pub to: String,
    /// Result of the last attempt. `None` before the first.
    pub result: Option<NotificationResult>,
    /// The last response, or the reason of the last failure, for people.
    pub answer: Option<String>,
    /// Attempts that this command has made.
    pub attempts: u32,
}

impl SentNotification {
    pub fn is_delivered(&self) -> bool {
        self.result == Some(NotificationResult::Delivered)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverKind {
    Webhook,
    Command,
}

/// A receiver of notifications about a planned run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlannedReceiver {
    /// Kind of the receiver.
    pub kind: ReceiverKind,
    /// Scheme, host and port of a webhook, or the program of a command.
    pub to: String,
    /// The ends that it is notified of.
    pub on: Vec<RunEnding>,
    /// Least duration of a session that it is notified of, in milliseconds. `None` if there is none.
    pub longer_than_ms: Option<f64>,
    /// The scenario names it. Otherwise `runner.toml` does.
    pub is_of_scenario: bool,
}
