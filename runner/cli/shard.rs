//! `--shard`.

use std::str::FromStr;

use crate::model::Shard;

/// What `--shard` says.
#[derive(Clone, Copy, Debug)]
pub enum ShardArg {
    /// The one that the environment tells.
    Auto,
    /// This one.
    Given(Shard),
}

impl FromStr for ShardArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Given),
        }
    }
}
