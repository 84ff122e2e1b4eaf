//! [`NotificationLog`]: `notifications.jsonl` of a run, the attempts to notify its receivers.
//!
//! The process that has locked the file sends notifications of the run. It need not hold the run.

use std::io::{self, Write as _};
use std::{fs::File, os::unix::fs::FileExt as _, time::Duration};

use runner_model::{Reason, RunStatus, Time, status::RunVerdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::disk::lock::{Held, lock_within};
use crate::{RecordError, RunDir, disk::layout::NOTIFICATIONS};

/// A larger file is not read.
const MAX_BYTES: u64 = 16 << 20;

/// An event that receivers are notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifiedEvent {
    /// A session of the run has ended.
    End,
    /// A session of the run takes longer than the receiver's `longer_than`.
    Long,
}

/// The result of an attempt to notify a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationResult {
    /// The receiver has the notification.
    Delivered,
    /// The receiver does not accept it. Only `runner notify RUN` tries again.
    Refused,
    /// The next attempt may succeed.
    Failed,
}

/// A line of `notifications.jsonl`: an attempt to notify a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationLine {
    /// End of the attempt.
    pub at: Time,
    /// The last session, from 1.
    pub session: u32,
    /// The event of the run.
    pub event: NotifiedEvent,
    /// Scheme, host and port of a webhook, or the program of a command.
    pub to: String,
    /// Hash of the receiver's address or command.
    pub receiver: String,
    /// The notification's id, the same for each attempt until it is delivered.
    pub id: String,
    /// The run's status at that time.
    pub status: RunStatus,
    /// Reason of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The run's verdict at that time.
    pub verdict: RunVerdict,
    /// Result of the attempt.
    pub result: NotificationResult,
    /// The response, or the reason of a failure, for people.
    pub answer: String,
    /// Time that the receiver asks to wait before the next attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
}

/// The locked `notifications.jsonl` of a run.
#[derive(Debug)]
pub struct NotificationLog {
    file: Held,
    run: RunDir,
}

impl RunDir {
    /// Returns all attempts to notify receivers, the oldest first. Ignores damaged lines.
    pub fn notifications(&self) -> Result<Vec<NotificationLine>, RecordError> {
        match self.dir.read_all(NOTIFICATIONS, MAX_BYTES) {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            bytes => {
                let bytes = bytes?;
                let lines = bytes.split(|byte| *byte == b'\n');
                Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
        }
    }

    /// Locks `notifications.jsonl`, and creates it if it is missing. `None` if another process still has it after `patience`.
    pub fn lock_notifications(
        &self,
        patience: Duration,
    ) -> Result<Option<NotificationLog>, RecordError> {
        let file = self.dir.append(NOTIFICATIONS)?;
        let is_locked = lock_within(&file, true, patience, |source| {
            self.dir.error("lock", NOTIFICATIONS, source)
        })?;
        Ok(is_locked.then(|| NotificationLog { file: Held(file), run: self.clone() }))
    }
}

impl NotificationLog {
    /// Appends an attempt, and syncs it.
    pub fn append(&mut self, line: &NotificationLine) -> Result<(), RecordError> {
        let Held(file) = &self.file;
        append(file, line).map_err(|source| self.run.dir.error("write", NOTIFICATIONS, source))
    }
}

fn append(mut file: &File, line: &NotificationLine) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    // A process died while it wrote the last line.
    if last != *b"\n" {
        bytes.insert(0, b'\n');
    }
    file.write_all(&bytes)?;
    file.sync_data()
}
