//! [`MergeFindings`]: the state of shards, and the result of merging them.

use runner_model::{RunStatus, Shard, TrialId, units::plural};
use schemars::JsonSchema;
use serde::Serialize;

/// Trials and shards that a text names.
const MAX_NAMED: usize = 10;

/// The state of shards, and the result of merging them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergeFindings {
    /// The result of the command.
    pub outcome: MergeOutcome,
    /// Number of shards of the plan; 0 if it is unknown.
    pub count: u32,
    /// Trials of the whole plan; 0 if it is unknown.
    pub planned: u64,
    /// Trials without a result.
    pub left: u64,
    /// The given shards, by number.
    pub shards: Vec<ShardFindings>,
    /// Numbers of the shards that are not given.
    pub missing: Vec<u32>,
    /// The first ten trials without a result, in the order of the plan.
    pub holes: Vec<TrialId>,
}

impl MergeFindings {
    /// Formats the trials without a result, and the missing shards.
    pub fn holes_text(&self) -> String {
        let mut text = plural(self.left, "trial has no result", "trials have no result");
        text += &format!(": {}", some(self.holes.iter().map(TrialId::to_string), self.left));
        if !self.missing.is_empty() {
            let missing = self.missing.iter().map(|index| format!("{index}/{}", self.count));
            let count = self.missing.len() as u64;
            let noun = if count == 1 { "shard" } else { "shards" };
            text += &format!("; missing: {noun} {}", some(missing, count));
        }
        text
    }
}

/// The result of merging shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MergeOutcome {
    Merged,
    /// The same shards were merged before. Nothing was changed.
    AlreadyMerged,
    /// Nothing is wrong, and nothing was written.
    Mergeable,
    /// Something is wrong, and nothing was written.
    Refused,
}

/// The state of a shard.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShardFindings {
    /// The folder as given.
    pub path: String,
    /// Id of the shard. `None` if there is no such run.
    pub run: Option<String>,
    /// The part of the plan, such as `3/64`. `None` if the run is not a shard.
    pub shard: Option<Shard>,
    /// The true status. `None` if there is no such run.
    pub status: Option<RunStatus>,
    /// Trials of the shard.
    pub planned: u64,
    /// Trials without a result.
    pub left: u64,
    /// Reasons why it is not merged.
    pub problems: Vec<String>,
}

/// Lists the first names, of `count`.
fn some(names: impl Iterator<Item = String>, count: u64) -> String {
    let names: Vec<_> = names.take(MAX_NAMED).collect();
    let more = if count > names.len() as u64 { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
