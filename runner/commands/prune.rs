//! `runner prune`.

use std::collections::BTreeSet;

use super::Context;
use crate::{
    cli::PruneArgs,
    error::{Error, ExitStatus},
    output,
    record::{PrunePolicy, RunId},
    session::{self, Store},
    view::UpkeepMode,
};

/// Deletes what the policies name, or says what would be deleted.
pub(super) fn prune(args: &PruneArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = |run: &String| store.find(run).map(|run| run.id);
    let runs: Result<BTreeSet<RunId>, _> = args.runs.iter().map(named).collect();
    let mut policy = PrunePolicy {
        runs: runs.map_err(Error::find)?,
        statuses: args.status.clone(),
        older_than: args.older_than,
        keep_last: args.keep_last,
        max_bytes: args.max_size,
    };
    if !policy.says_anything()
        && let Some(kept) = session::retention_policy(&session::root_settings(store.root())?)
    {
        policy = kept;
        context.output.talk("by `[retention]` of the results root");
    }
    let mode = UpkeepMode::of(args.no_dry_run);
    let pruned = session::prune(&store, &policy, mode, context.now()).map_err(Error::record)?;
    output::print_pruned(&pruned, &store, args.json, &context.output);
    Ok(pruned.exit)
}
