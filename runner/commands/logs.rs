//! `runner logs`.

use std::ops::ControlFlow;

use super::{Context, naming::Named};
use crate::{
    cli::LogsArgs,
    error::{Error, ExitStatus},
    output::{self, Follow, Reader},
    record::RunEntry,
    session::{self, Followed, RunRows, RunnerLog, SeenRow, Store, Waiting},
    view::{DocumentVersion, SpokenAttempts},
};

/// Prints the rows of a run, and those that come until it has ended if that was asked for.
pub(super) fn logs(args: &LogsArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = Named::or_latest(args.run.as_deref(), context).find(&store)?;
    if args.runner {
        return runner(&run, args.follow, context);
    }
    if let Some(glob) = args.trial.as_deref().or(args.trials.as_deref()) {
        return attempt_logs(&run, glob, args.json, context);
    }
    let mut follow = Follow::new(output.clone(), args.json);
    let mut see = |seen: SeenRow<'_>| {
        going_on(match seen {
            SeenRow::Row(seen) => follow.row(seen),
            SeenRow::Damaged(error) => {
                let reader = follow.flush();
                output.warn(&error.to_string());
                reader
            }
            SeenRow::UpToDate => match follow.flush() {
                Reader::Here => output.reader(),
                Reader::Gone => Reader::Gone,
            },
        })
    };
    let rows = &mut RunRows::new(&run, &mut see)?;
    let followed = look(rows, args.follow, context)?;
    follow.flush();
    if followed == Some(Followed::ToItsEnd) && args.follow {
        run.refresh().map_err(Error::record)?;
        let resume = context.resume_command(&run.dir, &run.id, run.status);
        follow.finish(&run, resume.as_deref());
    }
    Ok(ExitStatus::Success)
}

/// Prints what the attempts of the trials said that a glob matches: log, standard output, standard error.
fn attempt_logs(
    run: &RunEntry,
    glob: &str,
    is_json: bool,
    context: &Context,
) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let warn = |error: &dyn std::error::Error| output.warn(&error.to_string());
    let attempts = session::attempt_logs(run, glob, warn)?;
    if is_json {
        let document = SpokenAttempts {
            v: DocumentVersion,
            run: run.id.clone(),
            attempts: Vec::new(),
        };
        output.long_document(&document, SpokenAttempts::ATTEMPTS, attempts)?;
    } else {
        output::print_attempt_logs(attempts, output)?;
    }
    Ok(ExitStatus::Success)
}

/// Prints what the runner itself has written down of a run, and goes on with it until the run has ended if that was asked
/// for.
fn runner(run: &RunEntry, is_followed: bool, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let mut see = |text: &str| match output.log(text) {
        Reader::Here => going_on(output.reader()),
        Reader::Gone => ControlFlow::Break(()),
    };
    look(&mut RunnerLog::new(run, &mut see), is_followed, context)?;
    Ok(ExitStatus::Success)
}

/// Looks once, or until there is nothing more to see.
fn look<W: Waiting<Answer = Followed>>(
    waiting: &mut W,
    is_followed: bool,
    context: &Context,
) -> Result<Option<Followed>, Error> {
    let observe = &mut context.notices();
    match is_followed {
        true => session::block_on(waiting, &context.host, observe).map(Some),
        false => waiting.poll(observe),
    }
}

fn going_on(reader: Reader) -> ControlFlow<()> {
    match reader {
        Reader::Here => ControlFlow::Continue(()),
        Reader::Gone => ControlFlow::Break(()),
    }
}
