//! `runner prune`.

use std::collections::BTreeSet;

use crate::{
    cli::PruneArgs,
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Output},
    record::{Policy, RunId, Store},
    run,
    session::{self, Pruned},
    view::Execution,
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
    let execution = match args.no_dry_run {
        true => Execution::Real,
        false => Execution::Dry,
    };
    let pruned = session::prune(&store, &policy, execution, run::wall_clock());
    let pruned = pruned.map_err(Error::record)?;
    tell(&store, &pruned, args.json, output);
    Ok(pruned.exit)
}

fn tell(store: &Store, pruned: &Pruned, is_json: bool, output: &Output) {
    super::warn_unreadable(&pruned.pruning.unreadable, output);
    for (path, error) in &pruned.pruning.failures {
        let error = chain(error);
        output.warn(&format!("`{}` cannot be pruned: {error}", path.display()));
    }
    let report = &pruned.report;
    if is_json {
        output.document(report);
    } else {
        let text = output::prune_text(report, &store.short_ids(), output.columns());
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
