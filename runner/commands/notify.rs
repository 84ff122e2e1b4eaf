//! `runner notify`.

use super::{Context, naming::Named};
use crate::{
    cli::NotifyArgs,
    error::{Error, ExitStatus},
    output,
    session::{self, Store},
};

/// Tells of a run's end whoever has not been told yet.
pub(super) fn notify(args: &NotifyArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::or_latest(args.run.as_deref(), context).find(&store)?;
    let report = session::notify_run(&run, args.again, &context.host)?;
    match args.json {
        true => context.output.document(&report),
        false => output::print_notified(&report, &context.output),
    }
    Ok(match report.is_delivered() {
        true => ExitStatus::Success,
        false => ExitStatus::NotPassed,
    })
}
