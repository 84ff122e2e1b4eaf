//! [`QueuedRequest`]: a file of the queue of a results root, something that is to run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    by::By,
    words::{self, InstantSchema},
};
use crate::{model::Digest, record::disk::layout::RunId};

/// The version of the format.
const QUEUE_FORMAT: u32 = 1;

/// Something that is to run: a file in `queue` of a results root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedRequest {
    /// The version of the format: 1.
    format: u32,
    /// Its id, which its file is called by.
    pub id: String,
    /// Greater ones come first.
    pub priority: i64,
    /// Since when it waits.
    #[serde(with = "words::instant")]
    pub at: Timestamp,
    /// Who asked for it.
    pub by: By,
    /// How often somebody has tried to start it.
    #[serde(default)]
    pub tries: u32,
    /// Why it cannot be started, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What whoever asks twice knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RequestKey>,
    /// What is to run.
    pub work: RequestedWork,
}

/// What whoever asks twice knows a request by: with the same key nothing is started twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestKey {
    /// The key, as it was given.
    pub text: String,
    /// The digest of what was asked for: something else with the same key is a mistake.
    pub asked: String,
}

/// What is to run, in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum RequestedWork {
    /// A scenario.
    Exec(RequestedExec),
    /// What is left of a run.
    Resume(RequestedResume),
}

/// A scenario that is to run, as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedExec {
    /// The folder that its paths are relative to, and in which its process is started.
    pub folder: String,
    /// The scenario's file.
    pub scenario: String,
    /// Which of its tests run on which providers, as manifests have it.
    pub selection: Value,
    /// What holds instead of what the scenario says, as manifests have it.
    pub options: Value,
    /// Whether plugins are built.
    #[serde(default)]
    pub is_build: bool,
    /// Files of secrets.
    #[serde(default)]
    pub secret_files: Vec<String>,
}

/// A run that is to be gone on with, as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedResume {
    /// The folder that its paths are relative to, and in which its process is started.
    pub folder: String,
    /// The run's id.
    pub run: String,
    /// What holds instead of what held before, as manifests have it.
    pub options: Value,
    /// Files of secrets.
    #[serde(default)]
    pub secret_files: Vec<String>,
    /// Which trials run again that have a final row, as `--rerun` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<String>,
    /// Whether the scenario and the plugins are adopted as they are now.
    #[serde(default)]
    pub accept_changes: bool,
    /// Whether a run is gone on with that was cancelled.
    #[serde(default)]
    pub force: bool,
    /// How many sessions the run had: once it has more, this is done with. Absent where it was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

/// The request that a run was started by: one of the queue, or of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRequest {
    /// The request's id.
    pub id: String,
    /// Its priority.
    pub priority: i64,
    /// Since when it waited.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub at: Timestamp,
    /// Who asked for it.
    pub by: By,
    /// What whoever asks twice knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RequestKey>,
}

impl QueuedRequest {
    /// Tells whether it is to go on with this run.
    pub fn is_for(&self, run: &RunId) -> bool {
        matches!(&self.work, RequestedWork::Resume(resume) if resume.run == run.as_str())
    }

    /// A request that nobody has tried to start.
    pub fn new(id: String, priority: i64, by: By, work: RequestedWork) -> Self {
        Self {
            format: QUEUE_FORMAT,
            id,
            priority,
            at: by.at,
            by,
            tries: 0,
            refused: None,
            key: None,
            work,
        }
    }

    /// The same, known by a key.
    #[must_use]
    pub fn known_by(self, key: Option<RequestKey>) -> Self {
        Self { key, ..self }
    }

    /// Tells whether this version of the runner knows what is in it.
    pub(in crate::record) fn is_known(&self) -> bool {
        self.format == QUEUE_FORMAT
    }

    /// What a run says of it.
    pub fn mark(&self) -> RunRequest {
        RunRequest {
            id: self.id.clone(),
            priority: self.priority,
            at: self.at,
            by: self.by.clone(),
            key: self.key.clone(),
        }
    }

    /// The folder that its paths are relative to.
    pub fn folder(&self) -> &str {
        match &self.work {
            RequestedWork::Exec(exec) => &exec.folder,
            RequestedWork::Resume(resume) => &resume.folder,
        }
    }
}

impl RequestedWork {
    /// The key by which a request for this is known, wherever whoever asks is started: its paths are whole then.
    pub fn key(&self, text: &str) -> RequestKey {
        let mut asked = self.clone();
        match &mut asked {
            Self::Exec(exec) => exec.folder.clear(),
            Self::Resume(resume) => resume.folder.clear(),
        }
        let bytes = serde_json::to_vec(&asked).expect("a request can be written as JSON");
        RequestKey {
            text: text.to_owned(),
            asked: Digest::of(&bytes).to_string(),
        }
    }
}
