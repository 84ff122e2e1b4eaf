//! [`ServerInfo`] and [`ScenarioList`]: what a server is, and what it can start.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    record::words::InstantSchema,
    view::{upkeep::PruneReport, version::DocumentVersion, written},
};

/// What a server is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ServerInfo {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The version of the runner.
    pub version: &'static str,
    /// Whether nothing can be changed through it.
    pub is_read_only: bool,
    /// The results root.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub results: PathBuf,
    /// The folders of scenarios that it can start.
    pub scenarios: Vec<String>,
    /// When this was: the clock of a browser may be wrong.
    #[schemars(with = "InstantSchema")]
    pub now: Timestamp,
}

/// What the settings of a results root would delete now; a server that may change things does so once an hour.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RetentionPlan {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What would go; `null` where the settings say nothing of it.
    pub would_go: Option<PruneReport>,
}

/// The scenarios that a server can start.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScenarioList {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The scenarios, by their paths.
    pub scenarios: Vec<FoundScenario>,
}

/// A scenario that a server can start.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FoundScenario {
    /// Its path below the folder of scenarios that it is in; what a start names.
    pub path: String,
    /// Its name; `null` where it is not valid.
    pub name: Option<String>,
    /// How many tests it has.
    pub tests: u64,
    /// How many trials these are.
    pub trials: u64,
    /// The names of its providers.
    pub providers: Vec<String>,
    /// What is wrong with it, as the terminal shows it; `null` where it is valid.
    pub problem: Option<String>,
}
