//! [`Provider`]: a plugin with its settings, for the scenario, the manifest and the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Budgets, Digest, Fingerprint, Grants, Limits, Micros, ProviderName, Time,
    cache::form::CodeForm,
    enum_text::{default_weight, is_default_weight, text_enum},
    grants::FsMode,
    row::Metric,
    template::Template,
    test::{Attachment, Retries},
    workspace::{GradedWorkspace, Workspace},
};

pub use crate::limits::COST;

/// A plugin with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    pub name: ProviderName,
    /// A path relative to the scenario, or `bundled:NAME`.
    pub plugin: String,
    /// A JSON object.
    pub config: Value,
    /// Arguments of a command. Roots: [`COMMAND_ROOTS`].
    #[serde(default)]
    pub args: Arguments,
    /// Standard input of a plain command.
    pub stdin: Option<Stdin>,
    #[serde(default)]
    pub output: OutputForm,
    /// Most lines of the plugin of a test list. Its standard output becomes an artifact. `None` for a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Ignored for components.
    #[serde(default)]
    pub protocol: Protocol,
    /// The required hash of the plugin's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Files of each test, in addition to its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ProviderFile>,
    /// `None` for a new instance in each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
    pub limits: Limits,
    /// Attempts of the provider that run at once. Only the coordinator uses it.
    pub concurrency: Option<u32>,
    /// Most starts of attempts per time. Only the coordinator uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Only the coordinator uses it.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budget: Budgets,
    /// Dollars per million, by metric. Not negative.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, f64>,
    /// `None` if its guests see the machine's clocks and random numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<Deterministic>,
    /// `None` if its attempts have no workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Settings of a grader. `None` for providers and tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grading: Option<Box<Grading>>,
    /// Settings of a tool. `None` for providers and graders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Box<Tool>>,
}

/// The settings that a tool, which providers call, has in addition to those of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Purpose of the tool, for callers. `None` for the summary of the plugin's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the tool's input. `None` for the schema of the plugin's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
}

/// The settings that a grader has in addition to those of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grading {
    /// The grader's input, with placeholders in its texts. Roots: [`GRADED_ROOTS`]. `None` for an object with all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The lowest score that passes. That of a test takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    /// The highest score that the grader can give, above 0; the lowest one is then 0. Other scores are errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f64>,
    /// The weight of its score in the score of a trial.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
    /// Most time of one attempt.
    pub timeout: Micros,
    /// `None` for [`Provider::default_retries`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// `None` if the grader gets no workspace of attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<GradedWorkspace>,
    /// Hash of the settings that decide the grader's answers. `None` until the plugin is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// `[run] deterministic`: the result of an attempt is a function of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deterministic {
    /// Start of the guests' clocks. `None` for the start of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Time>,
    /// `None` without a journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<InFlight>,
}

text_enum! {
    /// `[run] in_flight`: what becomes of a request whose response was not recorded before an interruption.
    pub enum InFlight {
        SendAgain = "send-again",
        Stop = "stop",
    }
}

/// A file of all tests of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderFile {
    /// The file name in the guest.
    pub name: String,
    /// Relative to the scenario.
    pub path: String,
    pub sha256: Digest,
    pub bytes: u64,
}

impl ProviderFile {
    pub fn attachment(&self) -> Attachment<'_> {
        Attachment { name: self.name.as_str().into(), sha256: self.sha256, bytes: self.bytes }
    }
}

/// The roots of templates in the arguments and the standard input of a command.
pub const COMMAND_ROOTS: &[&str] = &["input", "config", "run", "trial"];
/// The roots of templates in environment variables, the only ones that can have secrets.
pub const ENV_ROOTS: &[&str] = &["input", "config", "run", "trial", "secret"];

/// The roots of placeholders in a grader's `input`.
pub const GRADED_ROOTS: &[&str] = &["input", "output", "reference", "metrics", "test", "provider"];

/// The arguments of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arguments {
    /// A template for each argument.
    Each(Vec<Template>),
    /// A placeholder whose value is the list of all arguments, texts and numbers.
    List(Template),
}

impl Provider {
    /// Returns the rule for requests without a recorded response. `None` without a journal.
    pub fn journal(&self) -> Option<InFlight> {
        self.deterministic.and_then(|deterministic| deterministic.journal)
    }

    /// Returns the table of a scenario that the provider is in.
    pub fn table(&self) -> &'static str {
        match self.role() {
            "grader" => "graders",
            "tool" => "tools",
            _ => "providers",
        }
    }

    /// Returns `grader`, `tool` or `provider`.
    pub fn role(&self) -> &'static str {
        match (&self.grading, &self.tool) {
            (Some(_), _) => "grader",
            (None, Some(_)) => "tool",
            (None, None) => "provider",
        }
    }

    /// Returns whether tests run on the provider: graders and tools have no tests.
    pub fn is_tested(&self) -> bool {
        self.grading.is_none() && self.tool.is_none()
    }

    /// Returns the places in `all`, the list of all providers, of the tools that the provider may call.
    pub fn tools<'p>(
        &self,
        all: impl DoubleEndedIterator<Item = &'p Self> + ExactSizeIterator + Clone,
    ) -> impl Iterator<Item = usize> {
        self.placed_tools(all).map(|(place, _)| place)
    }

    /// Returns the memory to reserve for the largest of its tools, in bytes: at most one of them runs in an attempt.
    pub fn tool_memory<'p>(
        &self,
        all: impl DoubleEndedIterator<Item = &'p Self> + ExactSizeIterator + Clone,
    ) -> u64 {
        self.placed_tools(all).map(|(_, tool)| tool.limits.all_memory()).max().unwrap_or(0)
    }

    /// Returns whether it or one of its tools may send requests.
    pub fn uses_net<'p>(
        &self,
        all: impl DoubleEndedIterator<Item = &'p Self> + ExactSizeIterator + Clone,
    ) -> bool {
        !self.grants.net.is_empty()
            || self.placed_tools(all).any(|(_, tool)| !tool.grants.net.is_empty())
    }

    /// Returns the provider's tools with their places in `all`. In a list of `rescore`, tools of graders follow the stored ones,
    /// which may have the same names.
    fn placed_tools<'p>(
        &self,
        all: impl DoubleEndedIterator<Item = &'p Self> + ExactSizeIterator + Clone,
    ) -> impl Iterator<Item = (usize, &'p Self)> {
        self.grants.tools.iter().filter_map(move |name| {
            let is_named = |(_, one): &(usize, &Self)| one.tool.is_some() && *one.name == **name;
            let mut all = all.clone().enumerate();
            if self.is_tested() { all.find(is_named) } else { all.rfind(is_named) }
        })
    }

    /// Returns the retries of attempts for which the scenario sets none.
    pub fn default_retries(&self) -> Retries {
        if self.grants.net.is_empty() { Retries::default() } else { Retries::of_network() }
    }

    /// Returns the cost of an attempt with these metrics. `None` if no metric has a price, or one of them is the cost.
    pub fn cost(&self, metrics: &[Metric<'_>]) -> Option<Metric<'static>> {
        cost_of(&self.prices, metrics)
    }
}

/// Rounds a sum of binary fractions to 13 digits. Files and bounds would show the noise of the others: 0.000012749999999999998.
pub fn without_noise(sum: f64) -> f64 {
    format!("{sum:.12e}").parse().unwrap_or(sum)
}

/// As [`Provider::cost`], by dollars for a million of each metric.
pub fn cost_of(prices: &BTreeMap<String, f64>, metrics: &[Metric<'_>]) -> Option<Metric<'static>> {
    let prices = metrics.iter().filter_map(|metric| {
        let price = prices.get(&*metric.name)?;
        Some(metric.value.max(0.0) * price / 1e6)
    });
    let is_reported = metrics.iter().any(|metric| *metric.name == *COST);
    let cost = prices.reduce(|sum, price| sum + price).filter(|_| !is_reported)?;
    let cost = without_noise(cost);
    // JSON has no infinite numbers.
    Some(Metric { name: COST.into(), value: cost.min(f64::MAX), unit: Some("USD".into()) })
}

impl Arguments {
    pub fn templates(&self) -> &[Template] {
        match self {
            Self::Each(templates) => templates,
            Self::List(template) => slice::from_ref(template),
        }
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

/// A number of starts per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    pub per: Micros,
}

impl Rate {
    /// Parses `60/min`, `5/s` or `100/h`.
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

    /// Returns the time between two starts.
    pub fn gap(self) -> Micros {
        Micros(self.per.0 / u64::from(self.count))
    }
}

/// The standard input of a plain command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stdin {
    /// A text. Roots: [`COMMAND_ROOTS`].
    Text(Template),
    /// The content of an attachment of the test.
    File {
        /// The attachment's name.
        file: String,
    },
}

text_enum! {
    /// The parts of a component that outlive an attempt.
    pub enum Reuse {
        /// An instance serves many tests, one after the other.
        Instance = "instance",
    }
}

/// A provider with its plugin's file and folders resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedProvider {
    pub provider: Provider,
    /// The SHA-256 of the plugin's file.
    pub digest: Digest,
    pub kind: PluginKind,
    /// The folders of `grants.fs`, in the order of the grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountedFolder>,
}

impl PreparedProvider {
    /// Returns whether attempts have an exit code: the plugin is a command without the JSON protocol.
    pub fn is_plain(&self) -> bool {
        self.kind == PluginKind::Command && self.provider.protocol == Protocol::Plain
    }

    /// Returns the form of the plugin's code. With `quick`, code without optimization may take its place.
    pub fn code_form(&self, quick: bool) -> CodeForm {
        let Provider { tool, deterministic, limits, .. } = &self.provider;
        if tool.is_some() && deterministic.is_some() && limits.time.is_some() {
            CodeForm::Metered
        } else if quick {
            CodeForm::Quick
        } else {
            CodeForm::Optimized
        }
    }
}

/// Returns the forms of a plugin's code that providers need.
pub fn code_forms(providers: &[PreparedProvider], plugin: &Digest, quick: bool) -> Vec<CodeForm> {
    let with_plugin = providers.iter().filter(|prepared| prepared.digest == *plugin);
    let forms: BTreeSet<_> = with_plugin.map(|prepared| prepared.code_form(quick)).collect();
    forms.into_iter().collect()
}

/// A granted folder, resolved before any guest runs. A worker mounts it only if device and inode are the same, because a
/// guest may replace the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountedFolder {
    /// The path on the host, absolute, without symbolic links when it was resolved.
    pub host: String,
    /// The path in the guest, absolute.
    pub guest: String,
    /// The guest's access.
    pub mode: FsMode,
    /// The device's number, `st_dev`.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
    /// The content at the start of the run. Absent if the folder is writable, too large, or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<FolderContent>,
}

/// The content of a read-only folder, which is part of fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderContent {
    /// The SHA-256 of names, kinds and bytes of all entries.
    pub sha256: Digest,
    /// Relative path of the results root, which is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
}

text_enum! {
    /// The kind of a plugin's file by its first eight bytes.
    pub enum PluginKind {
        /// A component that exports the contract.
        Component = "component",
        /// A program: a module with `_start`.
        Command = "command",
    }
}

impl PluginKind {
    /// Returns the kind by the magic number and version of a file. Commands that are components (`wasi:cli/run`) are
    /// recognized later, in a child process that may parse foreign code.
    pub fn of(file: &[u8]) -> Option<Self> {
        // The magic number, then the version 1 of modules, or 13 with layer 1 of components.
        match file.get(..8)? {
            b"\0asm\x01\0\0\0" => Some(Self::Command),
            b"\0asm\x0d\0\x01\0" => Some(Self::Component),
            _ => None,
        }
    }
}

text_enum! {
    /// The form of a plain command's standard output.
    #[derive(Default)]
    pub enum OutputForm {
        /// Unchanged text.
        #[default]
        Text = "text",
        /// Text without white space at its ends.
        Trimmed = "trimmed",
        /// A JSON value.
        Json = "json",
    }
}

text_enum! {
    /// The calling convention of a command.
    #[derive(Default)]
    pub enum Protocol {
        /// Arguments and standard input in, standard output out.
        #[default]
        Plain = "plain",
        /// The test as JSON on standard input, one JSON object on standard output.
        Json = "json",
    }
}

/// A plugin's description of itself. `sandbox` checks its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// JSON Schema of a test's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// Requested grants, as lines of `grants`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
}
