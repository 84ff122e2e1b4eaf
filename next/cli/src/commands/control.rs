//! `runner stop`, `cancel`, `pause` and `unpause`: requests to the process that works on a run.

use runner_model::{exit::Exit, units::grouped};
use runner_record::{Answer, RecordError, RequestMode, ResultsRoot, RunDir, actor};
use runner_report::RequestResult;

use super::target::Target;
use crate::args::RunArgs;
use crate::text::{CommandError, Out, style, summary};

/// The end of the help of these commands.
pub const WITHOUT_RUN: &str = "Without RUN, the only run that is running gets the request. A run that waits for others counts only if no other is running.";

/// Stop a run; `resume` continues it
#[derive(clap::Args)]
#[command(after_help = WITHOUT_RUN)]
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

/// The arguments of `cancel` and `pause`.
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
    send(&args.run, Some(mode), |root, run| root.ask(run, mode, &by), out)
}

pub fn unpause(args: &RunArgs, out: &Out) -> Result<Exit, CommandError> {
    send(args, None, ResultsRoot::unpause, out)
}

/// Sends a request to the runs that the arguments name, and prints the answers. `None` ends a pause.
fn send(
    args: &RunArgs,
    mode: Option<RequestMode>,
    request: impl Fn(&ResultsRoot, &RunDir) -> Result<Answer, RecordError>,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let runs = match args.run.name() {
        Some(name) if mode == Some(RequestMode::Cancel) => {
            Target::find(&root, &name)?.open_to_cancel(&root)?
        }
        Some(name) => Target::find(&root, &name)?.open_active(&root)?,
        None => vec![Target::open_only_running(&root)?],
    };
    let mut exit = Exit::Success;
    for run in &runs {
        let root = run.results_root()?;
        let before = RequestResult::read(&root, run, Answer::Removed)?;
        let answer = match request(&root, run) {
            Err(RecordError::Removed { .. })
                if mode.is_some_and(|mode| mode != RequestMode::Pause) =>
            {
                Answer::Removed
            }
            answer => answer?,
        };
        // A run of a group may have completed since the list was read.
        if answer == Answer::Refused && runs.len() > 1 {
            continue;
        }
        let asked = match answer {
            Answer::Removed => before,
            answer => RequestResult::read(&root, run, answer)?,
        };
        if answer == Answer::Refused {
            let problem = format!("there is nothing to cancel: {}", answer_line(&asked));
            return Err(CommandError::usage(style::plain(&problem)));
        }
        out.document_or(args.json, &asked, |asked| out.data(&answer_line(asked)));
        if answer == Answer::NoAnswer {
            let holder = run.holder().unwrap_or_default();
            let process = match holder.pid {
                0 => "another program holds the lock of the run: end that program".into(),
                pid if holder.is_suspended() => format!(
                    "process {pid} is suspended and responds when it continues: `fg` in its terminal, or kill -CONT {pid}"
                ),
                pid => format!(
                    "process {pid} on {} works on the run and did not respond in time: try again, or end the process",
                    holder.host
                ),
            };
            out.warn(&process);
            exit = exit.worse(Exit::Held);
        }
    }
    Ok(exit)
}

fn answer_line(RequestResult { result, run, .. }: &RequestResult) -> String {
    let short = &run.short;
    let [done, planned] = [run.head.counts.done.done(), run.head.counts.planned].map(grouped);
    let change = |verb| format!("{verb} run {short}: {done} of {planned} done");
    let state = |words| {
        let status = summary::headed(run, ":");
        format!("run {short} {words}: {status} {done} of {planned} done")
    };
    match result {
        Answer::Stopped => change("stopped"),
        Answer::Cancelled => change("cancelled"),
        Answer::Removed => format!("stopped run {short}, which had no trial yet and is removed"),
        Answer::Paused => change("paused"),
        Answer::Unpaused => change("continued"),
        Answer::AlreadyTerminal | Answer::Refused => state("has already ended"),
        Answer::AlreadyPaused => state("was already paused"),
        Answer::NotPaused => state("is not paused"),
        Answer::NoAnswer => state("did not respond"),
    }
}

#[cfg(test)]
#[path = "../tests/control.rs"]
mod tests;
