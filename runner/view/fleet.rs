//! What `runner worker list` and `runner engine` print as JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::version::DocumentVersion;

/// The workers at an engine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WorkerList {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The workers, by name.
    pub workers: Vec<ListedWorker>,
    /// The runs that would have workers.
    pub runs: Vec<String>,
}

/// A worker, as it says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ListedWorker {
    /// Its name, which rows have.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// The version of its runner.
    pub version: String,
    /// How many processors its machine has.
    pub cores: usize,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// The run whose attempts it makes.
    pub run: Option<String>,
    /// Whether it takes nothing more.
    pub is_leaving: bool,
}

/// What an engine is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EngineReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// Where it is.
    pub at: String,
    /// The version of the server.
    pub version: String,
    /// The longest message that it takes, in bytes.
    pub max_payload: usize,
    /// How long a message takes to it and back, in milliseconds.
    pub round_trip_ms: f64,
    /// How many plugins, lists of tests and attachments it keeps.
    pub blobs: usize,
    /// How many bytes they are together.
    pub blob_bytes: u64,
    /// Why it cannot keep any.
    pub problem: Option<String>,
}

/// What was removed from an engine, or would be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EngineCleaning {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// Whether it is only told what would go.
    pub is_dry_run: bool,
    /// How many plugins, lists of tests and attachments.
    pub blobs: usize,
    /// How many bytes they are together.
    pub bytes: u64,
}
