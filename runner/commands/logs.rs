//! `runner logs`.

use std::ops::ControlFlow;

use miette::miette;

use super::{Context, naming::Named};
use crate::{
    cli::LogsArgs,
    error::{Error, ExitStatus},
    output::{self, Follow, FollowTrials, Reader},
    record::RunEntry,
    session::{
        self, Followed, RunRows, RunnerLog, SeenOfTrial, SeenRow, Store, TrialLogs, Waiting,
    },
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
        return attempt_logs(&run, glob, args, context);
    }
    let mut follow = Follow::new(output.clone(), args.json);
    let mut see = |seen: SeenRow<'_>| going_on(follow.see(&seen));
    let rows = &mut RunRows::new(&run, &mut see)?;
    let followed = look(rows, args.follow, context)?;
    follow.flush();
    if followed == Some(Followed::ToItsEnd) && args.follow {
        run.refresh().map_err(Error::record)?;
        let resume = context.resume_command(&run.dir, &run.id, (run.status, run.reason));
        follow.finish(&run, resume.as_deref());
    }
    Ok(ExitStatus::Success)
}

/// Prints what the attempts of the trials said that a glob matches: log, standard output, standard error.
fn attempt_logs(
    run: &RunEntry,
    glob: &str,
    args: &LogsArgs,
    context: &Context,
) -> Result<ExitStatus, Error> {
    let output = &context.output;
    if args.follow && args.json {
        return Err(Error::usage(miette!(
            "`--json` prints what was said as one document, which `--follow` has no end of"
        )));
    }
    if args.follow {
        let mut follow = FollowTrials::new(output.clone());
        let mut see = |seen: SeenOfTrial<'_>| going_on(follow.see(&seen));
        look(&mut TrialLogs::new(run, glob, &mut see)?, true, context)?;
        return Ok(ExitStatus::Success);
    }
    let warn = |error: &dyn std::error::Error| output.warn(&error.to_string());
    let attempts = session::attempt_logs(run, glob, warn)?;
    output::print_attempt_logs(&run.id, attempts, args.json, output)?;
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
