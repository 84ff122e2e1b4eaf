//! What a run's providers may use and what they may touch, as the manifest keeps it.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;
use crate::model::{BoundSecret, Grants, Limits};

/// What one attempt may use: the keys of the scenario's `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestLimits {
    /// The longest that an attempt may take, in milliseconds, where the scenario or the command line caps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Bytes of the input, of the configuration, and of standard input.
    pub input: u64,
    /// Bytes of all memories together.
    pub memory: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Bytes of the plugin's file.
    pub file: u64,
    /// Bytes of a reply, or of a plain command's standard output.
    pub reply: u64,
    /// Bytes of log messages.
    pub log: u64,
    /// Log records.
    pub log_records: u64,
    /// Bytes kept of standard output and standard error, from the start and from the end each.
    pub stdio: u64,
    /// Bytes of all artifacts together.
    pub artifacts: u64,
    /// How many artifacts.
    pub artifact_files: u64,
    /// HTTP requests.
    #[serde(default)]
    pub http_requests: u64,
    /// Bytes of one HTTP response's body.
    #[serde(default)]
    pub http_response: u64,
    /// Bytes that may be written to files in all.
    #[serde(default)]
    pub scratch: u64,
}

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
    pub(super) fn new(grants: &Grants, folders: &[PathBuf]) -> Self {
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

impl From<&Limits> for ManifestLimits {
    fn from(limits: &Limits) -> Self {
        let milliseconds = |time: std::time::Duration| time.as_millis().try_into();
        Self {
            time_ms: limits
                .time
                .map(|time| milliseconds(time).unwrap_or(u64::MAX)),
            input: limits.input,
            memory: limits.memory,
            table_elements: limits.table_elements,
            file: limits.file,
            reply: limits.reply,
            log: limits.log,
            log_records: limits.log_records,
            stdio: limits.stdio,
            artifacts: limits.artifacts,
            artifact_files: limits.artifact_files,
            http_requests: limits.http_requests,
            http_response: limits.http_response,
            scratch: limits.scratch,
        }
    }
}
