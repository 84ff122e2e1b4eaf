//! [`Metadata`] and [`ManifestProvider`]: the plan of a run in its manifest.

use std::collections::BTreeMap;

pub use runner_model::Selected;
use runner_model::{Digest, provider::PluginKind};
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
    /// The rule of a test ends its repeats, so that some planned trials may not be needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_adaptive_repeats: bool,
    /// Number of the recipe for random numbers of deterministic attempts. Of recipe 1, which earlier versions had, graders have those
    /// of their providers.
    #[serde(default = "first_recipe", skip_serializing_if = "is_first_recipe")]
    pub random_recipe: u32,
}

fn first_recipe() -> u32 {
    1
}

fn is_first_recipe(recipe: &u32) -> bool {
    *recipe == first_recipe()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestProvider {
    /// The name in the scenario.
    pub name: String,
    /// Whether it judges outputs of the providers, under `[graders]` of the scenario.
    #[serde(default, rename = "grader", skip_serializing_if = "std::ops::Not::not")]
    pub is_grader: bool,
    /// Whether providers or graders call it, under `[tools]` of the scenario.
    #[serde(default, rename = "tool", skip_serializing_if = "std::ops::Not::not")]
    pub is_tool: bool,
    /// The plugin as the scenario names it.
    pub plugin: String,
    /// SHA-256 of the plugin's file in the store.
    pub digest: Digest,
    /// Whether the plugin's file is a development form: a loader with the source as data.
    #[serde(default, rename = "development", skip_serializing_if = "std::ops::Not::not")]
    pub is_development: bool,
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
        match (self.is_grader, self.is_tool) {
            (true, _) => "graders",
            (false, true) => "tools",
            (false, false) => "providers",
        }
    }

    /// Returns `grader`, `tool` or `provider`.
    pub fn role(&self) -> &'static str {
        self.table().trim_end_matches('s')
    }

    /// Returns whether tests run on the provider: graders and tools have no tests.
    pub fn is_tested(&self) -> bool {
        !self.is_grader && !self.is_tool
    }
}
