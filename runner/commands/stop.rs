//! `runner stop`.

use super::{
    Surroundings,
    asking::{self, Answer, Outcome},
    session_log::SessionLog,
};
use crate::{
    cli::StopArgs,
    error::{Error, ExitStatus},
    model::{RunStatus, StopMode},
    output::Output,
    record::Store,
};

/// Asks a run to stop, and waits until it has.
pub(super) fn stop(
    args: &StopArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = asking::choose(args.run.as_deref(), surroundings, &store)?;
    let actor = asking::actor(args.reason.as_deref());

    let outcome = loop {
        let answer = asking::ask(&mut run, mode(args), &actor, output)?;
        if answer != Answer::Missing {
            asking::settle(&store, &mut run)?;
        }
        break match (answer, run.status) {
            (Answer::Missing, _) => Outcome::NoAnswer,
            // Somebody has taken it since.
            (Answer::Idle, RunStatus::Running) => continue,
            // Nothing was left to stop, or whoever held it has opened no session.
            (Answer::Idle, _) | (_, RunStatus::Completed) => Outcome::AlreadyTerminal,
            (Answer::Ended { session }, _) if run.sessions < session => Outcome::AlreadyTerminal,
            (Answer::Ended { .. }, _) => Outcome::Stopped,
        };
    };
    Ok(asking::tell(&run, outcome, args.json, surroundings, output))
}

fn mode(args: &StopArgs) -> StopMode {
    match (args.drain, args.kill) {
        (true, _) => StopMode::Drain,
        (_, true) => StopMode::Kill,
        _ => StopMode::Stop,
    }
}
