//! `runner resume`.

use super::{
    Surroundings,
    naming::Named,
    preview,
    watching::{self, Watching},
};
use crate::{
    cli::ResumeArgs,
    error::{Error, ExitStatus},
    output::Output,
    record::{RunEntry, Store},
    session::{self, Resume},
};

/// Finds a run that was cut short, and goes on with it.
pub(super) fn resume(
    args: ResumeArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let host = watching::host(surroundings, output)?;
    let mut watching = Watching::new(args.json, &args.talk, surroundings, output);
    let run = choose(&args, surroundings, output)?;
    let (is_dry, is_explained) = (args.dry_run || args.explain, args.explain);
    let request = Resume {
        run,
        overrides: args.options.0,
        secret_files: args.secrets.files,
        rerun: args.rerun,
        accept_changes: args.accept_changes,
        force: args.force,
    };
    if is_dry {
        let preview = session::preview_resume(&request, &host, &mut watching)?;
        return preview::show(&preview, is_explained, output);
    }
    let conclusion = session::resume(&request, &host, &mut watching)?;
    Ok(ExitStatus::of(&conclusion))
}

/// Finds the run that is meant.
fn choose(
    args: &ResumeArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<RunEntry, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    if let Some(named) = Named::of(args.from.as_deref(), surroundings) {
        return named.find(&store);
    }
    // What has failed is wanted of the run that was just looked at, which is mostly completed.
    let run = match args.rerun.is_some() || args.accept_changes {
        true => Named::or_latest(None, surroundings).find(&store)?,
        false => session::only_incomplete(&store)?,
    };
    output.talk(&format!("resuming {}", run.id));
    Ok(run)
}
