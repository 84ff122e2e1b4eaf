//! `runner stop`, `cancel`, `pause`, `unpause` and `label`: requests to the process that works on a run.

use std::{sync::mpsc, thread, time::Duration};

use runner_model::units::{grouped, plural};
use runner_model::{Reason, RunStatus, exit::Exit, visible::visible_line};
use runner_record::{
    Answer, InFlight, LabelChange, RecordError, RequestMode, ResultsRoot, RunDir, actor,
};
use runner_report::{RequestResult, run_facts};

use super::target::Target;
use crate::args::{self, DocumentArgs, RunArgs};
use crate::text::{CommandError, Out, style, summary};

/// The end of the help of these commands.
pub const WITHOUT_RUN: &str = "Without RUN, the only run that is running gets the request. A run that waits for others counts only if no other is running.";

/// Time before a request lists the attempts that it waits for.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Attempts that such a message names.
const MAX_NAMED: usize = 5;

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

/// Set or remove labels of a run, also while it is running
#[derive(clap::Args)]
pub struct LabelArgs {
    /// Id or a unique part of it, path, or `latest`
    #[arg(value_name = "RUN")]
    run: String,
    /// Labels to set or to replace
    #[arg(value_name = "KEY=VALUE", value_parser = args::label, required_unless_present = "remove")]
    set: Vec<(String, String)>,
    /// Remove a label; repeatable
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    #[command(flatten)]
    document: DocumentArgs,
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
    request: impl Fn(&ResultsRoot, &RunDir) -> Result<Answer, RecordError> + Sync,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.document.root.open()?;
    let runs = match args.run.name() {
        Some(name) if mode == Some(RequestMode::Cancel) => {
            Target::find(&root, &name)?.open_to_cancel(&root)?
        }
        Some(name) => Target::find(&root, &name)?.open_active(&root)?,
        None => vec![Target::open_only_running(&root)?],
    };
    let mut exit = Exit::Success;
    for run in &runs {
        let root = run.results_root();
        let before = RequestResult::read(&root, run, Answer::Removed)?;
        let was_running = before.run.head.status == RunStatus::Running;
        let answered = thread::scope(|scope| {
            let (done, ends) = mpsc::channel::<()>();
            let asking = scope.spawn(|| {
                let _done = done;
                request(&root, run)
            });
            if ends.recv_timeout(SILENT_FOR) == Err(mpsc::RecvTimeoutError::Timeout) {
                print_awaited(run, mode, out);
            }
            asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let answer = match answered {
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
            let problem = format!("there is nothing to cancel: {}", answer_line(&asked, false));
            return Err(CommandError::usage(style::plain(&problem)));
        }
        let line = answer_line(&asked, was_running);
        exit = exit.worse(print_answer(
            run,
            &asked,
            &line,
            while_suspended(mode),
            args.document.json,
            out,
        ));
    }
    Ok(exit)
}

pub fn label(args: &LabelArgs, out: &Out) -> Result<Exit, CommandError> {
    let change = LabelChange {
        set: args.set.iter().cloned().collect(),
        remove: args.remove.iter().cloned().collect(),
    };
    let run = args.document.root.open()?.find(&args.run)?;
    let root = run.results_root();
    let result = root.label(&run, &change, &actor(None))?;
    let labelled = RequestResult::read(&root, &run, result)?;
    let line = answer_line(&labelled, false);
    let suspended = "; no label was changed; to let it continue";
    Ok(print_answer(&run, &labelled, &line, suspended, args.document.json, out))
}

/// Prints the answer to a request, or the process that did not respond. `while_suspended` follows if that is suspended.
fn print_answer(
    run: &RunDir,
    asked: &RequestResult,
    line: &str,
    while_suspended: &str,
    is_json: bool,
    out: &Out,
) -> Exit {
    let holder = (asked.result == Answer::NoAnswer).then(|| run.holder().unwrap_or_default());
    let problem = holder.map(|holder| {
        let [problem, remedy] = run_facts::no_answer(&asked.run.short, &holder);
        let effect = if holder.is_suspended() { while_suspended } else { "" };
        format!("{problem}{effect}: {remedy}")
    });
    out.document_or(is_json, asked, |_| out.data(problem.as_deref().unwrap_or(line)));
    let Some(problem) = problem else { return Exit::Success };
    if is_json {
        out.warn(&problem);
    }
    Exit::Held
}

/// Lists the attempts in flight that a stop waits for.
fn print_awaited(run: &RunDir, mode: Option<RequestMode>, out: &Out) {
    let live = run.live().filter(|_| !matches!(mode, None | Some(RequestMode::Pause)));
    let Some(attempts) = live.map(|live| live.in_flight).filter(|attempts| !attempts.is_empty())
    else {
        return;
    };
    let mut names: Vec<_> = attempts.iter().take(MAX_NAMED).map(InFlight::name).collect();
    if let Some(more @ 1..) = attempts.len().checked_sub(MAX_NAMED) {
        names.push(format!("{more} more"));
    }
    let count = plural(attempts.len() as u64, "attempt", "attempts");
    out.talk(&format!("waiting for {count}: {}", visible_line(&names.join(", "))));
    if mode != Some(RequestMode::Kill) {
        out.hint(&format!("to interrupt them: {}", run.command("stop", &["--kill"])));
    }
}

/// Returns the effect of a request on a suspended process, and the start of the next step.
fn while_suspended(mode: Option<RequestMode>) -> &'static str {
    match mode {
        None => "; to let it continue",
        Some(RequestMode::Pause) => "; it is not paused; to let it continue",
        Some(RequestMode::Cancel) => "; it is cancelled when it continues",
        Some(_) => "; it stops when it continues",
    }
}

/// Formats the answer to a request. `was_running` is of the time before it.
fn answer_line(RequestResult { result, run, .. }: &RequestResult, was_running: bool) -> String {
    let short = &run.short;
    let counts = &run.head.counts;
    let [done, planned] = [counts.done.done(), counts.done.needed_of(counts.planned)].map(grouped);
    let change = |verb| format!("{verb} run {short}: {done} of {planned} done");
    let state = |words| {
        let status = summary::headed(run, ":");
        format!("run {short} {words}: {status} {done} of {planned} done")
    };
    match result {
        // A stopped `rescore` leaves status and reason of the run.
        Answer::Stopped if run.head.reason != Some(Reason::Stopped) => {
            let status = summary::headed(run, ":");
            format!(
                "stopped the rescore of run {short}, which stays as it was: {status} {done} of {planned} done"
            )
        }
        Answer::Stopped => change("stopped"),
        Answer::Cancelled => change("cancelled"),
        Answer::Removed => format!("stopped run {short}, which had no trial yet and is removed"),
        Answer::Paused => change("paused"),
        Answer::Unpaused => change("continued"),
        Answer::AlreadyTerminal if was_running => state("ended meanwhile"),
        Answer::AlreadyTerminal | Answer::Refused => state("has already ended"),
        Answer::AlreadyPaused => state("was already paused"),
        Answer::NotPaused => state("is not paused"),
        Answer::Labelled => {
            let labels = run.head.labels.iter().map(|(key, value)| format!("{key}={value}"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            match &*visible_line(&labels) {
                "" => format!("run {short} has no labels"),
                labels => format!("labels of run {short}: {labels}"),
            }
        }
        Answer::Stopping => state("is ending"),
        Answer::NoAnswer => state("did not respond"),
    }
}

#[cfg(test)]
#[path = "../tests/control.rs"]
mod tests;
