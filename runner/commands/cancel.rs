//! `runner cancel`.

use miette::miette;

use super::{
    asking::{self, Outcome},
    session_log::SessionLog,
};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    model::{RunStatus, StopMode},
    output::Output,
    record::{RunEntry, Store},
    run,
};

/// Stops a run that nobody wants any more, or drops one that was cut short.
pub(super) fn cancel(args: &CancelArgs, output: &Output) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = asking::choose(args.run.as_deref(), &store)?;
    asking::settle(&store, &mut run)?;

    let outcome = if run.status != RunStatus::Running {
        drop_ended(&store, &mut run)?
    } else if !asking::ask(&mut run, StopMode::Cancel, output)? {
        Outcome::NoAnswer
    } else {
        asking::settle(&store, &mut run)?;
        match run.status {
            RunStatus::Completed => Outcome::AlreadyTerminal,
            RunStatus::Cancelled => Outcome::Cancelled,
            // It ended for another reason, or died, before it saw the request.
            RunStatus::Failed | RunStatus::Incomplete | RunStatus::Running => {
                drop_ended(&store, &mut run)?
            }
        }
    };
    Ok(asking::tell(&run, outcome, args.json, output))
}

/// Drops a run that nobody works on.
fn drop_ended(store: &Store, run: &mut RunEntry) -> Result<Outcome, Error> {
    match run.status {
        RunStatus::Cancelled => return Ok(Outcome::AlreadyTerminal),
        RunStatus::Completed => {
            return Err(Error::usage(miette!(
                "run `{}` is completed: there is nothing to cancel",
                run.id
            )));
        }
        RunStatus::Failed | RunStatus::Incomplete | RunStatus::Running => {}
    }
    let now = run::wall_clock();
    let claim = store.claim(run, now).map_err(Error::claim)?;
    claim.cancel(now).map_err(Error::cancel)?;
    run.refresh().map_err(Error::record)?;
    Ok(Outcome::Cancelled)
}
