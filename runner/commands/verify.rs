//! `runner verify`.

use super::{Surroundings, naming::Named};
use crate::{
    cli::VerifyArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::Store,
    session,
};

/// Checks that nothing of a run is damaged.
pub(super) fn verify(
    args: &VerifyArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let named = Named::or_latest(args.run.as_deref(), surroundings);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let dir = named.told(store.locate(named.as_str()))?;
    let report = session::verify(&dir).map_err(Error::record)?;
    match args.json {
        true => output.document(&report),
        false => output.data(&output::verify_text(&report)),
    }
    Ok(match report.is_intact {
        true => ExitStatus::Success,
        false => ExitStatus::NotPassed,
    })
}
