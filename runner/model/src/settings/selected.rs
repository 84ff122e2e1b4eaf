//! [`Selected`]: the options of `exec` that decide on the tests and providers of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ScenarioOverrides, Shard};

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
    /// The path of the run whose responses guests receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    #[serde(flatten)]
    pub overrides: ScenarioOverrides,
}

impl Selected {
    /// Returns whether all tests and providers are selected, and the run is not a replay.
    pub fn is_whole(&self) -> bool {
        *self == Self { overrides: self.overrides.clone(), ..Self::default() }
    }

    /// Returns whether only some tests or providers are selected.
    pub fn is_part(&self) -> bool {
        !Self { replay: None, ..self.clone() }.is_whole()
    }

    /// Returns the id of the run whose responses guests receive. `None` if the run is not a replay.
    pub fn replayed(&self) -> Option<&str> {
        self.replay.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path))
    }

    /// Returns whether later sessions keep the tests of the stored suite. The selection may mean others by then.
    pub fn has_fixed_tests(&self) -> bool {
        self.last_failed || self.first.is_some() || self.sample.is_some()
    }

    /// Returns whether everything is selected, and no value is replaced.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}
