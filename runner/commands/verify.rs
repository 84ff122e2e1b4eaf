//! `runner verify`.

use super::{Context, naming::Named};
use crate::{
    cli::VerifyArgs,
    error::{Error, ExitStatus},
    output,
    session::{self, Store},
};

/// Checks that nothing of a run is damaged.
pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let dir = Named::or_latest(args.run.as_deref(), context).locate(&store)?;
    let report = session::verify(&dir).map_err(Error::record)?;
    match args.json {
        true => context.output.document(&report),
        false => context.output.data(&output::verify_text(&report)),
    }
    Ok(match report.is_intact {
        true => ExitStatus::Success,
        false => ExitStatus::NotPassed,
    })
}
