//! `runner prune`.

use crate::{
    cli::PruneArgs,
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Execution, Output},
    record::{Policy, Pruning, RecordError, Store},
    run,
};

/// Deletes what the policies name, or says what would be deleted.
pub(super) fn prune(args: &PruneArgs, output: &Output) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let policy = Policy {
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

    tell(&pruning, execution, args.json, output);
    Ok(status(&pruning.failures))
}

fn tell(pruning: &Pruning, execution: Execution, is_json: bool, output: &Output) {
    super::warn_unreadable(&pruning.unreadable, output);
    for (path, error) in &pruning.failures {
        let error = chain(error);
        output.warn(&format!("`{}` cannot be pruned: {error}", path.display()));
    }
    if is_json {
        output.data(&output::prune_json(pruning, execution));
    } else {
        output.data(&output::prune_text(pruning, execution));
        if execution == Execution::Dry {
            output.hint("nothing was deleted; `--no-dry-run` deletes");
        }
    }
}

fn status<T>(failures: &[(T, RecordError)]) -> ExitStatus {
    let is_held = |(_, error): &(T, RecordError)| matches!(error, RecordError::Held { .. });
    if failures.iter().any(is_held) {
        return ExitStatus::Busy;
    }
    match failures {
        [] => ExitStatus::Success,
        _ => ExitStatus::Storage,
    }
}
