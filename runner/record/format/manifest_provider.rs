//! [`ManifestProvider`]: a plugin as a run uses it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    limits::ManifestLimits,
    sandbox::ManifestGrants,
    words::{self, DigestSchema},
};
use crate::model::Digest;

/// A provider or a grader of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestProvider {
    /// Its name.
    pub name: String,
    /// The digest of its plugin, which is in the content store.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub plugin_sha256: Digest,
    /// What kind of plugin it is: `component` or `command`.
    pub kind: String,
    /// The version of the contract that it was built for; commands have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What serves more than one attempt: `instance`, or absent for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<String>,
    /// What one attempt may use.
    pub limits: ManifestLimits,
    /// What of the world outside its sandbox it may touch; absent where that is nothing.
    #[serde(default, skip_serializing_if = "ManifestGrants::is_empty")]
    pub grants: ManifestGrants,
}
