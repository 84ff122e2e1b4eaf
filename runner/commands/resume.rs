//! `runner resume`.

use std::io::IsTerminal as _;

use miette::miette;

use super::{
    Surroundings,
    live::{Around, Live, engine_options},
    session_log::SessionLog,
};
use crate::{
    cli::ResumeArgs,
    error::{Error, ExitStatus},
    model::{Counts, RunStatus},
    output::{Mode, Output, Report, resume_plan},
    record::{Claim, History, Opening, Rerun, RunEntry, RunReader, Store},
    run::{self, Overrides, Plan, StopSignals},
};

/// Goes on with a run in its own directory.
pub(super) fn resume(
    args: &ResumeArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let log = SessionLog::start(surroundings.log_filter.as_deref(), output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let run = choose(args, &store, output)?;

    let claim = store
        .claim(&run, run::wall_clock())
        .map_err(Error::claim)?;
    check_status(args, &claim)?;
    let plan = Plan::of_run(&claim, overrides(args)).map_err(Error::usage)?;
    let history = claim.history(args.rerun.as_ref()).map_err(Error::record)?;

    if args.dry_run || args.explain {
        return explain(args, &plan, &history, output);
    }
    if history.state.is_complete() {
        return nothing_left(&claim, &history, output);
    }
    let around = Around {
        signals: &signals,
        log: &log,
    };
    let opening = Opening {
        now: run::wall_clock(),
        opened_by: "resume",
        rerun: args.rerun.clone(),
        options: plan.options_json(),
    };
    let report = Report::new(output.clone(), mode(args), args.talk.verbose);
    let live = Live::begin(&plan, &around, report, |acks| claim.open(opening, acks))?;
    live.run(history, engine_options(surroundings, store.root()))
}
