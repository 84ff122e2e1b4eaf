//! `runner pin` and `runner unpin`.

use super::{Surroundings, naming};
use crate::{
    cli::{PinArgs, UnpinArgs},
    error::{Error, ExitStatus},
    output::Output,
    record::{Pinning, Store},
    run,
};

/// Pins a run.
pub(super) fn pin(
    args: PinArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let entry = naming::required(args.run.as_deref(), surroundings)?.find(&store)?;
    let pinning = entry
        .pin(args.reason, run::wall_clock())
        .map_err(Error::claim)?;
    output.talk(&match pinning {
        Pinning::Done => format!("{} is pinned", entry.id),
        Pinning::Already => format!("{} was pinned already", entry.id),
    });
    Ok(ExitStatus::Success)
}

/// Takes a pin away.
pub(super) fn unpin(
    args: &UnpinArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let entry = naming::required(args.run.as_deref(), surroundings)?.find(&store)?;
    let pinning = entry.unpin(run::wall_clock()).map_err(Error::claim)?;
    output.talk(&match pinning {
        Pinning::Done => format!("{} is no longer pinned", entry.id),
        Pinning::Already => format!("{} was not pinned", entry.id),
    });
    Ok(ExitStatus::Success)
}
