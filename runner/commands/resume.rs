//! `runner resume`.

use miette::miette;

use super::{Context, detach, fleet, naming::Named, queue, screen::SessionScreen};
use crate::{
    cli::{RerunArg, ResumeArgs},
    error::{Error, ExitStatus},
    filter::Filter,
    model::RunStatus,
    record::RunEntry,
    session::{self, RerunChoice, Resume, Store},
};

/// Finds a run that was cut short, and goes on with it.
pub(super) fn resume(args: &ResumeArgs, context: &Context) -> Result<ExitStatus, Error> {
    if let Some(named) = Named::of(args.from.as_deref(), context) {
        let store = Store::existing(&args.results.root).map_err(Error::record)?;
        if let Some(runs) = named.group(&store)? {
            return group(runs, args, context);
        }
    }
    if args.detach && !context.is_detached {
        return detach::start(context);
    }
    let host = context.session_host()?;
    let mut screen = SessionScreen::new(args.json, &args.verbosity, context);
    let run = choose(args, context)?;
    let request = request(run, args)?;
    if args.queue {
        queue::enqueue_resume(&request, args.turn.priority, args.json, context)?;
        return Ok(ExitStatus::Success);
    }
    if args.dry_run || args.explain {
        let preview = session::preview_resume(&request, &host, &mut screen)?;
        return context.show_preview(&preview, args.json, args.explain);
    }
    let conclusion = session::resume(&request, &host, &mut screen)?;
    Ok(ExitStatus::of(&conclusion))
}

/// Goes on with those runs of a group that have something left, or with all of them where trials are to run again.
fn group(runs: Vec<RunEntry>, args: &ResumeArgs, context: &Context) -> Result<ExitStatus, Error> {
    if args.detach {
        return Err(Error::usage(miette!(
            help = "name one run",
            "`--detach` is for one run, and a group of {} is named",
            runs.len()
        )));
    }
    let host = context.session_host()?;
    let mut screen = SessionScreen::of_group(args.json, &args.verbosity, context);
    let id = runs[0].id.group().unwrap_or_default().to_owned();
    let is_again = args.rerun.is_some() || args.accept_changes;
    let (left, other): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| match run.status {
        RunStatus::Incomplete | RunStatus::Failed => true,
        RunStatus::Cancelled => args.force,
        RunStatus::Completed | RunStatus::Running => is_again,
    });
    let left = left.into_iter();
    let requests: Vec<Resume> = left
        .map(|run| request(run, args))
        .collect::<Result<_, _>>()?;
    if args.dry_run || args.explain {
        for request in &requests {
            let preview = session::preview_resume(request, &host, &mut screen)?;
            context.show_preview(&preview, args.json, args.explain)?;
        }
        return Ok(ExitStatus::Success);
    }
    if args.queue {
        for request in &requests {
            queue::enqueue_resume(request, args.turn.priority, args.json, context)?;
        }
        return Ok(ExitStatus::Success);
    }
    if requests.is_empty() {
        context.output.talk("nothing is left to run");
    }
    Ok(session::resume_group(&id, requests, &other, &host, &mut screen).status)
}

fn request(run: RunEntry, args: &ResumeArgs) -> Result<Resume, Error> {
    Ok(Resume {
        run,
        overrides: args.options.0.clone(),
        secret_files: args.secrets.files.clone(),
        rerun: args.rerun.clone().map(choice).transpose()?,
        accept_changes: args.accept_changes,
        force: args.force,
        engine: fleet::choice(args.spread.clone())?,
    })
}

fn choice(arg: RerunArg) -> Result<RerunChoice, Error> {
    Ok(match arg {
        RerunArg::Rule(rerun) => RerunChoice::Rule(rerun),
        RerunArg::Filter(text) => RerunChoice::Filter(Filter::parse(&text).map_err(Error::usage)?),
    })
}

/// Finds the run that is meant.
fn choose(args: &ResumeArgs, context: &Context) -> Result<RunEntry, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    if let Some(named) = Named::of(args.from.as_deref(), context) {
        return named.find_to_claim(&store);
    }
    // What has failed is wanted of the run that was just looked at, which is mostly completed.
    let run = match args.rerun.is_some() || args.accept_changes {
        true => Named::or_latest(None, context).find_to_claim(&store)?,
        false => session::only_incomplete(&store)?,
    };
    context.output.talk(&format!("resuming {}", run.id));
    Ok(run)
}
