//! `runner cancel`.

use super::{Context, naming::Named, stop};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    session::{self, Cancel, Store},
};

/// Stops a run or a group that nobody wants any more, or drops what was cut short.
pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let group = Named::of(args.run.as_deref(), context).map(|named| named.group(&store));
    let runs = match group.transpose()?.flatten() {
        Some(runs) => session::all_to_cancel(&store, runs, &context.host)?,
        None => vec![stop::choose(args.run.as_deref(), context, &store)?],
    };
    let mut status = ExitStatus::Success;
    for run in runs {
        let actor = context.host.actor(args.reason.as_deref());
        let request = Cancel { run, actor };
        let dropped = session::cancel(&store, request, &context.host, &mut context.notices())?;
        status = status.worse(stop::tell(&dropped, args.json, context));
    }
    Ok(status)
}
