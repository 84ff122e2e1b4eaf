//! `runner cancel`.

use super::{Surroundings, show_warnings, stop};
use crate::{
    cli::CancelArgs,
    error::{Error, ExitStatus},
    output::{Notices, Output},
    record::Store,
    session::{self, Cancel},
};

/// Stops a run that nobody wants any more, or drops one that was cut short.
pub(super) fn cancel(
    args: &CancelArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What a sweep has to say of the run reaches the screen this way.
    show_warnings(output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let host = &surroundings.host;
    let request = Cancel {
        run: stop::choose(args.run.as_deref(), surroundings, &store)?,
        actor: host.actor(args.reason.as_deref()),
    };
    let dropped = session::cancel(&store, request, host, &mut Notices(output.clone()))?;
    Ok(stop::tell(&dropped, args.json, surroundings, output))
}
