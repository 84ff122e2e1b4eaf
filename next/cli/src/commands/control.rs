//! `runner stop`, `cancel`, `pause` and `unpause`: what one process asks of the one that works on a run.

use runner_model::{RunStatus, Stage, exit::Exit, row::Actor};
use runner_record::{Answer, RecordError, RequestMode, ResultsRoot, RunDir, RunHead, actor};
use runner_report::{AskedRun, RunSummary};

use super::group;
use crate::{
    args::RunArgs,
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

pub fn cancel(args: &AskArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.run.root.open()?;
    match group::of(&root, &args.run.run)? {
        Some(members) => cancel_group(&root, members, args, out),
        None => ask(args, RequestMode::Cancel, out),
    }
}

/// Cancels all runs of a group that are not completed: first the one whose turn it is, which ends those that wait.
fn cancel_group(
    root: &ResultsRoot,
    mut members: Vec<RunSummary>,
    args: &AskArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
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
        let run = root.find(&member.run)?;
        let answer = root.ask(&run, RequestMode::Cancel, &by)?;
        // The last one may have come to its end meanwhile.
        match say(root, &run, answer, args.run.json, out) {
            Err(_) if answer == Answer::Refused => {}
            said => exit = exit.worse(said?),
        }
    }
    Ok(exit)
}

pub fn unpause(args: &RunArgs, out: &Out) -> Result<Exit, CommandError> {
    tell(args, ResultsRoot::unpause, out)
}

pub fn ask(args: &AskArgs, mode: RequestMode, out: &Out) -> Result<Exit, CommandError> {
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
    let root = args.root.open()?;
    let run = match args.run.name() {
        Some(name) => named(&root, &name)?,
        None => only_running(&root)?,
    };
    let answer = ask(&root, &run)?;
    say(&root, &run, answer, args.json, out)
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
    if answer == Answer::Refused {
        return Err(CommandError::usage(format!(
            "run {short} is completed, so it cannot be cancelled"
        )));
    }
    if json {
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
fn named(root: &ResultsRoot, name: &str) -> Result<RunDir, CommandError> {
    let members = match group::find(root, name)? {
        Some(members) => members,
        None => {
            let run = root.find(name)?;
            let manifest = run.truth()?;
            let is_waiting = manifest.stage == Stage::Waiting && !manifest.status.is_terminal();
            let group = manifest.group.filter(|_| is_waiting);
            match group.map(|group| group::find(root, &group.id)) {
                Some(members) => members?.unwrap_or_default(),
                None => return Ok(run),
            }
        }
    };
    let mut running = members.iter().filter(|run| !run.status.is_terminal());
    let first = running.clone().next();
    let begun = running.find(|run| run.stage != Stage::Waiting);
    match begun.or(first) {
        Some(run) => Ok(root.find(&run.run)?),
        None => Err(CommandError::usage(format!(
            "no run of the group `{name}` is running\nname one of its runs: `runner list --group {name}` shows them"
        ))),
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
            let names: String = runs
                .map(|run| format!("\n{}  {}", run.id, run.scenario))
                .collect();
            let count = several.len();
            Err(CommandError::usage(format!(
                "{count} runs are running; name one of them:{names}"
            )))
        }
    }
}
