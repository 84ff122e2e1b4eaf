//! [`Provider`]: a plugin with its settings, as a scenario names it and a worker calls it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Budgets, Digest, Grants, Limits, Micros, ProviderName, enum_text::text_enum, grants::FsMode,
    template::Template,
};

/// A plugin with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// Its name.
    pub name: ProviderName,
    /// The plugin as the scenario names it: a path relative to the scenario, or `bundled:NAME`.
    pub plugin: String,
    /// Its configuration: a JSON object.
    pub config: Value,
    /// The arguments of a command. Roots: `input`, `config`.
    #[serde(default)]
    pub args: Vec<Template>,
    /// The standard input of a plain command.
    pub stdin: Option<Stdin>,
    /// What a plain command's standard output is taken for.
    #[serde(default)]
    pub output: OutputForm,
    /// How a command is called. Components need none.
    #[serde(default)]
    pub protocol: Protocol,
    /// What the plugin's file must hash to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Whether instances of a component are kept for further tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// What one attempt may touch of the world outside its sandbox.
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
    /// What one attempt may use.
    pub limits: Limits,
    /// How many of its attempts run at once. Coordinator only.
    pub concurrency: Option<u32>,
    /// How many of its attempts may start in which time. Coordinator only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What it may use up of what it measures. Coordinator only.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budget: Budgets,
}

/// How many attempts may start in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In which time.
    pub per: Micros,
}

impl Rate {
    /// Reads `60/min`, `5/s` or `100/h`.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return None,
        };
        let count = count.trim().parse().ok().filter(|count| *count > 0)?;
        Some(Self { count, per: Micros(seconds * 1_000_000) })
    }

    /// The time between two starts.
    pub fn gap(self) -> Micros {
        Micros(self.per.0 / u64::from(self.count))
    }
}

/// The standard input of a plain command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stdin {
    /// A text. Roots: `input`, `config`.
    Text(Template),
    /// The bytes of an attachment of the test.
    File {
        /// The attachment's name.
        file: String,
    },
}

text_enum! {
    /// Whether instances of a component are kept for further tests.
    pub enum Reuse {
        /// One instance serves many tests, one after the other.
        Instance = "instance",
    }
}

/// A provider whose plugin's file was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedProvider {
    /// The plugin with its settings.
    pub provider: Provider,
    /// The SHA-256 of the plugin's file.
    pub digest: Digest,
    /// What the plugin's file is.
    pub kind: PluginKind,
    /// The folders of `grants.fs`, in the order of the grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountedFolder>,
}

/// A granted folder that was found before any guest ran. A worker mounts the very folder with this identity, because a guest
/// may have put another one in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedFolder {
    /// Its path on the host: absolute, without symbolic links when it was found.
    pub host: String,
    /// Where guests find it: absolute.
    pub guest: String,
    /// What guests may do with it.
    pub mode: FsMode,
    /// The number of its device (`st_dev`).
    pub device: u64,
    /// The number of its inode.
    pub inode: u64,
}

text_enum! {
    /// What a plugin's file is, told from its first eight bytes.
    pub enum PluginKind {
        /// A component that exports the contract.
        Component = "component",
        /// A program: a module with `_start`.
        Command = "command",
    }
}

impl PluginKind {
    /// Looks at the magic number and version of a file. A command that is a component (`wasi:cli/run`) is told apart later,
    /// by whoever may parse foreign code.
    pub fn of(file: &[u8]) -> Option<Self> {
        match file.get(..8)? {
            b"\0asm\x01\0\0\0" => Some(Self::Command),
            b"\0asm\x0d\0\x01\0" => Some(Self::Component),
            _ => None,
        }
    }
}

text_enum! {
    /// What a plain command's standard output is taken for.
    #[derive(Default)]
    pub enum OutputForm {
        /// The text as it is.
        #[default]
        Text = "text",
        /// The text without white space at its ends.
        Trimmed = "trimmed",
        /// A JSON value.
        Json = "json",
    }
}

text_enum! {
    /// How a command is called.
    #[derive(Default)]
    pub enum Protocol {
        /// Arguments and standard input in, standard output out.
        #[default]
        Plain = "plain",
        /// The test as JSON on standard input, one JSON object on standard output.
        Json = "json",
    }
}

/// What a plugin says of itself, within the bounds that `sandbox` checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// JSON Schema of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// JSON Schema of a test's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// What it would like to be granted: lines of `grants`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
}
