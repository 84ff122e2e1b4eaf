//! `runner stop`.

use super::{
    asking::{self, Outcome},
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
pub(super) fn stop(args: &StopArgs, output: &Output) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = asking::choose(args.run.as_deref(), &store)?;
    asking::settle(&store, &mut run)?;

    let outcome = if run.status != RunStatus::Running {
        Outcome::AlreadyTerminal
    } else if !asking::ask(&mut run, mode(args), output)? {
        Outcome::NoAnswer
    } else {
        asking::settle(&store, &mut run)?;
        match run.status {
            RunStatus::Completed => Outcome::AlreadyTerminal,
            RunStatus::Running
            | RunStatus::Failed
            | RunStatus::Incomplete
            | RunStatus::Cancelled => Outcome::Stopped,
        }
    };
    Ok(asking::tell(&run, outcome, args.json, output))
}

fn mode(args: &StopArgs) -> StopMode {
    match (args.drain, args.kill) {
        (true, _) => StopMode::Drain,
        (_, true) => StopMode::Kill,
        _ => StopMode::Stop,
    }
}
