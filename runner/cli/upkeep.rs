//! The arguments of the commands that keep results. Doc comments of this file are the program's help.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::Args;

use super::{ResultsArgs, status_parser};
use crate::model::{self, RunStatus};

/// The arguments of `runner verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The directories of the runs of all shards
    #[arg(required = true, value_name = "SHARD")]
    pub shards: Vec<PathBuf>,
    /// The directory of the merged run; its parent is the results root
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Merge them also if trials have no result; `runner resume` runs these
    #[arg(long)]
    pub allow_holes: bool,
    /// Say what would be merged, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only runs that began at least so many hours ago; a fraction is fine
    #[arg(long, value_name = "H", value_parser = parse_hours)]
    pub stale_hours: Option<Duration>,
    /// Write the changes, instead of only showing them
    #[arg(long)]
    pub no_dry_run: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner pin`.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`]
    pub run: Option<String>,
    /// The reason, which `runner show` prints
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

/// The arguments of `runner unpin`.
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`]
    pub run: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

/// The arguments of `runner prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Delete these runs: ids, unique parts of ids, paths, or `latest`
    #[arg(
        value_name = "RUN",
        conflicts_with_all = ["status", "older_than", "keep_last", "max_size"]
    )]
    pub runs: Vec<String>,
    /// Consider only runs with this status, and delete all of them if there is no other policy; may be given more than once
    #[arg(
        long,
        value_parser = status_parser(),
        value_name = "STATUS",
        value_delimiter = ',',
        help_heading = "Policies"
    )]
    pub status: Vec<RunStatus>,
    /// Delete runs that ended longer ago than this, such as `30d` or `12h`
    #[arg(long, value_name = "AGE", value_parser = parse_age, help_heading = "Policies")]
    pub older_than: Option<Duration>,
    /// Delete all but so many of the newest runs
    #[arg(long, value_name = "N", value_parser = super::parse_count, help_heading = "Policies")]
    pub keep_last: Option<usize>,
    /// Delete the oldest runs until the rest is no larger than this, such as `10GiB`
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Policies")]
    pub max_size: Option<u64>,
    /// Delete, instead of only showing what would be deleted
    #[arg(long)]
    pub no_dry_run: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner reindex`.
#[derive(Debug, Args)]
pub struct ReindexArgs {
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

fn parse_hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "expected a number of hours")?;
    Duration::try_from_secs_f64(hours * 3600.0)
        .map_err(|_| "expected a number of hours, 0 or more".into())
}

/// Reads a duration that may have days.
pub(super) fn parse_age(text: &str) -> Result<Duration, String> {
    model::parse_age(text).map_err(Into::into)
}

fn parse_size(text: &str) -> Result<u64, String> {
    text.parse()
        .map(|size: ByteSize| size.0)
        .map_err(|_| "expected a size such as `10GiB` or `500MB`".into())
}
