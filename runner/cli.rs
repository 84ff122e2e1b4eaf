//! The command line. Doc comments of this file are the program's help.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{Span, SpanRelativeTo};

use crate::{
    model::RunStatus,
    scenario::{self, FailFast},
};

/// Runs lists of tests against sandboxed WASM providers.
#[derive(Debug, Parser)]
#[command(
    name = "runner",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario
    Exec(ExecArgs),
    /// Check scenarios without running anything
    Validate(ValidateArgs),
    /// List runs, newest first
    List(ListArgs),
    /// Show a run and its rows
    Show(ShowArgs),
    /// Check that nothing of a run is damaged
    Verify(VerifyArgs),
    /// Give runs whose process has died the status that is true of them
    Cleanup(CleanupArgs),
    /// Keep a run: `prune` leaves it alone
    Pin(PinArgs),
    /// Let `prune` have a pinned run again
    Unpin(UnpinArgs),
    /// Delete runs, and what no run needs any more
    Prune(PruneArgs),
    /// Make `runner.db` anew from the run directories
    Reindex(ReindexArgs),
    /// Print a JSON Schema of a format that the runner reads or writes
    Schema(SchemaArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page per command into a folder
    Man(ManArgs),
    /// Compile a plugin on behalf of another runner process
    #[command(name = "__compile", hide = true)]
    Compile,
}

/// Run a scenario: every selected test on every provider, each attempt in a fresh sandbox.
///
/// Results go into a new directory under the results root, one row for each finished attempt.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The scenario file
    pub scenario: PathBuf,

    /// Run only tests whose id matches; may be given more than once
    #[arg(long = "test", value_name = "GLOB", help_heading = "Selection")]
    pub tests: Vec<String>,
    /// Run only on providers whose name matches
    #[arg(long = "provider", value_name = "GLOB", help_heading = "Selection")]
    pub providers: Vec<String>,
    /// Run only tests that have one of these tags
    #[arg(long = "tag", value_name = "TAG", help_heading = "Selection")]
    pub tags: Vec<String>,
    /// Leave out tests whose id matches
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub exclude: Vec<String>,
    /// Run each test this often on each provider, whatever the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Selection")]
    pub repeat: Option<u32>,

    /// How many attempts run at the same time [default: the scenario's, else the number of cores]
    #[arg(
        short = 'j',
        long = "jobs",
        value_name = "N",
        help_heading = "Execution"
    )]
    pub jobs: Option<NonZeroUsize>,
    /// Stop the whole run after this many minutes; a fraction is fine
    #[arg(long, value_name = "M", value_parser = parse_minutes, help_heading = "Execution")]
    pub timeout_minutes: Option<Duration>,
    /// Cap a limit of every provider, such as `memory=64MiB` or `time=2s`; may be given more than once
    #[arg(long = "limit", value_name = "KEY=VALUE", help_heading = "Execution")]
    pub limits: Vec<String>,
    /// Begin no new trials once this many ended badly: a count, or a fraction of the plan such as 0.1
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", require_equals = true, value_parser = parse_fail_fast, help_heading = "Execution")]
    pub fail_fast: Option<FailFast>,
    /// On a stop, let guests go on for this long before they are interrupted, such as `2s`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Execution")]
    pub grace: Option<Duration>,
    /// Build providers whose `plugin` is a folder with source; this runs their build tools outside the sandbox
    #[arg(long, help_heading = "Execution")]
    pub build: bool,
    /// Print the trials that would run, and run nothing
    #[arg(long, help_heading = "Execution")]
    pub dry_run: bool,

    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print events as JSON Lines on standard output
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How much is said
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Where the results are.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// The results root
    #[arg(
        long = "results",
        value_name = "DIR",
        env = "RUNNER_RESULTS",
        default_value = "results",
        help_heading = "Output"
    )]
    pub root: PathBuf,
}

/// How much is said.
#[derive(Debug, Args)]
pub struct TalkArgs {
    /// Say only what went wrong
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Say more: every trial as it ends
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// Check scenarios, their test lists and the plugins they name; run nothing.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The scenario files
    #[arg(required = true)]
    pub scenarios: Vec<PathBuf>,
}

/// List runs, newest first.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only runs with this status
    #[arg(long, value_parser = parse_status, value_name = "STATUS")]
    pub status: Option<RunStatus>,
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Show a run: its status, its providers, its rows.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The run: its id, a unique part of one, a path, or `latest`
    #[arg(default_value = "latest")]
    pub run: String,
    /// Show only trials that failed, ended in an error or timed out
    #[arg(long)]
    pub failed: bool,
    /// Show only trials whose id (`test@provider#repeat`) or test id matches, in full
    #[arg(long, value_name = "GLOB")]
    pub trial: Option<String>,
    /// Show its sessions and every change of its status
    #[arg(long)]
    pub history: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Check that nothing of a run is damaged: its rows, the files they name, its scenario, its plugins and tests.
///
/// Exits with 1 if something is. Nothing is repaired.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The run: its id, a unique part of one, a path, or `latest`
    #[arg(default_value = "latest")]
    pub run: String,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Give runs whose process has died the status that is true of them: `completed` if nothing was left to do, else
/// `incomplete`.
///
/// A run has died if its manifest says `running` and nobody holds its lock. Nothing is deleted.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only runs that began at least so many hours ago; a fraction is fine
    #[arg(long, value_name = "H", value_parser = parse_hours)]
    pub stale_hours: Option<Duration>,
    /// Really write, instead of saying what would be written
    #[arg(long)]
    pub no_dry_run: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Keep a run: `prune` leaves it alone.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The run: its id, a unique part of one, a path, or `latest`
    pub run: String,
    /// Why, for whoever wonders later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

/// Let `prune` have a pinned run again.
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// The run: its id, a unique part of one, a path, or `latest`
    pub run: String,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

/// Delete runs, and what no run needs any more.
///
/// A run goes if any of the policies names it. Running, pinned and locked runs stay, whatever the policies say.
/// Without a policy only leftovers go: what interrupted births left, and entries of the content store that no run needs.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Delete runs that ended longer ago than this, such as `30d` or `12h`
    #[arg(long, value_name = "AGE", value_parser = parse_age, help_heading = "Policies")]
    pub older_than: Option<Duration>,
    /// Delete all but so many of the newest runs
    #[arg(long, value_name = "N", help_heading = "Policies")]
    pub keep_last: Option<usize>,
    /// Delete the oldest runs until the rest is no larger than this, such as `10GiB`
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Policies")]
    pub max_size: Option<u64>,
    /// Really delete, instead of saying what would be deleted
    #[arg(long)]
    pub no_dry_run: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Make `runner.db` anew from the run directories, which are the truth.
#[derive(Debug, Args)]
pub struct ReindexArgs {
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
}

/// Print a JSON Schema.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which format
    pub name: SchemaName,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// The scenario file
    Scenario,
    /// A line of `index.jsonl`
    Row,
    /// `benchmark.json`
    Benchmark,
    /// A line of what `exec --json` prints
    Events,
}

/// Print a shell completion script.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Print the manual page.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write `runner.1`, `runner-exec.1` and the others into this folder instead
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

fn parse_status(word: &str) -> Result<RunStatus, String> {
    RunStatus::parse(word).ok_or_else(|| {
        let words: Vec<_> = RunStatus::ALL
            .iter()
            .map(|status| status.as_str())
            .collect();
        format!("expected one of {}", words.join(", "))
    })
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes")?;
    match Duration::try_from_secs_f64(minutes * 60.0) {
        Ok(duration) if !duration.is_zero() && duration <= scenario::MAX_DURATION => Ok(duration),
        _ => Err("expected a number of minutes, above 0 and at most a year".into()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    scenario::parse_duration(text).map_err(Into::into)
}

fn parse_hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| "expected a number of hours")?;
    Duration::try_from_secs_f64(hours * 3600.0)
        .map_err(|_| "expected a number of hours, 0 or more".into())
}

/// Reads a duration that may have days, of 24 hours each.
fn parse_age(text: &str) -> Result<Duration, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "expected an age such as `30d` or `12h`")?;
    span.to_duration(SpanRelativeTo::days_are_24_hours())
        .ok()
        .and_then(|age| age.try_into().ok())
        .ok_or_else(|| "expected an age in weeks, days, hours or less".into())
}

fn parse_size(text: &str) -> Result<u64, String> {
    text.parse()
        .map(|size: ByteSize| size.0)
        .map_err(|_| "expected a size such as `10GiB` or `500MB`".into())
}

fn parse_fail_fast(text: &str) -> Result<FailFast, String> {
    let wanted = || "expected a count such as `3`, or a fraction such as `0.25`".into();
    FailFast::parse(text).ok_or_else(wanted)
}
