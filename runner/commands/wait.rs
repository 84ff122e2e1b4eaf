//! `runner wait`.

use super::{Context, naming::Named};
use crate::{
    cli::WaitArgs,
    error::{Error, ExitStatus},
    output::Follow,
    session::{self, Store, Wait},
};

/// Waits until a run has ended, and exits with its code.
pub(super) fn wait(args: &WaitArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = Named::or_latest(args.run.as_deref(), context).find(&store)?;
    let mut wait = Wait::new(run);
    let conclusion = session::block_on(&mut wait, &context.host, &mut context.notices())?;

    let run = wait.run();
    let resume = context.resume_command(&run.dir, &run.id, (run.status, run.reason));
    Follow::new(context.output.clone(), args.json).finish(run, resume.as_deref());
    Ok(ExitStatus::of(&conclusion))
}
