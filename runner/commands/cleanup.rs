//! `runner cleanup`.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::show_warnings;
use crate::{
    cli::CleanupArgs,
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Output},
    record::{ClaimError, RecordError, RunEntry, Store, Swept},
    run,
    view::{CleanupReport, Execution},
};

/// Sweeps runs whose process has died, or says what a sweep would do.
pub(super) fn cleanup(args: &CleanupArgs, output: &Output) -> Result<ExitStatus, Error> {
    // Runs that cannot be looked at are warned of by the store.
    show_warnings(output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let now = run::wall_clock();
    let mut runs = store.sweepable(now).map_err(Error::record)?;
    let stale = args.stale_hours.unwrap_or_default();
    runs.retain(|swept| age(&swept.run, now) >= stale);

    if !args.no_dry_run {
        tell(&store, &runs, &[], Execution::Dry, args.json, output);
        return Ok(ExitStatus::Success);
    }
    let (swept, failures) = sweep(&store, runs, now);
    tell(
        &store,
        &swept,
        &failures,
        Execution::Real,
        args.json,
        output,
    );
    let is_taken = |(_, error): &(PathBuf, RecordError)| matches!(error, RecordError::Taken(_));
    Ok(match failures[..] {
        [] => ExitStatus::Success,
        _ if failures.iter().any(is_taken) => ExitStatus::Busy,
        _ => ExitStatus::Storage,
    })
}

/// Sweeps these runs; one that fails does not keep the others.
fn sweep(
    store: &Store,
    runs: Vec<Swept>,
    now: Timestamp,
) -> (Vec<Swept>, Vec<(PathBuf, RecordError)>) {
    let (mut swept, mut failures) = (Vec::new(), Vec::new());
    for run in runs {
        match store.claim(&run.run, now) {
            Ok(_) => swept.push(run),
            // Somebody else sweeps or resumes it.
            Err(ClaimError::Held { .. }) => {}
            Err(ClaimError::Taken(taken)) => failures.push((run.run.dir, taken.into())),
            Err(ClaimError::Record(error)) => failures.push((run.run.dir, error)),
        }
    }
    (swept, failures)
}

fn age(run: &RunEntry, now: Timestamp) -> Duration {
    let age = now.duration_since(run.started_at);
    age.try_into().unwrap_or_default()
}

fn tell(
    store: &Store,
    runs: &[Swept],
    failures: &[(PathBuf, RecordError)],
    execution: Execution,
    is_json: bool,
    output: &Output,
) {
    for (path, error) in failures {
        let error = chain(error);
        output.warn(&format!("`{}` cannot be swept: {error}", path.display()));
    }
    let report = CleanupReport::new(runs, failures, execution, run::wall_clock());
    if is_json {
        output.document(&report);
        return;
    }
    if runs.is_empty() && !failures.is_empty() {
        return;
    }
    if runs.is_empty() {
        output.talk("nothing to clean up");
        return;
    }
    let ids = store.short_ids();
    output.show(&output::cleanup_text(&report, &ids, output.columns()));
    if execution == Execution::Dry {
        output.hint("nothing was written; `--no-dry-run` writes");
    }
}
