//! The arguments of the commands that show runs. Doc comments of this file are the program's help.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use globset::{Glob, GlobMatcher};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::{FilterArgs, ResultsArgs, SecretsArgs, status_parser, upkeep};
use crate::model::{RunStatus, Verdict};

/// The arguments of `runner wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print events as JSON Lines on standard output
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// How a command shows what is longer than the screen.
#[derive(Clone, Copy, Debug, Args)]
pub struct PagerArgs {
    /// On a terminal, print long output all at once and not through `$PAGER`
    #[arg(long = "no-pager", help_heading = "Output")]
    pub is_off: bool,
}

/// The arguments of `runner logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Print what was said in the attempts of these trials instead: their logs, standard output and standard error
    #[arg(value_name = "TRIAL")]
    pub trial: Option<String>,
    /// The same, where no run is named
    #[arg(long = "trial", value_name = "GLOB", conflicts_with = "trial")]
    pub trials: Option<String>,
    /// Print the runner's own log of the run: how it began, stopped, was resumed and ended
    #[arg(long, conflicts_with_all = ["trial", "trials", "json"])]
    pub runner: bool,
    /// Follow the run until it has ended: print rows, what is said in the attempts of trials, or lines of the runner's log, as
    /// they come
    #[arg(short, long)]
    pub follow: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print events as JSON Lines on standard output
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

/// The arguments of `runner report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Which form
    #[command(flatten)]
    pub form: ReportFormArgs,
    /// Which trials are in it
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Write the report to this file, whose name tells the form where no flag does: `.html`, `.xml`, `.md`, `.csv`,
    /// `.jsonl`
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub struct ReportFormArgs {
    /// One page for a browser, with everything in it
    #[arg(long)]
    pub html: bool,
    /// JUnit's XML, for CI systems
    #[arg(long)]
    pub junit: bool,
    /// Markdown, for a comment of a pull request [default]
    #[arg(long)]
    pub markdown: bool,
    /// CSV, one line a trial
    #[arg(long)]
    pub csv: bool,
    /// JSON Lines: the run, then a line a trial
    #[arg(long)]
    pub jsonl: bool,
}

/// The arguments of `runner rescore`.
#[derive(Debug, Args)]
pub struct RescoreArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Judge by the expectations of this scenario [default: the run's own, as its file is now]
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Which trials are judged
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print for each trial that changed which checks did
    #[arg(long)]
    pub explain: bool,
    /// Ask no graders: trials that graders judge stay as they are
    #[arg(long)]
    pub no_graders: bool,
    /// Secrets of graders
    #[command(flatten)]
    pub secrets: SecretsArgs,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The arguments of `runner compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The run that is compared with: its id, a unique part of one, a path, or `latest`
    #[arg(required_unless_present = "provider")]
    pub base: Option<String>,
    /// The run that is compared [default: `RUNNER_RUN`, else `latest`; with `--provider`, the first one]
    pub new: Option<String>,
    /// Compare the first of these providers with the second, of one run or of two; without it each is compared with the one
    /// of the same name
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub provider: Vec<String>,
    /// Exit with 1 if a test has passed and now does not, or if passes, scores or durations are significantly worse
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub fail_on: Vec<FailOnArg>,
    /// Which tests: those of which the filter means a trial of either run
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Which form
    #[command(flatten)]
    pub form: ComparisonFormArgs,
    /// Write it to this file, whose name tells the form where no flag does: `.json`, `.md`, `.html`
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

/// What makes a comparison fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOnArg {
    /// A test has passed and now does not
    Regression,
    /// Passes, scores or durations are significantly worse
    Significant,
}

/// The form of a comparison.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub struct ComparisonFormArgs {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// Markdown, for a comment of a pull request
    #[arg(long)]
    pub markdown: bool,
    /// One page for a browser, with everything in it
    #[arg(long)]
    pub html: bool,
}

/// The arguments of `runner history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only runs of scenarios whose name matches this glob [default: any with `--test`, else that of the newest run]
    #[arg(value_parser = parse_glob)]
    pub scenario: Option<GlobMatcher>,
    /// Only tests whose id matches
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    pub test: Option<GlobMatcher>,
    /// Which tests
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only so many of the newest runs
    #[arg(long, value_name = "N", default_value = "20")]
    pub last: NonZeroUsize,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

/// The arguments of `runner list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only runs with this status, or one of several; may be given more than once, or with commas
    #[arg(long, value_parser = status_parser(), value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<RunStatus>,
    /// Show only runs with this verdict
    #[arg(long, value_parser = verdict_parser(), value_name = "VERDICT")]
    pub verdict: Option<Verdict>,
    /// Show only runs of this group: its id, or a part of it
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Show only runs of scenarios whose name matches
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    pub scenario: Option<GlobMatcher>,
    /// Show only runs that began since then: an age such as `2h` or `7d`, or a day or time such as `2026-11-20` or
    /// `2026-11-20T09:30`, as clocks here show it
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "N", value_parser = super::parse_count)]
    pub limit: Option<usize>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

/// Since when runs are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// Since so long ago.
    Ago(Duration),
    /// Since that instant.
    At(Timestamp),
}

/// The arguments of `runner show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else `latest`]
    pub run: Option<String>,
    /// Show the page of this trial: its id, or a part of it that no other trial's has
    #[arg(value_name = "TRIAL", conflicts_with_all = ["failed", "trials", "text", "history"])]
    pub trial: Option<String>,
    /// Show this attempt at the trial [default: the one that settles it, else the latest]
    #[arg(
        long,
        value_name = "N",
        requires = "trial",
        help_heading = "A trial's page"
    )]
    pub attempt: Option<u32>,
    /// Cut nothing, however long it is
    #[arg(long, requires = "trial", help_heading = "A trial's page")]
    pub full: bool,
    /// Print one part alone: an artifact by its name, `input`, `output`, `log`, `stdout` or `stderr`
    #[arg(long, value_name = "NAME", requires = "trial", conflicts_with_all = ["save", "json"], help_heading = "A trial's page")]
    pub open: Option<String>,
    /// Write all of these parts into a folder
    #[arg(
        long,
        value_name = "DIR",
        requires = "trial",
        conflicts_with = "json",
        help_heading = "A trial's page"
    )]
    pub save: Option<PathBuf>,
    /// Show only trials that failed, ended in an error or timed out
    #[arg(long)]
    pub failed: bool,
    /// Show only trials whose id (`test@provider#repeat`) or test id matches, in full
    #[arg(long = "trial", value_name = "GLOB")]
    pub trials: Option<String>,
    /// Which trials are shown
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Show every test on every provider: a line for each test, with its repeats in one cell
    #[arg(long, conflicts_with_all = ["trial", "history", "json"])]
    pub matrix: bool,
    /// Show its sessions and every change of its status
    #[arg(long)]
    pub history: bool,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How long output is shown
    #[command(flatten)]
    pub pager: PagerArgs,
}

fn verdict_parser() -> impl TypedValueParser<Value = Verdict> {
    let verdicts = [Verdict::Passed, Verdict::Failed, Verdict::None];
    PossibleValuesParser::new(verdicts.map(Verdict::as_str))
        .map(|word| Verdict::parse(&word).expect("the word is one of those above"))
}

fn parse_glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = Glob::new(text).map_err(|error| error.to_string())?;
    Ok(glob.compile_matcher())
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(age) = upkeep::parse_age(text) {
        return Ok(Since::Ago(age));
    }
    let instant = text.parse::<Timestamp>().or_else(|_| {
        let local = text.parse::<DateTime>()?;
        local.to_zoned(TimeZone::system()).map(|at| at.timestamp())
    });
    instant
        .map(Since::At)
        .map_err(|_| "expected an age such as `2h`, or a day such as `2026-11-20`".into())
}
