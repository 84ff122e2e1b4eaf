//! `runner cancel`.

use miette::miette;

use super::{
    Surroundings,
    asking::{self, Answer, Outcome},
    session_log::SessionLog,
};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    model::{Actor, RunStatus, StopMode},
    output::Output,
    record::{ClaimError, RunEntry, Store},
    run,
};

/// Stops a run that nobody wants any more, or drops one that was cut short.
pub(super) fn cancel(
    args: &CancelArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = asking::choose(args.run.as_deref(), surroundings, &store)?;
    let actor = asking::actor(args.reason.as_deref());

    let outcome = loop {
        let answer = asking::ask(&mut run, StopMode::Cancel, &actor, output)?;
        if answer == Answer::Missing {
            break Outcome::NoAnswer;
        }
        asking::settle(&store, &mut run)?;
        let has_answered = matches!(answer, Answer::Ended { session } if session <= run.sessions);
        match run.status {
            RunStatus::Completed if has_answered => break Outcome::AlreadyTerminal,
            RunStatus::Cancelled if has_answered => break Outcome::Cancelled,
            _ => {}
        }
        // It had ended before, or for another reason, or died, before anybody saw the request.
        if let Some(outcome) = drop_ended(&store, &mut run, &actor)? {
            break outcome;
        }
    };
    Ok(asking::tell(&run, outcome, args.json, surroundings, output))
}

/// Drops a run that nobody works on; `None` if somebody does again.
fn drop_ended(store: &Store, run: &mut RunEntry, actor: &Actor) -> Result<Option<Outcome>, Error> {
    match run.status {
        RunStatus::Cancelled => return Ok(Some(Outcome::AlreadyTerminal)),
        RunStatus::Completed => {
            return Err(Error::usage(miette!(
                "run `{}` is completed: there is nothing to cancel",
                run.id
            )));
        }
        RunStatus::Failed | RunStatus::Incomplete | RunStatus::Running => {}
    }
    let now = run::wall_clock();
    match store.claim(run, now) {
        Ok(claim) => claim.cancel(actor, now).map_err(Error::cancel)?,
        Err(ClaimError::Held { .. }) if run.is_held() => return Ok(None),
        Err(error) => return Err(Error::claim(error)),
    };
    run.refresh().map_err(Error::record)?;
    Ok(Some(Outcome::Cancelled))
}
