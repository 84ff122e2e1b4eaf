//! `--shard`: which part of a plan this process runs, as it is written or as the scheduler's environment tells.

use std::path::PathBuf;

use miette::miette;

use super::Context;
use crate::{cli::ShardArg, error::Error, model::Shard, session};

/// Tells which shard is meant; what was read of the environment is said.
pub(super) fn find(asked: Option<ShardArg>, context: &Context) -> Result<Option<Shard>, Error> {
    match asked {
        None => Ok(None),
        Some(ShardArg::Given(shard)) => Ok(Some(shard)),
        Some(ShardArg::Auto) => {
            let (shard, read) = session::scheduled_shard(context.host.variable)?;
            context.output.talk(&format!("shard {shard}, by {read}"));
            Ok(Some(shard))
        }
    }
}

/// The directory that is meant where `{shard}` in its path is the shard's name.
pub(super) fn place(into: Option<PathBuf>, shard: Option<Shard>) -> Result<Option<PathBuf>, Error> {
    const PLACE: &str = "{shard}";
    let Some(text) = into.as_ref().and_then(|into| into.to_str()) else {
        return Ok(into);
    };
    match shard {
        Some(shard) => Ok(Some(text.replace(PLACE, &shard.file_name()).into())),
        None if text.contains(PLACE) => Err(Error::usage(miette!(
            help = format!("add `--shard`, or name a directory without `{PLACE}`"),
            "`--into {text}` is for shards, and `--shard` is not given"
        ))),
        None => Ok(into),
    }
}
