//! [`ScenariosPage`]: the scenarios that a server may start.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ScenarioProblem;

/// The scenarios below the server's folders.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenariosPage {
    /// Always [`VERSION`](crate::VERSION).
    pub v: u8,
    /// By path.
    pub scenarios: Vec<ScenarioItem>,
    /// Whether there are more files than the server looks at.
    pub is_cut: bool,
}

/// A scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioItem {
    /// Path relative to its folder.
    pub path: String,
    /// The scenario's name. `null` with problems.
    pub name: Option<String>,
    /// Problems that prevent a start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ScenarioProblem>,
}
