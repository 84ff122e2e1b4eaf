//! Arguments that several commands share, and the parsers of their values.

use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};
use std::{
    env, ffi::OsString, iter, ops::RangeInclusive, str::FromStr, sync::OnceLock, time::Duration,
};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use runner_engine::{EngineError, SessionRequest, Share};
use runner_model::units::{MAX_DURATION, parse_duration};
use runner_model::visible::shown_path;
use runner_model::{
    Budgets, FailFast, Form, MAX_JOBS, SessionOverrides, exit::Exit, status::RunState,
};
use runner_record::{RecordError, ResultsRoot, RunDir, default_root};
use runner_scenario::Filter;

use crate::{
    detach,
    report_files::ReportFile,
    text::{CommandError, mistake},
};

/// Headings of flags in the help of `exec`, `resume` and `rescore`.
pub const SELECTION: &str = "Selection";
pub const OUTPUT: &str = "Output";
pub const SETTINGS: &str = "Settings of the run";
pub const RESULTS: &str = "Results";
pub const BACKGROUND: &str = "Background and other runs";
pub const PLUGINS: &str = "Plugins and secrets";

/// The results root.
#[derive(Args, Clone)]
pub struct RootArgs {
    /// Results root [env: RUNNER_RESULTS, default: results]
    #[arg(long, value_name = "DIR", display_order = 800)]
    pub results: Option<OsString>,
}

impl RootArgs {
    /// Returns the folder. An empty value counts as not set.
    pub fn path(&self) -> PathBuf {
        let given = self.results.clone().filter(|path| !path.is_empty());
        given.map_or_else(default_root, PathBuf::from)
    }

    /// Returns the folder for commands about existing runs. If it is not named and missing, a folder with runs above is used,
    /// and the first call prints its path.
    pub fn existing_path(&self) -> PathBuf {
        static ABOVE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let path = self.path();
        if self.results.is_some() || path != Path::new("results") || path.exists() {
            return path;
        }
        let above = ABOVE.get_or_init(|| {
            let above = results_above();
            if let Some(above) = &above {
                let _ = writeln!(io::stderr(), "using the runs in {}", shown_path(above));
            }
            above
        });
        above.clone().unwrap_or(path)
    }

    pub fn open(&self) -> Result<ResultsRoot, RecordError> {
        ResultsRoot::existing(&self.existing_path())
    }

    /// Refuses `--results` with another folder than the parent of `--into`.
    pub fn refuse_other(&self, into: &Path) -> Result<(), CommandError> {
        let given = self.path();
        let parent = Self::parent_of(into).path();
        let [real, real_parent] =
            [&given, &parent].map(|path| path.canonicalize().or_else(|_| absolute(path)).ok());
        if self.results.is_none() || real == real_parent {
            return Ok(());
        }
        let given = shown_path(&given);
        let into = shown_path(into);
        Err(mistake!("`--into {into}` is not in `--results {given}`\nleave out `--results`"))
    }

    /// Returns the parent of `run_dir` as the results root.
    pub fn parent_of(run_dir: &Path) -> Self {
        let parent = run_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self { results: Some(parent.unwrap_or(Path::new(".")).into()) }
    }
}

/// Returns the nearest `results` with runs of this user above the working directory. Does not look above a folder with `.git`
/// or the home directory.
fn results_above() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let home = env::var_os("HOME").and_then(|home| Path::new(&home).canonicalize().ok());
    let below = here
        .ancestors()
        .take_while(|folder| !(folder.join(".git").exists() || home.as_deref() == Some(*folder)))
        .count();
    (1..=below).map(|up| PathBuf::from("../".repeat(up)).join("results")).find(|results| {
        results.metadata().is_ok_and(|data| data.uid() == rustix::process::geteuid().as_raw())
            && results.read_dir().is_ok_and(|mut runs| {
                runs.any(|run| run.is_ok_and(|entry| entry.path().join("benchmark.json").exists()))
            })
    })
}

/// The arguments of a command that answers with a document about a results root.
#[derive(Args)]
pub struct DocumentArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    pub json: bool,
}

/// States that a word of `--status` means.
type States = &'static [RunState];

/// The filter by states.
#[derive(Args)]
pub struct StatusArgs {
    /// Only runs in these states, separated by commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = states())]
    status: Vec<States>,
}

impl StatusArgs {
    /// Returns the selected states. Empty without the flag.
    pub fn states(&self) -> Vec<RunState> {
        self.status.concat()
    }
}

/// The argument RUN.
#[derive(Args, Default)]
pub struct RunArg {
    /// Id or a unique part of it, path, or `latest` [env: RUNNER_RUN]
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

impl RunArg {
    /// Returns the name on the command line, else the one in the environment. An empty value counts as not set.
    pub fn name(&self) -> Option<String> {
        let name = self.run.clone().or_else(|| env::var("RUNNER_RUN").ok());
        name.filter(|name| !name.is_empty())
    }

    /// Returns the name on the command line.
    pub fn given(&self) -> Option<&str> {
        self.run.as_deref()
    }

    pub fn name_or_latest(&self) -> String {
        self.name().unwrap_or_else(|| "latest".to_owned())
    }

    /// Opens the run with this name, else the newest.
    pub fn find(&self, root: &ResultsRoot) -> Result<RunDir, RecordError> {
        root.find(&self.name_or_latest())
    }
}

/// The arguments of a command about one run.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub run: RunArg,
    #[command(flatten)]
    pub document: DocumentArgs,
}

/// The settings of a session and of its output.
#[derive(Args, Clone)]
pub struct SessionArgs {
    /// Run N attempts at the same time [default: by cores]
    #[arg(short, long, value_name = "N", value_parser = whole(1..=MAX_JOBS), help_heading = SETTINGS)]
    jobs: Option<u32>,
    /// Stop after M minutes; fractions are allowed
    #[arg(long, value_name = "M", value_parser = minutes, conflicts_with = "timeout", help_heading = SETTINGS)]
    timeout_minutes: Option<Duration>,
    /// Stop after this time, such as `30m` or `1h30m`
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = SETTINGS)]
    timeout: Option<Duration>,
    /// Stop after N failures: 3, 0.1 of all, or `off`
    #[arg(long, value_name = "N", value_parser = fail_fast, num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(help_heading = SETTINGS)]
    fail_fast: Option<FailFast>,
    /// Stop when METRIC adds up to N, as `tokens=2000000`
    #[arg(long, value_name = "METRIC=N", value_parser = budget, help_heading = SETTINGS)]
    budget: Vec<Budgets>,
    /// Time for plugins to end after a stop [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = any_duration, help_heading = SETTINGS)]
    grace: Option<Duration>,
    /// Read secrets from lines `NAME=VALUE`; repeatable
    #[arg(long, value_name = "FILE", value_parser = secret_file, help_heading = PLUGINS)]
    secret_file: Vec<PathBuf>,
    /// Run in the background, and print the run's id
    #[arg(long, help_heading = BACKGROUND)]
    pub detach: bool,
    /// Run only while no other run of the results root is running
    #[arg(long, help_heading = BACKGROUND)]
    exclusive: bool,
    /// With `--exclusive`, wait until the other runs have ended
    #[arg(long, requires = "exclusive", help_heading = BACKGROUND)]
    wait: bool,
    #[command(flatten, next_help_heading = RESULTS)]
    pub root: RootArgs,
    #[arg(long, value_name = "FILE", value_parser = ReportFile::parse, help_heading = RESULTS)]
    #[arg(help = format!("Write {}; repeatable", Form::extensions()))]
    report: Vec<ReportFile>,
    /// Write a report as JUnit's XML
    #[arg(long, value_name = "FILE", value_parser = ReportFile::parse_junit, help_heading = RESULTS)]
    junit: Option<ReportFile>,
    /// Print nothing for GitHub, GitLab and Buildkite
    #[arg(long, help_heading = OUTPUT)]
    pub no_ci: bool,
    /// Print events as JSON Lines
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Print only failures, errors and known failures
    #[arg(short, long, conflicts_with = "verbose", help_heading = OUTPUT)]
    pub quiet: bool,
    /// Print every attempt as it ends
    #[arg(short, long, help_heading = OUTPUT)]
    pub verbose: bool,
    /// `--scheduler-exit` of `exec`.
    #[arg(skip)]
    pub scheduler_exit: bool,
}

impl SessionArgs {
    /// Returns the exit code of a session or a group whose results have this one.
    pub fn exit(&self, exit: Exit) -> Exit {
        if self.scheduler_exit && exit == Exit::Bad { Exit::Success } else { exit }
    }

    /// Returns the words of `--report` and `--junit`.
    pub fn report_words(&self) -> Vec<String> {
        let flags = self.report.iter().map(|file| ("--report", file));
        let flags = flags.chain(self.junit.iter().map(|file| ("--junit", file)));
        flags.flat_map(|(flag, file)| [flag.into(), file.path.to_string_lossy().into()]).collect()
    }

    /// Returns the files of `--report` and `--junit`.
    pub fn reports(&self) -> impl Iterator<Item = &ReportFile> {
        self.report.iter().chain(&self.junit)
    }

    /// Refuses reports of several runs, which would replace each other.
    pub fn refuse_reports(&self) -> Result<(), CommandError> {
        match self.reports().next() {
            Some(_) => Err(mistake!(
                "`--report` and `--junit` are for one run, and this command has several\nto write reports of each into its folder, add `[report]` to the scenarios"
            )),
            None => Ok(()),
        }
    }

    pub fn request(&self) -> SessionRequest {
        let mut budgets = Budgets::default();
        self.budget.iter().for_each(|budget| budgets.extend(budget));
        SessionRequest {
            results: self.root.path(),
            overrides: SessionOverrides {
                jobs: self.jobs,
                timeout: self.timeout_minutes.or(self.timeout),
                grace: self.grace,
                fail_fast: self.fail_fast,
                budgets,
            },
            share: match (self.exclusive, self.wait) {
                (false, _) => Share::WithOthers,
                (true, false) => Share::Alone,
                (true, true) => Share::AloneOnce,
            },
            command: typed_command(),
            request: detach::request(),
            secret_files: self.secret_file.clone(),
            remote: None,
        }
    }

    /// Returns the request of a session that continues an existing run.
    pub fn request_for_existing(&self) -> SessionRequest {
        SessionRequest { results: self.root.existing_path(), ..self.request() }
    }
}

/// Returns the command line for the manifest, as the user typed it.
pub fn typed_command() -> Vec<String> {
    let words = detach::arguments().map(|word| word.to_string_lossy().into_owned());
    iter::once("runner".to_owned()).chain(words).collect()
}

/// Parses a number of units, each of `seconds`. Fractions are allowed.
pub fn fraction(text: &str, seconds: f64) -> Option<Duration> {
    let count: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(count * seconds).ok()
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = fraction(text, 60.0).ok_or("expected minutes, such as 5 or 0.5")?;
    if minutes > MAX_DURATION {
        return Err("at most a year is allowed".to_owned());
    }
    not_zero(minutes)
}

/// Joins `--fail-fast 3` and a wrong number such as `3x` into one argument unless the word is a file: the number is optional, so
/// clap needs the `=`.
pub fn join_fail_fast(arguments: &[OsString]) -> Vec<OsString> {
    let mut joined = Vec::<OsString>::with_capacity(arguments.len());
    let mut options = true;
    for word in arguments {
        options &= word != "--";
        let follows = options && joined.last().is_some_and(|last| last == "--fail-fast");
        let is_value = word.to_str().is_some_and(|text| {
            text.starts_with(|first: char| first.is_ascii_digit())
                || FailFast::parse(text).is_some()
        });
        match word.to_str().filter(|_| follows && is_value) {
            Some(number) if !Path::new(number).exists() => {
                joined.pop();
                joined.push(format!("--fail-fast={number}").into());
            }
            _ => joined.push(word.clone()),
        }
    }
    joined
}

/// Parses a duration other than 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    not_zero(any_duration(text)?)
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

/// Parses a duration.
pub fn any_duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|problem| format!("it {problem}"))
}

fn not_zero(time: Duration) -> Result<Duration, String> {
    if time.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(time) }
}

/// Parses a whole number.
pub fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected a whole number, such as 10".to_owned())
}

/// Parses a whole number in a range.
pub fn whole(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {} to {}", range.start(), range.end())),
    }
}

/// Parses a label `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    pair(text, "a label such as team=night")
}

/// Parses the filters of `-E`.
pub fn filters(texts: &[String]) -> Result<Vec<Filter>, CommandError> {
    let parsed = texts.iter().map(|text| Filter::parse(text));
    Ok(parsed.collect::<Result<_, _>>().map_err(EngineError::Scenario)?)
}

/// Parses a value of a variable, `NAME=VALUE`.
pub fn set_var(text: &str) -> Result<(String, String), String> {
    pair(text, "a name and a value such as model=small")
}

fn pair(text: &str, expected: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected {expected}")),
    }
}

/// Returns the path of a file with secrets, if it exists: a misspelt path is reported even if no secret is needed.
pub fn secret_file(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match path.metadata() {
        Ok(_) => Ok(path.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("there is no such file".to_owned())
        }
        Err(error) => Err(format!("cannot read it: {error}")),
    }
}

fn states() -> impl TypedValueParser<Value = States> {
    PossibleValuesParser::new(RunState::selectors())
        .map(|word| RunState::selected_by(&word).unwrap_or_default())
}
