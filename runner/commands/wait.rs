//! `runner wait`.

use std::{thread, time::Duration};

use super::{
    Surroundings,
    naming::{self, Named},
};
use crate::{
    cli::WaitArgs,
    error::{Error, ExitStatus},
    model::RunStatus,
    output::{Follow, Output},
    record::{RecordError, RunEntry, RunReader, Store},
};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until a run has ended, and exits with its code.
pub(super) fn wait(
    args: &WaitArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;

    until_it_has_ended(&mut run).map_err(Error::record)?;
    let exit = ExitStatus::of(run.status, run.reason, run.signal, run.verdict);
    let resume = naming::resume_entry(&run, surroundings);
    Follow::new(output.clone(), args.json).finish(&run, resume.as_deref());
    Ok(exit)
}

fn until_it_has_ended(run: &mut RunEntry) -> Result<(), RecordError> {
    while run.status == RunStatus::Running {
        if RunReader::open(&run.dir)?.is_alive() {
            thread::sleep(LOOK_EVERY);
        } else {
            run.refresh()?;
        }
    }
    Ok(())
}
