//! `runner pause` and `runner unpause`.

use super::{Context, stop};
use crate::{
    cli::{PauseArgs, UnpauseArgs},
    error::{Error, ExitStatus},
    output,
    session::{self, Pause, PauseAnswer, PausedRun, Store},
    view::PausedDocument,
};

/// Pauses a run.
pub(super) fn pause(args: &PauseArgs, context: &Context) -> Result<ExitStatus, Error> {
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let request = Pause {
        run: stop::choose(args.run.as_deref(), context, &store)?,
        actor: context.host.actor(args.reason.as_deref()),
    };
    let paused = session::pause(&store, request, &context.host, &mut context.notices())?;
    Ok(tell(&paused, args.json, context))
}

/// Lets a run go on.
pub(super) fn unpause(args: &UnpauseArgs, context: &Context) -> Result<ExitStatus, Error> {
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let request = Pause {
        run: stop::choose(args.run.as_deref(), context, &store)?,
        actor: context.host.actor(None),
    };
    let paused = session::unpause(&store, request, &context.host, &mut context.notices())?;
    Ok(tell(&paused, args.json, context))
}

fn tell(paused: &PausedRun, is_json: bool, context: &Context) -> ExitStatus {
    let PausedRun { run, answer } = paused;
    let output = &context.output;
    match is_json {
        true => output.document(&PausedDocument::new(run, answer.as_str(), context.now())),
        false => output.show(&output::pause_text(run, *answer)),
    }
    if *answer != PauseAnswer::NoAnswer {
        return ExitStatus::Success;
    }
    output.warn(
        "the run's process is alive and has not answered; one that Ctrl-Z has stopped goes on with `fg`",
    );
    ExitStatus::Busy
}
