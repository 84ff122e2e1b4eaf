//! The command line: commands, and the arguments that several of them have.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, ColorChoice, Parser, Subcommand};
use runner_engine::{SessionRequest, Share};
use runner_model::{
    Budgets, FailFast, SessionOverrides,
    units::{MAX_DURATION, parse_duration},
};
use runner_record::{RecordError, ResultsRoot, RunDir};
use runner_report::phrases::quoted;

use crate::{
    commands::{control, exec, follow, init, list, plugin, resume, show, upkeep, validate},
    detach,
};

/// Runs lists of tests against sandboxed WASM providers from declarative TOML scenarios
#[derive(Parser)]
#[command(name = "runner", bin_name = "runner", version)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// When to use colours; `NO_COLOR` and `CLICOLOR_FORCE` decide for `auto`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 900)]
    pub color: ColorChoice,
}

#[derive(Subcommand)]
pub enum Command {
    Init(init::Args),
    #[command(alias = "run")]
    Exec(exec::Args),
    Resume(resume::Args),
    Validate(validate::Args),
    List(list::Args),
    Show(show::Args),
    Wait(follow::WaitArgs),
    Logs(follow::LogsArgs),
    Stop(control::StopArgs),
    /// Stop a run that nobody wants any more
    Cancel(control::AskArgs),
    /// Pause a run
    Pause(control::AskArgs),
    /// Let a paused run go on
    Unpause(RunArgs),
    /// Check that nothing of a run is damaged
    Verify(RunArgs),
    Cleanup(upkeep::CleanupArgs),
    Prune(upkeep::PruneArgs),
    Pin(upkeep::PinArgs),
    Unpin(upkeep::UnpinArgs),
    /// Make `runner.db` anew
    Reindex(RootArgs),
    Plugin(Box<plugin::Args>),
}

const DEFAULT_ROOT: &str = "results";

/// Where the runs are.
#[derive(Args, Clone)]
pub struct RootArgs {
    /// The folder of all runs [default: results]
    #[arg(
        long,
        value_name = "DIR",
        env = "RUNNER_RESULTS",
        hide_env_values = true,
        display_order = 800
    )]
    results: Option<OsString>,
}

impl RootArgs {
    /// The folder; an empty text is as good as none.
    pub fn path(&self) -> PathBuf {
        let given = self.results.clone().filter(|path| !path.is_empty());
        given.unwrap_or_else(|| DEFAULT_ROOT.into()).into()
    }

    /// The runs in the folder.
    pub fn open(&self) -> Result<ResultsRoot, RecordError> {
        ResultsRoot::existing(&self.path())
    }

    /// The folder that this one is in.
    pub fn above(folder: &Path) -> Self {
        let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        Self { results: Some(above.into()) }
    }

    /// What a later command needs so that it looks into the same folder: nothing, or the flag with a space before it.
    pub fn flag(&self) -> String {
        let by_itself = Self { results: env::var_os("RUNNER_RESULTS") };
        match self.path() {
            path if path == by_itself.path() => String::new(),
            path => format!(" --results {}", quoted(&path.to_string_lossy())),
        }
    }
}

/// The run that a command is about.
#[derive(Args, Default)]
pub struct RunArg {
    /// The run: its id, a part of it that no other run has, a path, or `latest` [env: RUNNER_RUN]
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

impl RunArg {
    /// The name on the command line, else in the environment; an empty text is as good as none.
    pub fn name(&self) -> Option<String> {
        let name = self.run.clone().or_else(|| env::var("RUNNER_RUN").ok());
        name.filter(|name| !name.is_empty())
    }

    /// The name, else the one of the newest run.
    pub fn name_or_latest(&self) -> String {
        self.name().unwrap_or_else(|| "latest".to_owned())
    }

    /// The run of this name, else the newest.
    pub fn find(&self, root: &ResultsRoot) -> Result<RunDir, RecordError> {
        root.find(&self.name_or_latest())
    }
}

/// The run that a command is about, and how it is printed.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub run: RunArg,
    #[command(flatten)]
    pub root: RootArgs,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    pub json: bool,
}

/// How a session runs and what it prints.
#[derive(Args, Clone)]
pub struct SessionArgs {
    /// How many attempts run at the same time [default: the scenario's, else the number of cores; of a resumed run: as before]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Stop after this many minutes; a fraction is fine
    #[arg(long, value_name = "M", value_parser = minutes, conflicts_with = "timeout")]
    timeout_minutes: Option<Duration>,
    /// Stop after this time, such as `30m` or `1h30m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Begin no new trials once this many ended badly: a count, a fraction of the plan such as 0.1, or `off`
    #[arg(long, value_name = "N", value_parser = fail_fast, num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    fail_fast: Option<FailFast>,
    /// Begin no further attempts once so much of a metric is used up, such as `tokens=2000000`; `PROVIDER:METRIC=VALUE` for one provider, `off` for none
    #[arg(long, value_name = "METRIC=VALUE", value_parser = budget)]
    budget: Vec<Budgets>,
    /// How long guests may go on after a stop before they are interrupted [default: the scenario's, else 0s; of a resumed run: as before]
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    grace: Option<Duration>,
    /// Take secrets from this file of `NAME=VALUE` lines before the environment; may be given more than once
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Vec<PathBuf>,
    /// Run in the background: print the run's id once there is one, and return
    #[arg(long)]
    pub detach: bool,
    /// Run only while no other run does in this results root, and let no other begin
    #[arg(long)]
    exclusive: bool,
    /// With `--exclusive`, wait until the others have ended
    #[arg(long, requires = "exclusive")]
    wait: bool,
    #[command(flatten)]
    pub root: RootArgs,
    /// Print events as JSON Lines
    #[arg(long)]
    pub json: bool,
    /// Print only what went wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print every attempt as it ends
    #[arg(short, long)]
    pub verbose: bool,
}

impl SessionArgs {
    /// The session that is asked for.
    pub fn request(&self) -> SessionRequest {
        let command = detach::arguments().map(|word| word.to_string_lossy().into_owned());
        SessionRequest {
            results: self.root.path(),
            overrides: SessionOverrides {
                jobs: self.jobs,
                timeout: self.timeout_minutes.or(self.timeout),
                grace: self.grace,
                fail_fast: self.fail_fast,
                budgets: self.budget.iter().fold(Budgets::default(), |mut all, one| {
                    all.extend(one);
                    all
                }),
            },
            share: match (self.exclusive, self.wait) {
                (false, _) => Share::WithOthers,
                (true, false) => Share::Alone,
                (true, true) => Share::AloneOnce,
            },
            command: std::iter::once("runner".to_owned()).chain(command).collect(),
            secret_files: self.secret_file.clone(),
        }
    }
}

/// A number of units of time, which may have a fraction.
pub fn fraction(text: &str, seconds: f64) -> Option<Duration> {
    let count: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(count * seconds).ok()
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = fraction(text, 60.0).ok_or("expected minutes, such as 5 or 0.5")?;
    match minutes > MAX_DURATION {
        true => Err("it is longer than a year".to_owned()),
        false => not_zero(minutes),
    }
}

/// A duration other than 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    not_zero(grace(text)?)
}

fn fail_fast(text: &str) -> Result<FailFast, String> {
    let problem = "expected a count such as 3, a fraction such as 0.1, or `off`";
    FailFast::parse(text).ok_or_else(|| problem.to_owned())
}

fn budget(text: &str) -> Result<Budgets, String> {
    let mut budgets = Budgets::default();
    budgets.add(text)?;
    Ok(budgets)
}

fn grace(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|problem| format!("it {problem}"))
}

fn not_zero(time: Duration) -> Result<Duration, String> {
    match time.is_zero() {
        true => Err("more time than that is needed".to_owned()),
        false => Ok(time),
    }
}

/// A whole number.
pub fn number<N: FromStr>(text: &str) -> Result<N, String> {
    let number = text.parse().ok();
    number.ok_or_else(|| "expected a whole number, such as 10".to_owned())
}

/// A file with secrets, which is read later. What is misspelt is said even if no secret is asked for.
pub fn secret_file(text: &str) -> Result<PathBuf, String> {
    match Path::new(text).metadata() {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(error.to_string()),
    }
}
