//! `runner cancel`.

use super::{Context, stop};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    session::{self, Cancel, Store},
};

/// Stops a run that nobody wants any more, or drops one that was cut short.
pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let request = Cancel {
        run: stop::choose(args.run.as_deref(), context, &store)?,
        actor: context.host.actor(args.reason.as_deref()),
    };
    let dropped = session::cancel(&store, request, &context.host, &mut context.notices())?;
    Ok(stop::tell(&dropped, args.json, context))
}
