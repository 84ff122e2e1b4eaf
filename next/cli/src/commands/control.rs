//! `runner stop`, `cancel`, `pause` and `unpause`: what one process asks of the one that works on a run.

use std::path::Path;

use runner_model::{RunStatus, Stage, exit::Exit, row::Actor};
use runner_record::{Answer, RecordError, RequestMode, ResultsRoot, RunDir, RunHead, actor};
use runner_report::{AskedRun, RunSummary};

use super::group;
use crate::{
    args::{JsonArgs, RootArgs, RunArg},
    text::{error::CommandError, out::Out, style, summary},
};

/// Stop a run, which can be continued
#[derive(clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    asked: AskArgs,
    /// Begin no new trials, and let those in flight finish
    #[arg(long, conflicts_with = "kill")]
    drain: bool,
    /// Interrupt the trials in flight at once
    #[arg(long)]
    kill: bool,
}

/// Stop a run that nobody wants any more
#[derive(clap::Args)]
pub struct CancelArgs {
    #[command(flatten)]
    asked: AskArgs,
}

/// Pause a run
#[derive(clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    asked: AskArgs,
}

/// Let a paused run go on
#[derive(clap::Args)]
pub struct UnpauseArgs {
    #[command(flatten)]
    asked: RunArgs,
}

#[derive(clap::Args)]
struct AskArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Why; it is kept with your name in the run
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The run; by itself it is the only one that is running.
#[derive(clap::Args)]
struct RunArgs {
    #[command(flatten)]
    run: RunArg,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub fn stop(args: &StopArgs, out: &Out) -> Result<Exit, CommandError> {
    let mode = match (args.drain, args.kill) {
        (true, _) => RequestMode::Drain,
        (_, true) => RequestMode::Kill,
        _ => RequestMode::Stop,
    };
    ask(&args.asked, mode, out)
}

pub fn cancel(args: &CancelArgs, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, root, .. } = &args.asked.run;
    let path = root.path();
    let of_record = |error| CommandError::of_record(error, &path);
    let root = ResultsRoot::existing(&path).map_err(of_record)?;
    let members = run.name().map(|name| group::find(&root, &name));
    match members.transpose().map_err(of_record)?.flatten() {
        Some(members) => cancel_group(&root, members, &args.asked, out),
        None => ask(&args.asked, RequestMode::Cancel, out),
    }
}

/// Cancels all runs of a group that are not completed: first the one whose turn it is, which ends those that wait.
fn cancel_group(
    root: &ResultsRoot,
    mut members: Vec<RunSummary>,
    args: &AskArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
    let path = args.run.root.path();
    let of_record = |error| CommandError::of_record(error, &path);
    members.retain(|run| run.status != RunStatus::Completed);
    if members.is_empty() {
        return Err(CommandError::usage(
            "all runs of the group are completed, so none can be cancelled",
        ));
    }
    members.sort_by_key(|run| {
        (
            run.status != RunStatus::Running,
            run.stage == Stage::Waiting,
        )
    });
    let by = by(args);
    let mut exit = Exit::Success;
    for member in members {
        let run = root.find(&member.run).map_err(of_record)?;
        let answer = root
            .ask(&run, RequestMode::Cancel, &by)
            .map_err(of_record)?;
        // The last one may have come to its end meanwhile.
        match say(root, &run, answer, &args.run, out) {
            Err(_) if answer == Answer::Refused => {}
            said => exit = exit.worse(said?),
        }
    }
    Ok(exit)
}

pub fn pause(args: &PauseArgs, out: &Out) -> Result<Exit, CommandError> {
    ask(&args.asked, RequestMode::Pause, out)
}

pub fn unpause(args: &UnpauseArgs, out: &Out) -> Result<Exit, CommandError> {
    tell(&args.asked, ResultsRoot::unpause, out)
}

fn ask(args: &AskArgs, mode: RequestMode, out: &Out) -> Result<Exit, CommandError> {
    tell(&args.run, |root, run| root.ask(run, mode, &by(args)), out)
}

fn by(args: &AskArgs) -> Actor {
    actor(args.reason.clone().filter(|reason| !reason.is_empty()))
}

/// Asks, and says what came of it.
fn tell(
    args: &RunArgs,
    ask: impl FnOnce(&ResultsRoot, &RunDir) -> Result<Answer, RecordError>,
    out: &Out,
) -> Result<Exit, CommandError> {
    let path = args.root.path();
    let of_record = |error| CommandError::of_record(error, &path);
    let root = ResultsRoot::existing(&path).map_err(of_record)?;
    let run = match args.run.name() {
        Some(name) => named(&root, &name, &path)?,
        None => only_running(&root, &path)?,
    };
    let answer = ask(&root, &run).map_err(of_record)?;
    say(&root, &run, answer, args, out)
}

/// Says what came of it.
fn say(
    root: &ResultsRoot,
    run: &RunDir,
    answer: Answer,
    args: &RunArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
    let path = args.root.path();
    let of_record = |error| CommandError::of_record(error, &path);
    let asked = AskedRun::read(root, run, answer).map_err(of_record)?;
    let short = &asked.run.short;
    if answer == Answer::Refused {
        return Err(CommandError::usage(&format!(
            "run {short} is completed, so it cannot be cancelled"
        )));
    }
    if args.json.json {
        out.document(&asked);
    } else {
        let (sign, paint) = style::standing(asked.run.status, asked.run.verdict);
        let words = summary::standing_words(&asked.run);
        let counts = asked.run.counts;
        let (done, planned) = (counts.done.done(), counts.planned);
        let standing = format!(
            "{}: {done} of {planned} done",
            paint(&format!("{sign} {words}"))
        );
        let what = match answer {
            Answer::Stopped | Answer::Cancelled | Answer::Paused | Answer::Refused => "is now",
            Answer::Unpaused => "goes on:",
            Answer::AlreadyTerminal => "had ended already:",
            Answer::AlreadyPaused => "was paused already:",
            Answer::NotPaused => "is not paused:",
            Answer::NoAnswer => "has not answered:",
        };
        out.data(&format!("run {short} {what} {standing}"));
    }
    if answer != Answer::NoAnswer {
        return Ok(Exit::Success);
    }
    let holder = run.holder().unwrap_or_default();
    out.warn(&format!(
        "process {} on {} works on the run and has not answered in time; it may be stopped (Ctrl-Z): try again, or end the process",
        holder.pid, holder.host
    ));
    Ok(Exit::Held)
}

/// The run of this name. A group, and a run that waits for others of its group, mean the one whose turn it is.
fn named(root: &ResultsRoot, name: &str, path: &Path) -> Result<RunDir, CommandError> {
    let of_record = |error| CommandError::of_record(error, path);
    let members = match group::find(root, name).map_err(of_record)? {
        Some(members) => members,
        None => {
            let run = root.find(name).map_err(of_record)?;
            let manifest = run.truth().map_err(of_record)?;
            let is_waiting = manifest.stage == Stage::Waiting && !manifest.status.is_terminal();
            let group = manifest.group.filter(|_| is_waiting);
            match group.map(|group| group::find(root, &group.id)) {
                Some(members) => members.map_err(of_record)?.unwrap_or_default(),
                None => return Ok(run),
            }
        }
    };
    let mut running = members.iter().filter(|run| !run.status.is_terminal());
    let first = running.clone().next();
    let begun = running.find(|run| run.stage != Stage::Waiting);
    match begun.or(first) {
        Some(run) => root.find(&run.run).map_err(of_record),
        None => Err(CommandError::usage(&format!(
            "no run of the group `{name}` is running\nname one of its runs: `runner list --group {name}` shows them"
        ))),
    }
}

/// The only run that is running; of a group the one whose turn it is.
fn only_running(root: &ResultsRoot, path: &Path) -> Result<RunDir, CommandError> {
    let of_record = |error| CommandError::of_record(error, path);
    let mut running = root.runs().map_err(of_record)?.runs;
    running.retain(|run| run.status == RunStatus::Running);
    let is_begun = |run: &RunHead| run.stage != Stage::Waiting;
    if running.iter().any(is_begun) {
        running.retain(is_begun);
    }
    match running.as_slice() {
        [run] => root.find(&run.id).map_err(of_record),
        [] => Err(CommandError::usage(&format!(
            "no run is running in {}\n`runner list` shows all runs",
            path.display()
        ))),
        several => {
            let runs = several.iter();
            let names: String = runs
                .map(|run| format!("\n{}  {}", run.id, run.scenario))
                .collect();
            let count = several.len();
            Err(CommandError::usage(&format!(
                "{count} runs are running; name one of them:{names}"
            )))
        }
    }
}
