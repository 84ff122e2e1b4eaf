//! What the manifest of a shard says of the whole, and that of a merged run of its shards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{self, DigestSchema};
use crate::model::{Digest, Shard};

/// How trials are divided among shards, as [`Shard::of`] does it.
const FUNCTION: &str = "runner-shard-1";

/// The part of a larger plan that a run has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestShard {
    /// Which shard, from 1.
    pub index: u32,
    /// How many there are.
    pub count: u32,
    /// How trials are divided among them: `runner-shard-1`.
    pub function: String,
    /// The digest of the whole plan.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub plan_digest: Digest,
    /// How many trials the whole plan has.
    pub planned_test_count: u64,
    /// The digest of the whole normalised list of tests, which is in the content store.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub suite: Digest,
}

impl ManifestShard {
    /// A shard of the plan with this digest, which has so many trials, and the list of tests with that digest.
    pub fn new(shard: Shard, plan_digest: Digest, trials: u64, suite: Digest) -> Self {
        Self {
            index: shard.index(),
            count: shard.count(),
            function: FUNCTION.to_owned(),
            plan_digest,
            planned_test_count: trials,
            suite,
        }
    }

    /// Which shard it is; `None` if there is no such shard, or another version divides trials in another way.
    pub fn shard(&self) -> Option<Shard> {
        Shard::new(self.index, self.count).filter(|_| self.function == FUNCTION)
    }

    /// Tells whether another shard is one of the same whole.
    pub fn is_beside(&self, other: &Self) -> bool {
        let whole = |shard: &Self| Self {
            index: 0,
            ..shard.clone()
        };
        whole(self) == whole(other)
    }
}

/// A shard that a run was merged of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestSource {
    /// Its id.
    pub run_id: String,
    /// Which shard, from 1.
    pub shard: u32,
    /// How many lines of its `index.jsonl` were taken.
    pub rows: u64,
    /// SHA-256 of these lines.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub index_sha256: Digest,
}

/// Where a session of a merged run comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionOrigin {
    /// The id of the shard's run.
    pub run_id: String,
    /// Which session of it.
    pub session: u32,
    /// What `from_seq` was there: the number of a row there is less by as much as this is less than `from_seq`.
    pub from_seq: u64,
}
