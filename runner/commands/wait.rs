//! `runner wait`.

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    cli::WaitArgs,
    error::{Error, ExitStatus},
    output::{Follow, Notices, Output},
    record::Store,
    session::{self, Wait},
};

/// Waits until a run has ended, and exits with its code.
pub(super) fn wait(
    args: &WaitArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;
    let mut wait = Wait::new(run);
    let observe = &mut Notices(output.clone());
    let conclusion = session::block_on(&mut wait, &surroundings.host, observe)?;

    let resume = naming::resume_entry(wait.run(), surroundings);
    Follow::new(output.clone(), args.json).finish(wait.run(), resume.as_deref());
    Ok(ExitStatus::of(&conclusion))
}
