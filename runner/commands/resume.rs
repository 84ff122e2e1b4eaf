//! `runner resume`.

use super::{Context, naming::Named, screen::SessionScreen};
use crate::{
    cli::{RerunArg, ResumeArgs},
    error::{Error, ExitStatus},
    filter::Filter,
    record::RunEntry,
    session::{self, RerunChoice, Resume, Store},
};

/// Finds a run that was cut short, and goes on with it.
pub(super) fn resume(args: ResumeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let host = context.session_host()?;
    let mut screen = SessionScreen::new(args.json, &args.verbosity, context);
    let run = choose(&args, context)?;
    let request = Resume {
        run,
        overrides: args.options.0,
        secret_files: args.secrets.files,
        rerun: args.rerun.map(choice).transpose()?,
        accept_changes: args.accept_changes,
        force: args.force,
    };
    if args.dry_run || args.explain {
        let preview = session::preview_resume(&request, &host, &mut screen)?;
        return context.show_preview(&preview, args.json, args.explain);
    }
    let conclusion = session::resume(&request, &host, &mut screen)?;
    Ok(ExitStatus::of(&conclusion))
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
