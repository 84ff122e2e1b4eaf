//! [`PluginInspection`]: what is known of a plugin's file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{version::DocumentVersion, written};
use crate::{
    model::Digest,
    plugin::{CommandForm, Compiled, Description, Kind, Surface},
    record::words::{self, DigestSchema},
};

/// How many imports and exports a document has of each.
const MAX_ELEMENTS: usize = 1_000;

/// The document of `runner plugin inspect --json`; of a file that cannot be used less is known.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PluginInspection {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The file.
    #[serde(rename = "file", serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub sha256: Digest,
    /// What kind of plugin it is: `component` or `command`; `null` if it is none that this runner knows how to call.
    #[serde(serialize_with = "kind")]
    #[schemars(with = "Option<String>", extend("enum" = ["component", "command", null]))]
    pub kind: Option<Kind>,
    /// How a command is packaged.
    pub form: Option<&'static str>,
    /// By which protocol a command is called: `json`, or `plain` if it does not describe itself.
    #[schemars(extend("enum" = ["json", "plain", null]))]
    pub protocol: Option<&'static str>,
    /// How it answers as a grader: with a `reply` that has verdict, score and explanation in it, or by its `exit-code`; `null`
    /// if it cannot be called.
    #[schemars(extend("enum" = ["reply", "exit-code", null]))]
    pub grades_by: Option<&'static str>,
    /// The version of the contract that it exports, as written; this runner need not speak it.
    pub contract: Option<String>,
    /// Whether it exports the contract's `lifecycle`.
    pub lifecycle: bool,
    /// What it imports, at most the first thousand; `null` if it is no whole WASM within the bounds of a plugin.
    #[serde(serialize_with = "first")]
    pub imports: Option<Vec<PluginImport>>,
    /// What it exports, at most the first thousand.
    #[serde(serialize_with = "first")]
    pub exports: Option<Vec<String>>,
    /// What it was compiled to, if it could be.
    pub compiled: Option<CompiledPlugin>,
    /// What it says of itself, if it does.
    pub description: Option<PluginDescription>,
    /// Why it cannot be used, for people.
    pub problem: Option<String>,
    /// How many imports and exports are left out; absent where none are.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// Whether it begins like WASM.
    #[serde(skip)]
    pub is_wasm: bool,
    /// Whether it is a component, if that could be read; else it is a core module.
    #[serde(skip)]
    pub is_component: bool,
}

/// Something that a file imports.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PluginImport {
    /// Its name: an interface such as `wasi:cli/stderr@0.2.6`, of a module a function such as
    /// `wasi_snapshot_preview1::fd_write`.
    pub name: String,
    /// Whether this runner has it, as far as its name tells.
    #[serde(rename = "offered")]
    pub is_offered: bool,
}

/// A plugin that is compiled.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CompiledPlugin {
    /// The size of its machine code and data, in bytes.
    pub size: u64,
    /// Whether it was in the cache already.
    #[serde(rename = "cached")]
    pub is_cached: bool,
    /// How long it took to have that, in milliseconds.
    #[serde(rename = "ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub took: Duration,
    /// Why each of its sandboxes is made on demand, for people; absent where they are pooled, as those of most plugins are.
    #[serde(rename = "on_demand", skip_serializing_if = "Option::is_none")]
    pub unpooled: Option<String>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PluginDescription {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// The JSON Schema of its configuration.
    pub config_schema: Option<Value>,
    /// The JSON Schema of a test's input.
    pub input_schema: Option<Value>,
    /// What it would like to be granted, in its own words.
    pub requests: Vec<String>,
}

impl PluginInspection {
    /// What a file's bytes alone tell.
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        let surface = Surface::of(bytes).ok();
        let mut inspection = Self {
            v: DocumentVersion,
            path: path.to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
            kind: None,
            form: None,
            protocol: None,
            grades_by: None,
            contract: None,
            lifecycle: false,
            imports: None,
            exports: None,
            compiled: None,
            description: None,
            problem: None,
            left_out: 0,
            is_wasm: bytes.starts_with(b"\0asm"),
            is_component: false,
        };
        if let Some(surface) = surface {
            inspection.set_surface(surface);
        }
        inspection
    }

    fn set_surface(&mut self, surface: Surface) {
        let beyond = |count: usize| count.saturating_sub(MAX_ELEMENTS);
        self.left_out = beyond(surface.imports.len()) + beyond(surface.exports.len());
        self.contract = surface.contract().map(str::to_owned);
        self.lifecycle = surface.has_lifecycle();
        self.is_component = surface.is_component;
        let imports = surface.imports.into_iter();
        let import = |import: crate::plugin::Import| PluginImport {
            name: import.name,
            is_offered: import.is_offered,
        };
        self.imports = Some(imports.map(import).collect());
        self.exports = Some(surface.exports);
    }

    /// Adds what kind of plugin it is.
    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = Some(kind);
        self.form = match kind {
            Kind::Component { .. } => None,
            Kind::Command(CommandForm::Module) => Some("module of WASI preview 1"),
            Kind::Command(CommandForm::Component) => Some("component of WASI 0.2"),
        };
    }

    /// Adds what it was compiled to.
    pub fn set_compiled(&mut self, compiled: CompiledPlugin) {
        self.compiled = Some(compiled);
        // It can be asked from now on; whoever does not reply is called by the plain protocol.
        self.protocol = self.form.map(|_| "plain");
        self.grades_by = self.form.map(|_| "exit-code");
    }

    /// Adds what it says of itself.
    pub fn set_description(&mut self, description: Description) {
        self.description = Some(PluginDescription::from(description));
        self.protocol = self.form.map(|_| "json");
        self.grades_by = Some("reply");
    }
}

impl CompiledPlugin {
    /// What a plugin was compiled to, and how long it took to have that.
    pub fn new(compiled: &Compiled, took: Duration) -> Self {
        Self {
            size: compiled.size,
            is_cached: compiled.is_cached,
            took,
            unpooled: compiled.unpooled.clone(),
        }
    }
}

impl From<Description> for PluginDescription {
    fn from(description: Description) -> Self {
        Self {
            name: description.name,
            version: description.version,
            summary: description.summary,
            config_schema: description.config_schema,
            input_schema: description.input_schema,
            requests: description.requests,
        }
    }
}

fn kind<S: Serializer>(kind: &Option<Kind>, serializer: S) -> Result<S::Ok, S::Error> {
    kind.map(Kind::as_str).serialize(serializer)
}

/// Writes at most the first thousand.
fn first<T: Serialize, S: Serializer>(
    elements: &Option<Vec<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let elements = elements.as_ref();
    let first = elements.map(|elements| &elements[..elements.len().min(MAX_ELEMENTS)]);
    first.serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
