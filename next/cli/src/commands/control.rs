//! `runner stop`, `cancel`, `pause` and `unpause`: what one process asks of the one that works on a run.

use runner_model::{RunStatus, Stage, exit::Exit};
use runner_record::{Answer, RecordError, RequestMode, ResultsRoot, RunDir, RunHead, actor};
use runner_report::{AskedRun, RunList, RunSummary};

use super::group::Named;
use crate::{
    args::RunArgs,
    text::{CommandError, Out, summary},
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

// The run by itself is the only one that is running.
#[derive(clap::Args)]
pub struct AskArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Why; it is kept with your name in the run
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn stop(args: &StopArgs, out: &Out) -> Result<Exit, CommandError> {
    let mode = match (args.drain, args.kill) {
        (true, _) => RequestMode::Drain,
        (_, true) => RequestMode::Kill,
        _ => RequestMode::Stop,
    };
    ask(&args.asked, mode, out)
}

pub fn ask(args: &AskArgs, mode: RequestMode, out: &Out) -> Result<Exit, CommandError> {
    let by = actor(args.reason.clone().filter(|reason| !reason.is_empty()));
    let all = mode == RequestMode::Cancel;
    tell(&args.run, all, |root, run| root.ask(run, mode, &by), out)
}

pub fn unpause(args: &RunArgs, out: &Out) -> Result<Exit, CommandError> {
    tell(args, false, ResultsRoot::unpause, out)
}

/// Asks the run that is meant, or `all` of a group, and says what came of it.
fn tell(
    args: &RunArgs,
    all: bool,
    ask: impl Fn(&ResultsRoot, &RunDir) -> Result<Answer, RecordError>,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let runs = match args.run.name() {
        Some(name) => named(&root, &name, all)?,
        None => vec![only_running(&root)?],
    };
    let mut exit = Exit::Success;
    for run in &runs {
        let answer = ask(&root, run)?;
        // One of several may have come to its end meanwhile.
        if answer != Answer::Refused || runs.len() == 1 {
            exit = exit.worse(say(&root, run, answer, args.json, out)?);
        }
    }
    Ok(exit)
}

/// Says what came of it.
fn say(
    root: &ResultsRoot,
    run: &RunDir,
    answer: Answer,
    json: bool,
    out: &Out,
) -> Result<Exit, CommandError> {
    let asked = AskedRun::read(root, run, answer)?;
    let short = &asked.run.short;
    let what = match answer {
        Answer::Stopped | Answer::Cancelled | Answer::Paused => "is now",
        Answer::Unpaused => "goes on:",
        Answer::AlreadyTerminal => "had ended already:",
        Answer::AlreadyPaused => "was paused already:",
        Answer::NotPaused => "is not paused:",
        Answer::NoAnswer => "has not answered:",
        Answer::Refused => {
            return Err(CommandError::usage(format!(
                "run {short} is completed, so it cannot be cancelled"
            )));
        }
    };
    if json {
        out.document(&asked);
    } else {
        let standing = summary::headed(&asked.run, ":");
        let (done, planned) = (asked.run.counts.done.done(), asked.run.counts.planned);
        out.data(&format!("run {short} {what} {standing} {done} of {planned} done"));
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

/// The runs of this name. A run that waits for others of its group means the one whose turn it is.
fn named(root: &ResultsRoot, name: &str, all: bool) -> Result<Vec<RunDir>, CommandError> {
    let runs = match Named::find(root, name)? {
        Named::Group(list) => chosen(list.runs, name, all)?,
        Named::Run(run) => {
            let manifest = run.truth()?;
            let is_waiting = manifest.stage == Stage::Waiting && !manifest.status.is_terminal();
            match manifest.group.filter(|_| is_waiting) {
                Some(group) => chosen(RunList::read(root)?.of_group(&group.id).runs, name, false)?,
                None => return Ok(vec![run]),
            }
        }
    };
    let runs = runs.iter().map(|run| root.find(&run.run));
    Ok(runs.collect::<Result<_, _>>()?)
}

/// The run of a group whose turn it is; of `all`, those that can be cancelled, and first the one that ends those that wait.
fn chosen(
    mut runs: Vec<RunSummary>,
    name: &str,
    all: bool,
) -> Result<Vec<RunSummary>, CommandError> {
    runs.retain(|run| match all {
        true => run.status != RunStatus::Completed,
        false => run.status == RunStatus::Running,
    });
    runs.sort_by_key(|run| {
        let is_running = run.status == RunStatus::Running;
        (!is_running, run.stage == Stage::Waiting)
    });
    match runs.is_empty() {
        true if all => Err(CommandError::usage(
            "all runs of the group are completed, so none can be cancelled",
        )),
        true => Err(CommandError::usage(format!(
            "no run of the group `{name}` is running\nname one of its runs: `runner list --group {name}` shows them"
        ))),
        false => {
            runs.truncate(if all { usize::MAX } else { 1 });
            Ok(runs)
        }
    }
}

/// The only run that is running; of a group the one whose turn it is.
fn only_running(root: &ResultsRoot) -> Result<RunDir, CommandError> {
    let mut running = root.runs()?.runs;
    running.retain(|run| run.status == RunStatus::Running);
    let is_begun = |run: &RunHead| run.stage != Stage::Waiting;
    if running.iter().any(is_begun) {
        running.retain(is_begun);
    }
    match running.as_slice() {
        [run] => Ok(root.find(&run.id)?),
        [] => Err(CommandError::usage(format!(
            "no run is running in {}\n`runner list` shows all runs",
            root.path().display()
        ))),
        several => {
            let runs = several.iter();
            let names: String = runs.map(|run| format!("\n{}  {}", run.id, run.scenario)).collect();
            let count = several.len();
            Err(CommandError::usage(format!("{count} runs are running; name one of them:{names}")))
        }
    }
}
