//! What a manifest has of its run's scenario and plan, and of whoever has pinned it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    counts,
    words::{self, DigestSchema, InstantSchema},
};
use crate::model::Digest;

/// Since when and why a run is pinned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pinned {
    /// Since when.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub at: Timestamp,
    /// Why, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The scenario of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestScenario {
    /// Its name.
    pub name: String,
    /// Its path, as given.
    pub path: String,
    /// The digest of its text.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub sha256: Digest,
}

/// What was planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// How many trials: tests, times providers, times repeats.
    #[serde(deserialize_with = "counts::trials")]
    pub planned_test_count: u64,
    /// The digest of the plan.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub plan_digest: Digest,
    /// The digest of the normalised list of tests, which is in the content store.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub suite: Digest,
}
