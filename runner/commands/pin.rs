//! `runner pin` and `runner unpin`.

use super::{Context, naming::Named};
use crate::{
    cli::{PinArgs, UnpinArgs},
    error::{Error, ExitStatus},
    record::Pinning,
    session::{self, Store},
};

/// Pins a run.
pub(super) fn pin(args: &PinArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::required(args.run.as_deref(), context)?.find(&store)?;
    let pinning = session::pin(&run, args.reason.clone(), context.now())?;
    context.output.talk(&match pinning {
        Pinning::Done => format!("{} is pinned", run.id),
        Pinning::Already => format!("{} was pinned already", run.id),
    });
    Ok(ExitStatus::Success)
}

/// Takes a pin away.
pub(super) fn unpin(args: &UnpinArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::required(args.run.as_deref(), context)?.find(&store)?;
    let pinning = session::unpin(&run, context.now())?;
    context.output.talk(&match pinning {
        Pinning::Done => format!("{} is no longer pinned", run.id),
        Pinning::Already => format!("{} was not pinned", run.id),
    });
    Ok(ExitStatus::Success)
}
