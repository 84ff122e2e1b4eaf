//! Documents about workers on other machines.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// `runner worker list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkersDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The workers that are connected, by name.
    pub workers: Vec<ConnectedWorker>,
}

/// A worker on another machine.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConnectedWorker {
    /// Name of the worker, as in `worker` of rows.
    pub name: String,
    /// Name of the worker's machine.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
    /// Start of the worker by the clock of its machine.
    pub since: String,
    /// Version of the program.
    pub version: String,
    /// Attempts of a run that run at the same time.
    pub slots: u32,
    /// Bytes for the memories of all guests of a run.
    pub memory: u64,
    /// Labels of `--label`.
    pub labels: BTreeMap<String, String>,
    /// Ids of the runs that it works on.
    pub runs: Vec<String>,
}

impl WorkersDocument {
    pub fn new(workers: impl IntoIterator<Item = ConnectedWorker>) -> Self {
        let mut workers: Vec<_> = workers.into_iter().collect();
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        Self { v: VERSION, workers }
    }
}

/// `runner broker check`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BrokerDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Address without user and password.
    pub address: String,
    /// Name of the NATS server.
    pub server: String,
    /// Version of the NATS server.
    pub version: String,
    /// Time of a message to the server and back, in milliseconds.
    pub round_trip_ms: f64,
    /// Whether these credentials allow to run a scenario with workers.
    pub allows_runs: bool,
    /// Whether these credentials allow to be a worker.
    pub allows_workers: bool,
    /// Reasons why these credentials do not allow runs or workers.
    pub problems: Vec<String>,
    /// Subjects on which users of the broker must be allowed to publish, by role: `runs` and `workers`.
    pub permissions: BTreeMap<&'static str, Vec<String>>,
}
