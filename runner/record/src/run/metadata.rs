//! [`Metadata`] and [`ManifestProvider`]: the plan of a run in its manifest.

use std::collections::BTreeMap;

use runner_model::{Digest, ScenarioOverrides, Shard, provider::PluginKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Numbers and digests of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// Trials of the plan: tests × providers × repeats. Readers of several tools compare the number of results with it.
    pub planned_test_count: u64,
    /// Trials of the plan.
    pub planned_trial_count: u64,
    /// SHA-256 of the suite in the store.
    pub suite: Digest,
    /// The list in the store of all attachments and schemas, which are in the store, too: a digest on each line,
    /// sorted. Absent without attachments and schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<Digest>,
    /// SHA-256 of the stored `scenario.toml`.
    pub scenario_sha256: Digest,
    /// Version of the runner that started the run.
    pub runner_version: String,
    /// The selected part of the scenario, and replaced values.
    #[serde(default, skip_serializing_if = "Selected::is_all")]
    pub selection: Selected,
    /// The values of the scenario's `[vars]`. Readers list them with the labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Value>,
    /// The scenario has a gate, so only a session that ends decides the verdict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_gate: bool,
}

/// The selected part of a scenario, and values that replace its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Selected {
    /// Globs of test ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// Globs of the ids of tests that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Globs of provider names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// A selected test has one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only tests and providers that had not passed in an earlier run. The stored suite has just those.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last_failed: bool,
    /// A filter that matches the selected tests and providers. It names runs by their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only the first of the selected tests: at most this number. The stored suite has just those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u32>,
    /// Only a sample of the selected tests by the run's seed: at most this number. The stored suite has just those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// The part of the selected trials that the run has. The stored suite has the tests of all parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    #[serde(flatten)]
    pub overrides: ScenarioOverrides,
}

impl Selected {
    /// Returns whether all tests and providers are selected.
    pub fn is_whole(&self) -> bool {
        *self == Self { overrides: self.overrides.clone(), ..Self::default() }
    }

    /// Returns whether later sessions keep the tests of the stored suite. The selection may mean others by then.
    pub fn has_fixed_tests(&self) -> bool {
        self.last_failed || self.first.is_some() || self.sample.is_some()
    }

    fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestProvider {
    /// The name in the scenario.
    pub name: String,
    /// Whether it judges outputs of the providers, under `[graders]` of the scenario.
    #[serde(default, rename = "grader", skip_serializing_if = "std::ops::Not::not")]
    pub is_grader: bool,
    /// The plugin as the scenario names it.
    pub plugin: String,
    /// SHA-256 of the plugin's file in the store.
    pub digest: Digest,
    /// Kind of the plugin.
    pub kind: PluginKind,
    /// Limits of one attempt.
    pub limits: runner_model::Limits,
    /// Access of one attempt to the world outside its sandbox.
    #[serde(default, skip_serializing_if = "runner_model::Grants::is_empty")]
    pub grants: runner_model::Grants,
    /// The folders of `grants.fs`, as found at the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<runner_model::provider::MountedFolder>,
    /// The plugin's description of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<runner_model::provider::Description>,
}

impl ManifestProvider {
    /// Returns the table of the scenario that it is in.
    pub fn table(&self) -> &'static str {
        if self.is_grader { "graders" } else { "providers" }
    }
}
