//! `runner stop`.

use super::{
    Surroundings,
    naming::{self, Named},
    show_warnings,
};
use crate::{
    cli::StopArgs,
    error::{Error, ExitStatus},
    model::StopMode,
    output::{self, Notices, Output},
    record::{RunEntry, Store},
    run,
    session::{self, Stop, StopAnswer, Stopped},
};

/// Asks a run to stop, and waits until it has.
pub(super) fn stop(
    args: &StopArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    show_warnings(output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let host = &surroundings.host;
    let request = Stop {
        run: choose(args.run.as_deref(), surroundings, &store)?,
        mode: mode(args),
        actor: host.actor(args.reason.as_deref()),
    };
    let stopped = session::stop(&store, request, host, &mut Notices(output.clone()))?;
    Ok(tell(&stopped, args.json, surroundings, output))
}

/// Finds the run that is meant: the only one that is running or that somebody is about to go on with, if none is named.
pub(super) fn choose(
    run: Option<&str>,
    surroundings: &Surroundings,
    store: &Store,
) -> Result<RunEntry, Error> {
    match Named::of(run, surroundings) {
        Some(named) => named.find(store),
        None => session::only_running(store),
    }
}

/// Says what came of a request to end a run.
pub(super) fn tell(
    stopped: &Stopped,
    is_json: bool,
    surroundings: &Surroundings,
    output: &Output,
) -> ExitStatus {
    let Stopped { run, answer } = stopped;
    if is_json {
        output.data(&output::stop_json(run, answer.as_str(), run::wall_clock()));
    } else {
        output.show(&output::stop_text(run, phrase(*answer)));
        if let Some(resume) = naming::resume_entry(run, surroundings) {
            output.talk(&output::resume_line(&resume));
        }
    }
    if *answer != StopAnswer::NoAnswer {
        return ExitStatus::Success;
    }
    output.warn("the run's process is alive and has not answered; the request stays for it");
    ExitStatus::Busy
}

/// What people are told beside how the run stands now, if that does not say it.
fn phrase(answer: StopAnswer) -> &'static str {
    match answer {
        StopAnswer::Stopped | StopAnswer::Cancelled => "",
        StopAnswer::AlreadyTerminal => "had ended already:",
        StopAnswer::NoAnswer => "has not answered:",
    }
}

fn mode(args: &StopArgs) -> StopMode {
    match (args.drain, args.kill) {
        (true, _) => StopMode::Drain,
        (_, true) => StopMode::Kill,
        _ => StopMode::Stop,
    }
}
