//! The command line. Doc comments of this file are the program's help.

mod control;
mod fleet;
mod plugin;
mod queue;
mod run_options;
mod runs;
mod schema;
mod serve;
mod shard;
mod suggestions;
mod upkeep;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser},
};

use crate::{
    error::{Error, ExitStatus},
    filter::Filter,
    model::RunStatus,
    record::Rerun,
    scenario,
};

pub use control::{CancelArgs, NotifyArgs, PauseArgs, StopArgs, UnpauseArgs};
pub use fleet::{
    EngineAccessArgs, EngineArgs, EngineCleanArgs, EngineCommand, SpreadArgs, WorkerArgs,
    WorkerCommand, parse_ceiling,
};
pub use plugin::{
    BuildArgs, DoctorArgs, InspectArgs, LanguageArg, NewArgs, OutputArg, PluginCommand,
    PluginKindArg, ProtocolArg, RehearseArgs, parse_grants,
};
pub use queue::{MoveArgs, QueueArgs, QueueCommand, RemoveArgs, TurnArgs, WorkArgs};
pub use run_options::RunOptionArgs;
pub use runs::{
    CompareArgs, ComparisonFormArgs, FailOnArg, HistoryArgs, ListArgs, LogsArgs, PagerArgs,
    ReportArgs, ReportFormArgs, RescoreArgs, ShowArgs, Since, WaitArgs,
};
pub use schema::{CompletionsArgs, ManArgs, SchemaArgs, SchemaName};
pub use serve::ServeArgs;
pub use shard::ShardArg;
pub use upkeep::{CleanupArgs, MergeArgs, PinArgs, PruneArgs, ReindexArgs, UnpinArgs, VerifyArgs};

/// The results root where nothing names another.
const DEFAULT_ROOT: &str = "results";

/// Runs lists of tests against sandboxed WASM providers
///
/// A scenario, a TOML file, names providers (WASM programs) and the tests to run on them. Every attempt of a test gets a
/// sandbox of its own with a deadline and a memory limit, and what came of it is a row on disk before it is shown.
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
    /// Write a first scenario, to go on from
    ///
    /// It uses plugins that the runner carries, so that it runs as it is. Beside it are written the schema by which editors
    /// complete and check scenarios, and a `.gitignore` for the results.
    Init(InitArgs),
    /// Run a scenario
    ///
    /// Every selected test runs on each of its providers, each attempt in a fresh sandbox. Results go into a new directory
    /// under the results root, one row for each finished attempt.
    #[command(after_long_help = exec_notes())]
    Exec(ExecArgs),
    /// Resume a run that was interrupted
    ///
    /// The trials that have no final row run, in the same directory. The scenario, the tests and the plugins are those that
    /// were stored when the run began.
    Resume(ResumeArgs),
    /// Ask a run to stop, and wait until it has
    ///
    /// No new trials are begun and those in flight are interrupted; `resume` goes on with what is left.
    Stop(StopArgs),
    /// Cancel a run for good
    ///
    /// It counts as cancelled, and only `resume --force` goes on with it.
    Cancel(CancelArgs),
    /// Pause a run, until `unpause` or a stop
    ///
    /// No attempt begins, guests wait where they are, and no time of the run passes: no deadline, rate or backoff goes on.
    Pause(PauseArgs),
    /// Let a run go on that is paused
    Unpause(UnpauseArgs),
    /// Wait until a run has ended, and exit with its code
    Wait(WaitArgs),
    /// Print the rows of a run, as they come with `-f`
    Logs(LogsArgs),
    /// Check scenarios without running anything
    ///
    /// Reads each scenario, its test lists and the other files that it names, and reports everything that is wrong with
    /// them at once. Plugins have to be there, but are not opened.
    Validate(ValidateArgs),
    /// List runs, newest first
    List(ListArgs),
    /// Show a run, its providers and its rows
    ///
    /// Without `--failed` and `--trial` no rows are printed, unless `--json` asks for everything.
    Show(ShowArgs),
    /// Write a report of a run, for people or for other programs
    ///
    /// It can be made at any time, also of a run that is still running or was stopped, and the same rows always give the same
    /// bytes. Without `--output` it goes to standard output.
    Report(ReportArgs),
    /// Judge the stored outputs of a run again, by changed expectations
    ///
    /// No provider runs. The expectations are those of the scenario as it is now; a trial that is judged by them already is
    /// left as it is. The newest judgement of a trial counts, and `show --history` tells of all. Trials without an output
    /// that could be judged keep what they came to, and are listed.
    Rescore(RescoreArgs),
    /// Compare two runs, or two providers of one
    ///
    /// Trials are paired by test and repeat. Says which tests regressed and which are fixed, how pass rates, scores,
    /// durations and metrics have changed and how far that is no chance, what else is different, and first of all what is
    /// not fair about it.
    Compare(CompareArgs),
    /// Tell what tests came to over the last runs
    ///
    /// Shows the pass rate of each run, what each test came to in each, how often it was flaky, and which tests are slowest
    /// or got slower.
    History(HistoryArgs),
    /// Make one run of the shards of a plan
    ///
    /// Proves that every trial of the plan is in one of them exactly once, and says what is missing, doubled, damaged or
    /// of another plan. The merged run is a run like any other: its rows, logs and artifacts are those of the shards, which
    /// stay as they are. Exits with the code of the merged run, or with 2 if there is none.
    Merge(MergeArgs),
    /// Check that nothing of a run is damaged
    ///
    /// Looks at its rows, the files that they name, its scenario, its plugins and tests. Exits with 1 if something is not
    /// as it was written; repairs nothing.
    Verify(VerifyArgs),
    /// Correct the status of runs whose process has died
    ///
    /// A run has died if its manifest says `running` and nobody holds its lock. It becomes `completed` if nothing was left
    /// to do, else `incomplete`. Nothing is deleted.
    Cleanup(CleanupArgs),
    /// Pin a run, so that `prune` never deletes it
    Pin(PinArgs),
    /// Remove the pin of a run, so that `prune` may delete it
    Unpin(UnpinArgs),
    /// Delete runs, and what no run needs any more
    ///
    /// A run is deleted if any of the policies names it; running, pinned and locked runs are kept whatever the policies say.
    /// Without a policy only leftovers are deleted: directories of runs that were never completely created, and files in
    /// the content store that no run needs.
    Prune(PruneArgs),
    /// List what waits for other runs to end, and start or change it
    ///
    /// `runner exec --queue` puts a run into the queue of its results root, where it survives everything. `runner queue
    /// work` or a server starts the next one when fewer runs are active than `max_active_runs` in the root's
    /// `runner.toml` says, which is 1 by default.
    Queue(QueueArgs),
    /// Tell of a run's end whoever could not be told yet
    ///
    /// Who is told stands as `[notify]` in the run's scenario and in the `runner.toml` of its results root.
    Notify(NotifyArgs),
    /// Rebuild `runner.db` from the run directories
    Reindex(ReindexArgs),
    /// Write, build and look into plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Serve an HTTP API and a dashboard of a results root
    ///
    /// Everything that it shows is read from the results root, and the runs that it starts are processes of their own, so that
    /// its end ends nothing. The link that it prints logs a browser in, once.
    Serve(ServeArgs),
    /// Make attempts for the runs of other machines
    ///
    /// Hears at an engine, a NATS server, which runs of `runner exec --engine` would have workers, and makes attempts of one at a
    /// time. Plugins and tests come over the engine; secrets do not: they are read here, by their names. A run gets at
    /// nothing of this machine that `--ceiling` does not allow. Ctrl-C lets it make what it has begun, twice ends it.
    Worker(WorkerArgs),
    /// Look after an engine, over which workers are found
    #[command(subcommand)]
    Engine(EngineCommand),
    /// Print the JSON Schema of a file format, or of what `--json` prints
    Schema(SchemaArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
}

impl Command {
    /// Tells whether a person reads what it prints, which may be long.
    pub fn is_paged(&self) -> bool {
        match self {
            Self::Show(args) => !args.json && !args.pager.is_off,
            Self::List(args) => !args.json && !args.pager.is_off,
            Self::Logs(args) => !args.json && !args.follow && !args.pager.is_off,
            Self::History(args) => !args.json && !args.pager.is_off,
            Self::Compare(args) => args.output.is_none() && !args.pager.is_off,
            Self::Report(args) => args.output.is_none() && !args.pager.is_off,
            _ => false,
        }
    }
}

/// The arguments of `runner init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder, which is made where it is missing
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
}

/// The arguments of `runner exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The scenario file; several of them, or a folder with some, run one after another as a group
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,

    /// Run only tests whose id matches; may be given more than once
    #[arg(long = "test", value_name = "GLOB", help_heading = "Selection")]
    pub tests: Vec<String>,
    /// Run only on providers whose name matches; may be given more than once
    #[arg(long = "provider", value_name = "GLOB", help_heading = "Selection")]
    pub providers: Vec<String>,
    /// Run only tests that have this tag, or one of several
    #[arg(long = "tag", value_name = "TAG", help_heading = "Selection")]
    pub tags: Vec<String>,
    /// Leave out tests whose id matches; may be given more than once
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub exclude: Vec<String>,
    /// Which trials are meant beside that
    #[command(flatten, next_help_heading = "Selection")]
    pub filter: FilterArgs,
    /// Run only what failed, ended in an error or timed out in this run
    #[arg(long, value_name = "RUN", help_heading = "Selection")]
    pub failed_in: Option<String>,
    /// Run each test this often on each provider, whatever the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(i64::from(*scenario::REPEATS.start())..=i64::from(*scenario::REPEATS.end())), help_heading = "Selection")]
    pub repeat: Option<u32>,
    /// Run only the trials of this part: `3/64` is the third of 64 parts, `auto` takes the numbers that the scheduler of the
    /// cluster or the CI system has put into the environment
    #[arg(long, value_name = "I/N", help_heading = "Selection")]
    pub shard: Option<ShardArg>,

    /// How trials are run
    #[command(flatten)]
    pub options: RunOptionArgs<false>,
    /// Build providers whose `plugin` is a folder with source; this runs their build tools outside the sandbox
    #[arg(long, help_heading = "Execution")]
    pub build: bool,
    /// Whether workers on other machines make the attempts
    #[command(flatten, next_help_heading = "Other machines")]
    pub spread: SpreadArgs,
    /// Where secrets come from beside the environment
    #[command(flatten, next_help_heading = "Execution")]
    pub secrets: SecretsArgs,
    /// Print the trials that would run and what providers are granted, and run nothing
    #[arg(long, help_heading = "Execution")]
    pub dry_run: bool,
    /// Run in the background: print the run's id once there is one, and return
    #[arg(long, conflicts_with = "dry_run", help_heading = "Execution")]
    pub detach: bool,
    /// Run only while no other run does in this results root, and let no other begin
    #[arg(long, help_heading = "Execution")]
    pub exclusive: bool,
    /// With `--exclusive`, wait until the others have ended
    #[arg(long, requires = "exclusive", help_heading = "Execution")]
    pub wait: bool,
    /// Put the run into the queue of the results root, for `runner queue work` or a server to start
    #[arg(
        long,
        conflicts_with_all = ["dry_run", "detach", "exclusive", "into", "engine"],
        help_heading = "Execution"
    )]
    pub queue: bool,
    /// When its turn in the queue comes
    #[command(flatten, next_help_heading = "Execution")]
    pub turn: TurnArgs,

    /// Exit with 0 also where trials did not pass: the exit code says whether the run came to its end, as schedulers ask
    #[arg(long, help_heading = "Execution")]
    pub scheduler_exit: bool,

    /// Run in this directory, or go on with the run that is there already; its parent is the results root. With `--shard`,
    /// `{shard}` in it is the shard, such as `03-of-64`
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub into: Option<PathBuf>,
    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print events as JSON Lines on standard output; with `--dry-run` the plan instead
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How much is said
    #[command(flatten)]
    pub verbosity: VerbosityArgs,
}

/// Which trials are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only trials that this filter means, such as `test(units/*) & !tag(slow)`
    #[arg(short = 'E', long = "filter", value_name = "FILTER")]
    pub text: Option<String>,
}

/// What `--rerun` says.
#[derive(Clone, Debug)]
pub enum RerunArg {
    /// By how trials ended, or a glob over them.
    Rule(Rerun),
    /// The text of a filter.
    Filter(String),
}

/// Where secrets come from beside the environment.
#[derive(Clone, Debug, Default, Args)]
pub struct SecretsArgs {
    /// Take secrets from this file of `NAME=VALUE` lines before the environment; may be given more than once
    #[arg(long = "secret-file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Where the results are.
#[derive(Clone, Debug, Args)]
pub struct ResultsArgs {
    /// The results root
    #[arg(
        long = "results",
        value_name = "DIR",
        env = "RUNNER_RESULTS",
        default_value = DEFAULT_ROOT,
        value_parser = OsStringValueParser::new().map(results_root),
        help_heading = "Output"
    )]
    pub root: PathBuf,
}

/// How much is said.
#[derive(Clone, Debug, Args)]
pub struct VerbosityArgs {
    /// Print only what went wrong
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Print more: every trial as it ends
    #[arg(short, long, help_heading = "Output")]
    pub verbose: bool,
}

/// The arguments of `runner resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run: its id, a unique part of one, a path, or `latest` [default: `RUNNER_RUN`, else the newest run
    /// with `--rerun` or `--accept-changes`, and the only incomplete one without]
    #[arg(long, value_name = "RUN")]
    pub from: Option<String>,
    /// Run trials again that ended this way: `failed` (with errors and timeouts), `errors` (with timeouts), `all`, a glob over trials, or a filter such as `outcome(error) & provider(a*)`
    #[arg(long, value_name = "WHICH", value_parser = parse_rerun)]
    pub rerun: Option<RerunArg>,
    /// Adopt the scenario and the plugins as they are now, and run the trials again that this changes, beside those of `--rerun`
    #[arg(long)]
    pub accept_changes: bool,
    /// Resume the run even if it was cancelled
    #[arg(long)]
    pub force: bool,
    /// Go on in the background: print the run's id once that has begun, and leave
    #[arg(long, conflicts_with_all = ["dry_run", "explain"])]
    pub detach: bool,
    /// Put it into the queue of the results root, for `runner queue work` or a server to go on with it
    #[arg(long, conflicts_with_all = ["dry_run", "explain", "detach", "engine"])]
    pub queue: bool,
    /// When its turn in the queue comes
    #[command(flatten)]
    pub turn: TurnArgs,
    /// Print the trials that would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print why each trial would run, and run nothing
    #[arg(long)]
    pub explain: bool,

    /// How trials are run
    #[command(flatten)]
    pub options: RunOptionArgs<true>,
    /// Whether workers on other machines make the attempts
    #[command(flatten, next_help_heading = "Other machines")]
    pub spread: SpreadArgs,
    /// Where secrets come from beside the environment
    #[command(flatten, next_help_heading = "Execution")]
    pub secrets: SecretsArgs,

    /// Where the results are
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Print events as JSON Lines on standard output; with `--dry-run` or `--explain` the plan instead
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How much is said
    #[command(flatten)]
    pub verbosity: VerbosityArgs,
}

/// The arguments of `runner validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The scenario files
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
}

/// What `runner exec --help` says after the options.
fn exec_notes() -> String {
    let codes =
        ExitStatus::ALL.map(|status| format!("  {:<4} {}\n", status.code(), status.meaning()));
    format!(
        "\
Examples:
  runner exec scenarios/basic.toml
  runner exec --build scenarios/basic.toml     (builds plugins first)
  runner exec -j 4 --test 'units/*' --fail-fast scenarios/tour.toml

Ctrl-C, SIGTERM and SIGHUP stop a run cleanly: every attempt is recorded, and the run says what is missing.

Exit codes:
{}",
        codes.concat()
    )
}

impl FilterArgs {
    /// Reads the filter.
    ///
    /// # Errors
    ///
    /// Fails if it is none.
    pub fn parse(&self) -> Result<Option<Filter>, Error> {
        let filter = self.text.as_deref().map(Filter::parse).transpose();
        filter.map_err(Error::usage)
    }
}

/// An empty variable names no root.
fn results_root(root: OsString) -> PathBuf {
    match root.is_empty() {
        true => DEFAULT_ROOT.into(),
        false => root.into(),
    }
}

fn status_parser() -> impl TypedValueParser<Value = RunStatus> {
    PossibleValuesParser::new(RunStatus::ALL.map(RunStatus::as_str))
        .map(|word| RunStatus::parse(&word).expect("the word is one of those above"))
}

fn parse_rerun(text: &str) -> Result<RerunArg, String> {
    if Filter::is_meant_by(text) {
        // What is wrong with it is said with its place.
        return Ok(RerunArg::Filter(text.to_owned()));
    }
    text.parse()
        .map(RerunArg::Rule)
        .map_err(|error: globset::Error| error.to_string())
}

/// As many as `concurrency` of a scenario may say.
fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "expected a whole number such as `10`".into())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    scenario::parse_duration(text).map_err(Into::into)
}

/// As the `timeout` of a scenario.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it cannot be zero".into()),
        timeout => Ok(timeout),
    }
}
