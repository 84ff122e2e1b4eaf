//! What a run's providers may touch, as the manifest keeps it.
//!
//! Each folder is kept by its resolved path, because `resume` may be called from anywhere.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;
use crate::model::{BoundSecret, Grants};

/// What of the world outside its sandbox a provider may touch: the keys of the scenario's `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ManifestGrants {
    /// Where HTTP requests may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<String>,
    /// The names of secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Secrets that the host puts into headers, and that the provider never has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_secrets: Vec<ManifestBoundSecret>,
    /// Folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fs: Vec<ManifestFolder>,
    /// Environment variables: templates, not filled in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A secret for one header of requests to one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestBoundSecret {
    /// Its name.
    pub name: String,
    /// The scheme, host and port of the requests.
    pub host: String,
    /// The header.
    pub header: String,
}

/// A folder that a provider finds in its file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestFolder {
    /// Its path, relative to the scenario.
    pub path: String,
    /// Where the provider finds it.
    pub mount: String,
    /// What the provider may do with it: `ro` or `rw`.
    pub mode: String,
    /// Where it was when the run began; that is where it is looked for when the run goes on.
    #[serde(serialize_with = "words::lossy_path")]
    pub folder: PathBuf,
}

impl ManifestGrants {
    /// Keeps `grants`, whose folders are in `folders`.
    pub(in crate::record) fn new(grants: &Grants, folders: &[PathBuf]) -> Self {
        let fs = grants.fs.iter().zip(folders);
        Self {
            net: grants.net.iter().map(ToString::to_string).collect(),
            secrets: grants.secrets.clone(),
            bound_secrets: grants.bound_secrets.iter().map(Into::into).collect(),
            fs: fs
                .map(|(grant, folder)| ManifestFolder {
                    path: grant.path.clone(),
                    mount: grant.mount.clone(),
                    mode: grant.mode.as_str().to_owned(),
                    folder: folder.clone(),
                })
                .collect(),
            env: grants.env.iter().cloned().collect(),
        }
    }

    /// Tells whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&BoundSecret> for ManifestBoundSecret {
    fn from(bound: &BoundSecret) -> Self {
        Self {
            name: bound.name.clone(),
            host: bound.host.to_string(),
            header: bound.header.clone(),
        }
    }
}
