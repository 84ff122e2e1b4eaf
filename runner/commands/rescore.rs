//! `runner rescore`.

use super::{Context, naming::Named};
use crate::{
    cli::RescoreArgs,
    error::{Error, ExitStatus},
    output,
    record::LineError,
    session::{self, Rescore, Store},
};

/// Judges the stored outputs of a run again, and runs nothing.
pub(super) fn rescore(args: RescoreArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let request = Rescore {
        run: Named::or_latest(args.run.as_deref(), context).find(&store)?,
        filter: args.filter.parse()?,
        scenario: args.scenario,
        is_dry_run: args.dry_run,
        asks_graders: !args.no_graders,
        secret_files: args.secrets.files,
    };
    let warn = |error: &LineError| output.warn(&error.to_string());
    let (host, mut notices) = (context.session_host()?, context.notices());
    let rescored = session::rescore(&request, &host, &mut notices, warn)?;
    match args.json {
        true => output.document(&rescored.report),
        false => output.show(&output::rescored_text(&rescored.report, args.explain)),
    }
    if args.dry_run {
        if !args.json {
            output.hint("nothing was written; without `--dry-run` it is");
        }
        return Ok(ExitStatus::Success);
    }
    Ok(ExitStatus::of(&rescored.conclusion))
}
