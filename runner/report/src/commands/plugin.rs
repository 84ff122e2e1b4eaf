//! Documents of `runner plugin`.

use std::path::PathBuf;

use runner_model::provider::{Description, PluginKind};
use runner_model::{Digest, log::Said, row::Grade, row::Row};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// `runner plugin run`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PluginRunDocument<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// The keys of a row that do not depend on a run.
    #[schemars(with = "Row<'a>")]
    pub row: Option<&'a RawValue>,
    /// The whole output, which may be too large for the row. `null` without one.
    #[schemars(with = "serde_json::Value")]
    pub output: Option<&'a RawValue>,
    /// Log records, standard output and standard error.
    #[schemars(with = "Option<Said<'a>>")]
    pub said: Option<&'a RawValue>,
}

/// `runner plugin run --grade`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GradeDocument<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// The answer, as in a row.
    pub grade: &'a Grade<'a>,
}

/// `runner plugin inspect`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InspectDocument<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// The plugin as the user typed it.
    pub plugin: &'a str,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Length of the file.
    pub bytes: u64,
    /// Kind of the plugin.
    pub kind: PluginKind,
    /// Version of the exported contract. `null` for commands.
    pub contract: Option<&'a str>,
    /// The plugin's description of itself. `null` for plain commands.
    pub description: Option<&'a Description>,
    /// The way in which the plugin answers as a grader.
    pub grader: &'a str,
    /// The first imports.
    pub imports: &'a [String],
    /// The first exports.
    pub exports: &'a [String],
    /// Number of further imports and exports.
    pub left_out: usize,
    /// The reason why a run would refuse the file.
    pub problem: Option<String>,
}

/// `runner plugin doctor`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DoctorDocument {
    /// Always [`crate::VERSION`].
    pub v: u8,
    /// The tools of all languages.
    pub tools: Vec<ToolStatus>,
}

/// A tool that builds plugins, as it is installed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolStatus {
    /// The language, as an argument of `plugin new`.
    pub language: &'static str,
    /// Name of the language for people.
    #[serde(skip)]
    pub language_name: String,
    /// Name of the tool.
    pub tool: String,
    /// Version of the tool on `PATH`. `None` if the folder has its own tool, or if the tool is missing.
    pub version: Option<String>,
    /// The folder's own tool, which a build uses.
    pub file: Option<PathBuf>,
    /// The way to install the tool.
    pub install: String,
}

impl ToolStatus {
    pub fn is_missing(&self) -> bool {
        self.version.is_none() && self.file.is_none()
    }
}
