//! `runner verify`.

use super::{Surroundings, naming::Named};
use crate::{
    cli::VerifyArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{Store, Verification},
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
    let verification = Verification::of(&dir).map_err(Error::record)?;

    output.data(&match args.json {
        true => output::verify_json(&dir, &verification),
        false => output::verify_text(&dir, &verification),
    });
    Ok(match verification.is_intact() {
        true => ExitStatus::Success,
        false => ExitStatus::NotPassed,
    })
}
