//! [`ToolList`]: the tools that plugins are built with.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::{version::DocumentVersion, written};

/// The document of `runner plugin doctor --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ToolList {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The tools, by language.
    pub tools: Vec<ToolState>,
}

/// What is known of a tool that plugins are built with.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ToolState {
    /// The language that is built with it.
    pub language: &'static str,
    /// What people call it.
    pub tool: &'static str,
    /// Whether it is there and answers.
    pub is_found: bool,
    /// Its version, where it is there.
    pub version: Option<String>,
    /// Where it is, if it is a program.
    #[serde(serialize_with = "written::optional_path")]
    #[schemars(with = "Option<String>")]
    pub path: Option<PathBuf>,
    /// How it is installed, for people.
    pub install: String,
}
