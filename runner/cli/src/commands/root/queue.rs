//! `runner queue`, and `--queue` of `exec` and `resume`: requests that start once there is room for a run.

use std::sync::mpsc::{self, Receiver};
use std::{env, ffi::OsString, mem, thread, time::Duration};

use clap::{CommandFactory as _, FromArgMatches as _};
use runner_model::visible::{quoted, visible, visible_line};
use runner_model::{Time, exit::Exit, units::plural};
use runner_operations::queue::{self, QueueError, QueuePlace, Step};
use runner_operations::settings::Settings;
use runner_operations::upkeep::{Upkeep, UpkeepReport};
use runner_record::{QueueState, QueuedRequest, ResultsRoot, actor, now, sweep_every};
use runner_report::{QueueChange, QueueDocument, QueueEntry, QueueResult};
use runner_scenario::Notify;

use crate::args::{DocumentArgs, RootArgs, SessionArgs, join_fail_fast, number};
use crate::command::{Cli, Command};
use crate::text::{CommandError, Out, Table, mistake, summary};
use crate::{commands::root::notify, detach};

/// Time between two reads of a queue.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Time before a request that was postponed is tried again.
const AFTER_POSTPONED: Duration = Duration::from_secs(5);

/// The arguments of `exec` and `resume` about the queue.
#[derive(clap::Args, Clone)]
pub struct QueueArgs {
    /// Add the run to the queue, and print the request's id
    #[arg(long, conflicts_with = "detach")]
    pub queue: bool,
    /// Requests with a greater priority come first [default: 0]
    #[arg(long, value_name = "N", requires = "queue", value_parser = number::<i64>)]
    priority: Option<i64>,
    /// Pause a run of lower priority meanwhile
    #[arg(long, requires = "queue")]
    preempt: bool,
}

/// List active runs and the queue, or change the queue
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<QueueCommand>,
    #[command(flatten)]
    document: DocumentArgs,
}

#[derive(clap::Subcommand)]
enum QueueCommand {
    Move(MoveArgs),
    Remove(RemoveArgs),
    Work(WorkArgs),
}

/// Move a request; one that was refused waits again
#[derive(clap::Args)]
struct MoveArgs {
    #[command(flatten)]
    request: RemoveArgs,
    /// Place it before this request, with its priority
    #[arg(long, value_name = "ID", conflicts_with = "priority")]
    before: Option<String>,
    /// Give it this priority, after the other requests with it
    #[arg(long, value_name = "N", value_parser = number::<i64>, required_unless_present = "before")]
    priority: Option<i64>,
}

/// Remove a request from the queue
#[derive(clap::Args)]
struct RemoveArgs {
    /// The request's id, or a unique part of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    document: DocumentArgs,
}

/// Start requests while there is room, until Ctrl-C
///
/// Once a minute it also ends runs whose process died, sends notifications that are left, and applies `[retention]`. Runs are
/// processes of their own, and continue when it ends.
#[derive(clap::Args)]
struct WorkArgs {
    /// Start at most one request, and exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    root: RootArgs,
    /// Print a line of JSON for each request that is tried
    #[arg(long, display_order = 801)]
    json: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    match &args.command {
        None => list(args, out),
        Some(QueueCommand::Move(args)) => {
            let place = match (&args.before, args.priority) {
                (Some(before), _) => QueuePlace::Before(before),
                (None, priority) => QueuePlace::Priority(priority.unwrap_or_default()),
            };
            let RemoveArgs { id, document: DocumentArgs { root, json } } = &args.request;
            print_change(&queue::move_request(&root.open()?, id, place)?, *json, out);
            Ok(Exit::Success)
        }
        Some(QueueCommand::Remove(RemoveArgs { id, document: DocumentArgs { root, json } })) => {
            print_change(&queue::remove(&root.open()?, id)?, *json, out);
            Ok(Exit::Success)
        }
        Some(QueueCommand::Work(args)) => work(args, out),
    }
}

/// Adds the command line to the queue. A `resume` of `run` names it as `given`.
pub fn add(
    root: &ResultsRoot,
    given: Option<&str>,
    run: Option<String>,
    args: &QueueArgs,
    session: &SessionArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
    let mut words = typed_words()?;
    if let Some(run) = &run {
        words = with_run(&words, given, run);
    }
    let folder =
        env::current_dir().ok().and_then(|folder| folder.into_os_string().into_string().ok());
    let folder = folder.ok_or_else(|| {
        mistake!("the current folder is missing, or its path is not valid UTF-8\nrun the command in another folder")
    })?;
    let mut request = QueuedRequest::new(words, folder, actor(None));
    request.run = run;
    request.priority = args.priority.unwrap_or_default();
    request.preempts = args.preempt;
    let change = queue::add(root, request)?;
    out.document_or(session.json, &change, |change| {
        out.data(&change.entry.request);
        if !session.quiet {
            out.hint(&format!("to start requests: {}", root.command(&["queue", "work"])));
        }
    });
    Ok(Exit::Success)
}

/// Returns the words that the user typed after `runner`.
fn typed_words() -> Result<Vec<String>, CommandError> {
    detach::arguments().map(OsString::into_string).collect::<Result<_, _>>().map_err(|word| {
        let word = word.to_string_lossy().into_owned();
        mistake!("`{}` is not valid UTF-8", visible_line(&word))
    })
}

/// Returns words of `resume` that name the run by its id, because `latest`, a part of an id or no name may mean another run once
/// the request is started. `given` is the name in the words.
fn with_run(words: &[String], given: Option<&str>, run: &str) -> Vec<String> {
    let appended = [words, &[run.to_owned()]].concat();
    let Some(given) = given else { return appended };
    let from = [given.to_owned(), format!("--from={given}")];
    let mut replaced = (0..words.len()).filter(|at| from.contains(&words[*at])).map(|at| {
        let mut words = words.to_vec();
        words[at] = words[at].replace(given, run);
        words
    });
    // The value of another flag may be the same.
    replaced.find(|words| names_run(words, run)).unwrap_or(appended)
}

/// Returns whether these words are a command `resume` of this run.
fn names_run(words: &[String], run: &str) -> bool {
    let words = ["runner"].into_iter().chain(words.iter().map(String::as_str)).map(OsString::from);
    let words = join_fail_fast(&words.collect::<Vec<_>>());
    let parsed = Cli::command().try_get_matches_from(words);
    let command = parsed.and_then(|matches| Cli::from_arg_matches(&matches)).map(|cli| cli.command);
    matches!(command, Ok(Command::Resume(args)) if args.names(run))
}

fn list(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let DocumentArgs { root, json } = &args.document;
    let root = root.open()?;
    let document = queue::list(&root)?;
    out.document_or(*json, &document, |document| print(&root, document, out));
    Ok(Exit::Success)
}

fn print(root: &ResultsRoot, document: &QueueDocument, out: &Out) {
    let now = now();
    let screen = out.columns();
    let room = document.active.iter().filter(|run| !run.preempted).count() as u64;
    let runs = plural(room, "active run", "active runs");
    out.data(&format!("{runs} of at most {}", document.max_active_runs));
    if !document.active.is_empty() {
        out.data(&active_table(document, now, screen));
    }
    if document.requests.is_empty() {
        out.data("no request waits");
    } else {
        out.data("");
        out.data(&request_table(&document.requests, now, screen));
    }
    for problem in &document.problems {
        out.warn(problem);
    }
    for entry in &document.requests {
        if let Some(problem) = &entry.refused {
            out.data(&format!("request {} was refused: {}", entry.short, reason(problem)));
        }
    }
    if let Some(entry) = document.requests.iter().find(|entry| entry.state == QueueState::Refused) {
        let again = root.command(&["queue", "move", &entry.short, "--priority", "0"]);
        out.hint(&format!("to try one again: {again}"));
    }
}

fn active_table(document: &QueueDocument, now: Time, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("run", 0),
        ("scenario", 2),
        ("priority>", 3),
        ("user", 4),
        ("started (UTC)", 1),
        ("", 0),
    ]);
    for run in &document.active {
        let state = match (run.preempted, &run.paused) {
            (true, _) => "paused for another run",
            (false, Some(_)) => "paused",
            (false, None) => "",
        };
        table.row([
            visible_line(screen.map_or(&run.run, |_| &run.short)).into_owned(),
            visible_line(&run.scenario).into_owned(),
            run.priority.to_string(),
            visible_line(&run.user).into_owned(),
            summary::when(now, run.started_at, screen),
            state.to_owned(),
        ]);
    }
    table.render(screen)
}

fn request_table(entries: &[QueueEntry], now: Time, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("place>", 0),
        ("request", 0),
        ("state", 0),
        ("priority>", 2),
        ("command", 1),
        ("user", 3),
        ("since (UTC)", 4),
    ]);
    for entry in entries {
        let state = match entry.state {
            QueueState::Starting => "starting",
            QueueState::Waiting if entry.is_unsigned => "foreign",
            QueueState::Waiting if entry.foreign.is_some() => "waiting for its user",
            QueueState::Waiting => "waiting",
            QueueState::Refused => "refused",
        };
        table.row([
            entry.place.map_or_else(|| "–".to_owned(), |place| place.to_string()),
            visible_line(screen.map_or(&entry.request, |_| &entry.short)).into_owned(),
            state.to_owned(),
            entry.priority.to_string(),
            typed(&entry.command),
            visible_line(&entry.by.user).into_owned(),
            summary::when(now, entry.at, screen),
        ]);
    }
    table.render(screen)
}

fn print_change(change: &QueueChange, json: bool, out: &Out) {
    out.document_or(json, change, |change| {
        let short = visible_line(&change.entry.short);
        let place = change.entry.place.filter(|_| change.result != QueueResult::Removed);
        let place = place.map_or_else(String::new, |place| format!(", now at place {place}"));
        let verb = match change.result {
            QueueResult::Queued => "queued",
            QueueResult::Moved => "moved",
            QueueResult::Removed => "removed",
        };
        out.data(&format!("{verb} request {short}{place}"));
    });
}

/// Starts requests as there is room. A problem that lasts is printed once.
fn work(args: &WorkArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = ResultsRoot::open(&args.root.path())?;
    // Each step reports invalid settings.
    if let Ok(settings) = Settings::read(&root) {
        notify::warn(&settings.keys.notify, &Notify::default(), out);
    }
    if args.once {
        return work_once(&root, args, out);
    }
    warn_of_foreign(&root, out)?;
    let reports = start_upkeep(root.clone())?;
    let mut last_problem = String::new();
    loop {
        let stepped = queue::step(&root);
        reports.try_iter().for_each(|report| print_upkeep(&report, out));
        let pause = match &stepped {
            Ok(Step::Started { .. } | Step::Refused { .. }) => Duration::ZERO,
            Ok(Step::Postponed { .. }) | Err(_) => AFTER_POSTPONED,
            Ok(_) => POLL_EVERY,
        };
        let problem = match &stepped {
            Ok(Step::Postponed { error, .. }) => error.to_string(),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let is_new = mem::replace(&mut last_problem, problem.clone()) != problem;
        match stepped {
            Ok(Step::Postponed { .. }) if !is_new && !args.json => {}
            Ok(step) => print_step(&step, args, out),
            Err(error) if is_new => out.talk(CommandError::from(error).text()),
            Err(_) => {}
        }
        if out.is_closed() {
            return Ok(Exit::Success);
        }
        thread::sleep(pause);
    }
}

fn work_once(root: &ResultsRoot, args: &WorkArgs, out: &Out) -> Result<Exit, CommandError> {
    let stepped = queue::step(root);
    print_upkeep(&Upkeep::new(root.clone()).tick(now()), out);
    let step = stepped?;
    if matches!(step, Step::Idle) && warn_of_foreign(root, out)? {
        return Ok(Exit::Failed);
    }
    print_step(&step, args, out);
    Ok(match step {
        Step::Idle | Step::Started { .. } | Step::Queued(_) | Step::Repeated(_) => Exit::Success,
        Step::Busy { .. } | Step::Postponed { .. } => Exit::Held,
        Step::Refused { .. } => Exit::Failed,
    })
}

/// Warns of requests that no process of this user starts. Returns whether there are any.
fn warn_of_foreign(root: &ResultsRoot, out: &Out) -> Result<bool, CommandError> {
    let count = root.queue()?.requests.iter().filter(|request| request.is_unsigned).count() as u64;
    if count > 0 {
        let requests = plural(count, "waiting request was", "waiting requests were");
        let trust = root.command(&["trust"]);
        out.warn(&format!(
            "{requests} not made with your key; to look at them and allow them: {trust}"
        ));
    }
    Ok(count > 0)
}

/// Does the regular upkeep in a thread, because it may wait for receivers of notifications. Returns its reports.
fn start_upkeep(root: ResultsRoot) -> Result<Receiver<UpkeepReport>, CommandError> {
    let (sender, reports) = mpsc::channel();
    let mut upkeep = Upkeep::new(root);
    let started = thread::Builder::new().name("upkeep".into()).spawn(move || {
        while sender.send(upkeep.tick(now())).is_ok() {
            thread::sleep(sweep_every());
        }
    });
    started.map(|_| reports).map_err(CommandError::failed)
}

/// Prints the result of a try, and with `--once` also why nothing was tried.
fn print_step(step: &Step, args: &WorkArgs, out: &Out) {
    if args.json {
        step.document().iter().for_each(|line| out.json_line(line));
    }
    match step {
        Step::Idle if args.once => out.talk("no request waits"),
        Step::Busy { runs, starting, max } if args.once => {
            let active = runs.len() as u64 + u64::from(*starting);
            let active = plural(active, "active run", "active runs");
            out.talk(&format!("there is no room: {active} of at most {max}"));
        }
        _ if args.json => {}
        Step::Started { request, started } => {
            let command = typed(&request.command);
            out.data(&format!("started {}: runner {command}", visible_line(&started.id)));
        }
        Step::Refused { request, error } => {
            let reason = reason(&error.to_string());
            out.talk(&format!("request {} cannot be started: {reason}", request.id));
        }
        Step::Postponed { request, error } => {
            let reason = reason(&error.to_string());
            out.talk(&format!("request {} waits again: {reason}", request.id));
        }
        Step::Idle | Step::Busy { .. } | Step::Queued(_) | Step::Repeated(_) => {}
    }
}

/// Formats the words of a command as they are typed.
pub fn typed(command: &[String]) -> String {
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    visible_line(&words.join(" ")).into_owned()
}

/// Formats the messages of a process that has started no run. They may quote other files.
fn reason(messages: &str) -> String {
    let messages = visible(messages.trim_end());
    summary::indented(messages.strip_prefix("error: ").unwrap_or(&messages))
}

fn print_upkeep(report: &UpkeepReport, out: &Out) {
    for run in &report.ended {
        let reason = run.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        out.talk(&format!("run {} became {}{reason}", visible_line(&run.id), run.status));
    }
    report.problems.iter().for_each(|problem| out.warn(problem));
}

impl From<QueueError> for CommandError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Record(error) => error.into(),
            QueueError::Settings(error) => error.into(),
            QueueError::Held(_) => Self::new(Exit::Held, error),
            error => Self::usage(error),
        }
    }
}
