//! [`ServerDocument`]: the server itself.

use runner_model::Time;
use schemars::JsonSchema;
use serde::Serialize;

/// A server, for the pages that it serves.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ServerDocument {
    /// Always [`VERSION`](crate::VERSION).
    pub v: u8,
    /// Version of the runner.
    pub version: String,
    /// The server's time, by which pages show ages.
    pub now: Time,
    /// Whether the server refuses every change.
    pub read_only: bool,
    /// The results root.
    pub root: String,
    /// Whether scenarios can be started.
    pub scenarios: bool,
}
