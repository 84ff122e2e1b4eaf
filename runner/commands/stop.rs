//! `runner stop`.

use super::{Context, naming::Named};
use crate::{
    cli::StopArgs,
    error::{Error, ExitStatus},
    model::StopMode,
    output,
    record::RunEntry,
    session::{self, Stop, StopAnswer, Stopped, Store},
    view::EndedRun,
};

/// Asks a run to stop, and waits until it has.
pub(super) fn stop(args: &StopArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let request = Stop {
        run: choose(args.run.as_deref(), context, &store)?,
        mode: match (args.drain, args.kill) {
            (true, _) => StopMode::Drain,
            (_, true) => StopMode::Kill,
            _ => StopMode::Stop,
        },
        actor: context.host.actor(args.reason.as_deref()),
    };
    let stopped = session::stop(&store, request, &context.host, &mut context.notices())?;
    Ok(tell(&stopped, args.json, context))
}

/// Finds the run that is meant: the only one that is running or that somebody is about to go on with, if none is named.
pub(super) fn choose(
    run: Option<&str>,
    context: &Context,
    store: &Store,
) -> Result<RunEntry, Error> {
    match Named::of(run, context) {
        Some(named) => match named.group(store)? {
            Some(runs) => session::last_of(store, runs, &context.host),
            None => session::last_if_group(store, named.find(store)?, named.name, &context.host),
        },
        None => session::only_running(store),
    }
}

/// Says what came of a request to end a run.
pub(super) fn tell(stopped: &Stopped, is_json: bool, context: &Context) -> ExitStatus {
    let Stopped { run, answer } = stopped;
    let output = &context.output;
    if is_json {
        output.document(&EndedRun::new(run, answer.as_str(), context.now()));
    } else {
        output.show(&output::stop_text(run, *answer));
        if let Some(resume) = context.resume_command(&run.dir, &run.id, (run.status, run.reason)) {
            output.talk(&output::resume_line(&resume));
        }
    }
    if *answer != StopAnswer::NoAnswer {
        return ExitStatus::Success;
    }
    output.warn("the run's process is alive and has not answered; the request stays for it");
    ExitStatus::Busy
}
