//! `runner stop`, `cancel`, `pause` and `unpause`: requests to the process that works on a run.

use runner_model::exit::Exit;
use runner_record::{Answer, RecordError, RequestMode, ResultsRoot, RunDir, actor};
use runner_report::AskedRun;

use super::target::Target;
use crate::{
    args::RunArgs,
    text::{CommandError, Out, summary},
};

/// Stop a run; `resume` continues it
#[derive(clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Start no new trials, and let those in flight finish
    #[arg(long, conflicts_with = "kill")]
    drain: bool,
    /// Interrupt the trials in flight without a grace period
    #[arg(long)]
    kill: bool,
}

// A doc comment here would replace the help of `cancel` and `pause`.
#[derive(clap::Args)]
pub struct RequestArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The reason; it is stored in the run with your name
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn stop(args: &StopArgs, out: &Out) -> Result<Exit, CommandError> {
    let mode = match (args.drain, args.kill) {
        (true, _) => RequestMode::Drain,
        (_, true) => RequestMode::Kill,
        _ => RequestMode::Stop,
    };
    request(&args.request, mode, out)
}

pub fn request(args: &RequestArgs, mode: RequestMode, out: &Out) -> Result<Exit, CommandError> {
    let by = actor(args.reason.clone().filter(|reason| !reason.is_empty()));
    let is_cancel = mode == RequestMode::Cancel;
    send(&args.run, is_cancel, |root, run| root.ask(run, mode, &by), out)
}

pub fn unpause(args: &RunArgs, out: &Out) -> Result<Exit, CommandError> {
    send(args, false, ResultsRoot::unpause, out)
}

/// Sends a request to the runs that the arguments mean, and prints the answers.
fn send(
    args: &RunArgs,
    is_cancel: bool,
    request: impl Fn(&ResultsRoot, &RunDir) -> Result<Answer, RecordError>,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let runs = match args.run.name() {
        Some(name) if is_cancel => Target::find(&root, &name)?.open_to_cancel(&root)?,
        Some(name) => Target::find(&root, &name)?.open_active(&root)?,
        None => vec![Target::open_only_running(&root)?],
    };
    let mut exit = Exit::Success;
    for run in &runs {
        let answer = request(&root, run)?;
        // A run of a group may have completed since the list was read.
        if answer != Answer::Refused || runs.len() == 1 {
            exit = exit.worse(print_answer(&root, run, answer, args.json, out)?);
        }
    }
    Ok(exit)
}

fn print_answer(
    root: &ResultsRoot,
    run: &RunDir,
    answer: Answer,
    json: bool,
    out: &Out,
) -> Result<Exit, CommandError> {
    let asked = AskedRun::read(root, run, answer)?;
    let short = &asked.run.short;
    let result = match answer {
        Answer::Stopped | Answer::Cancelled | Answer::Paused => "is now",
        Answer::Unpaused => "continues:",
        Answer::AlreadyTerminal => "had already ended:",
        Answer::AlreadyPaused => "was already paused:",
        Answer::NotPaused => "is not paused:",
        Answer::NoAnswer => "did not respond:",
        Answer::Refused => {
            let problem = format!("run {short} is completed; there is nothing to cancel");
            return Err(CommandError::usage(problem));
        }
    };
    if json {
        out.document(&asked);
    } else {
        let status = summary::headed(&asked.run, ":");
        let (done, planned) = (asked.run.head.counts.done.done(), asked.run.head.counts.planned);
        out.data(&format!("run {short} {result} {status} {done} of {planned} done"));
    }
    if answer != Answer::NoAnswer {
        return Ok(Exit::Success);
    }
    let holder = run.holder().unwrap_or_default();
    out.warn(&format!(
        "process {} on {} works on the run and did not respond in time; it may be suspended (Ctrl-Z): try again, or end the process",
        holder.pid, holder.host
    ));
    Ok(Exit::Held)
}
