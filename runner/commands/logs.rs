//! `runner logs`.

use std::ops::ControlFlow;

use super::{
    Surroundings,
    naming::{self, Named},
    trial_logs,
};
use crate::{
    cli::LogsArgs,
    error::{Error, ExitStatus},
    output::{Follow, Notices, Output, Reader},
    record::{RunEntry, Store},
    session::{self, Followed, Host, RunRows, RunnerLog, SeenRow, Waiting},
};

/// Prints the rows of a run, and those that come until it has ended if that was asked for.
pub(super) fn logs(
    args: &LogsArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;
    let host = &surroundings.host;
    if args.runner {
        return runner(&run, args.follow, host, output);
    }
    if let Some(glob) = args.trial.as_deref().or(args.trials.as_deref()) {
        return trial_logs::trials(&run, glob, args.json, output);
    }
    let mut follow = Follow::new(output.clone(), args.json);
    let mut see = |seen: SeenRow<'_>| {
        going_on(match seen {
            SeenRow::Row(seen) => follow.row(&seen.row, seen.line),
            SeenRow::Damaged(error) => {
                output.warn(&error.to_string());
                Reader::Here
            }
            SeenRow::UpToDate => output.reader(),
        })
    };
    let rows = &mut RunRows::new(&run, &mut see)?;
    if look(rows, args.follow, host, output)? == Some(Followed::ToItsEnd) && args.follow {
        run.refresh().map_err(Error::record)?;
        let resume = naming::resume_entry(&run, surroundings);
        follow.finish(&run, resume.as_deref());
    }
    Ok(ExitStatus::Success)
}

/// Prints what the runner itself has written down of a run, and goes on with it until the run has ended if that was asked
/// for.
fn runner(
    run: &RunEntry,
    is_followed: bool,
    host: &Host,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut see = |text: &str| match output.log(text) {
        Reader::Here => going_on(output.reader()),
        Reader::Gone => ControlFlow::Break(()),
    };
    look(
        &mut RunnerLog::new(run, &mut see),
        is_followed,
        host,
        output,
    )?;
    Ok(ExitStatus::Success)
}

/// Looks once, or until there is nothing more to see.
fn look<W: Waiting<Answer = Followed>>(
    waiting: &mut W,
    is_followed: bool,
    host: &Host,
    output: &Output,
) -> Result<Option<Followed>, Error> {
    let observe = &mut Notices(output.clone());
    match is_followed {
        true => session::block_on(waiting, host, observe).map(Some),
        false => waiting.poll(observe),
    }
}

fn going_on(reader: Reader) -> ControlFlow<()> {
    match reader {
        Reader::Here => ControlFlow::Continue(()),
        Reader::Gone => ControlFlow::Break(()),
    }
}
