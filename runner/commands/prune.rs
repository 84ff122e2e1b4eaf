//! `runner prune`.

use std::collections::BTreeSet;

use crate::{
    cli::PruneArgs,
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Output},
    record::{Policy, Pruning, RecordError, RunEntry, RunId, Spared, Store},
    run,
    view::{Execution, PruneReport},
};

/// Deletes what the policies name, or says what would be deleted.
pub(super) fn prune(args: &PruneArgs, output: &Output) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = |run: &String| store.find(run).map(|run| run.id);
    let runs: Result<BTreeSet<RunId>, _> = args.runs.iter().map(named).collect();
    let policy = Policy {
        runs: runs.map_err(Error::find)?,
        statuses: args.status.clone(),
        older_than: args.older_than,
        keep_last: args.keep_last,
        max_bytes: args.max_size,
    };
    let now = run::wall_clock();
    let (pruning, execution) = if args.no_dry_run {
        (store.prune(&policy, now), Execution::Real)
    } else {
        (store.prunable(&policy, now), Execution::Dry)
    };
    let pruning = pruning.map_err(Error::record)?;

    tell(&store, &pruning, execution, args.json, output);
    Ok(status(&pruning, &policy))
}

fn tell(store: &Store, pruning: &Pruning, execution: Execution, is_json: bool, output: &Output) {
    super::warn_unreadable(&pruning.unreadable, output);
    for (path, error) in &pruning.failures {
        let error = chain(error);
        output.warn(&format!("`{}` cannot be pruned: {error}", path.display()));
    }
    let report = PruneReport::new(pruning, execution, run::wall_clock());
    if is_json {
        output.document(&report);
    } else {
        let text = output::prune_text(&report, &store.short_ids(), output.columns());
        output.show(&text);
        if report.is_dry_run {
            output.hint("nothing was deleted; `--no-dry-run` deletes");
            let resumable = report
                .runs
                .iter()
                .filter(|doomed| doomed.run.is_resumable());
            match resumable.count() {
                0 => {}
                1 => output.hint("one of these runs can still be resumed"),
                count => output.hint(&format!("{count} of these runs can still be resumed")),
            }
        }
    }
}

fn status(pruning: &Pruning, policy: &Policy) -> ExitStatus {
    let mut failures = pruning.failures.iter();
    if failures.any(|(_, error)| matches!(error, RecordError::Held { .. })) {
        return ExitStatus::Busy;
    }
    if !pruning.failures.is_empty() {
        return ExitStatus::Storage;
    }
    // Who names a run asks for that one; who states a policy takes what it comes to.
    let refused =
        |(run, spared): &(RunEntry, Spared)| policy.runs.contains(&run.id).then_some(*spared);
    match pruning.spared.iter().find_map(refused) {
        None => ExitStatus::Success,
        Some(Spared::Running | Spared::InUse) => ExitStatus::Busy,
        Some(Spared::NotYetSwept | Spared::Pinned | Spared::Newer | Spared::Link) => {
            ExitStatus::Usage
        }
    }
}
