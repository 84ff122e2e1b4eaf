//! [`MergeReport`]: what became of shards that were to be merged.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion};

/// The document of `runner merge --json`: what the shards are, and what became of them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergeReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What became of them.
    pub outcome: MergeOutcome,
    /// The directory of the merged run.
    pub into: PathBuf,
    /// How many shards the plan has.
    pub count: u32,
    /// How many trials it has.
    pub planned: u64,
    /// Those of them that have a final row.
    pub done: u64,
    /// The shards, in the order in which they were named.
    pub shards: Vec<MergedShard>,
    /// The numbers of the shards that are not among them.
    pub missing: Vec<u32>,
    /// Some of the trials that have no result.
    pub holes: Vec<String>,
    /// The merged run, if there is one.
    pub run: Option<RunSummary>,
}

/// What became of shards that were to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MergeOutcome {
    /// There is one run of them now.
    Merged,
    /// There was one before, of the same rows.
    AlreadyMerged,
    /// They can be merged; it was only asked.
    Mergeable,
    /// They can be merged if holes are allowed.
    HasHoles,
    /// They cannot be merged.
    Refused,
}

/// A shard that was to be merged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergedShard {
    /// Its directory.
    pub path: PathBuf,
    /// Which shard it is, from 1; absent if it is none.
    pub shard: Option<u32>,
    /// How many trials it has.
    pub planned: u64,
    /// Those of them that have a final row.
    pub done: u64,
    /// What keeps it from being merged, in words that follow its name.
    pub problems: Vec<String>,
}
