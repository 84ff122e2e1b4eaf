//! `runner cleanup`.

use super::show_warnings;
use crate::{
    cli::CleanupArgs,
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Output},
    record::Store,
    run,
    session::{self, Cleaned},
    view::Execution,
};

/// Sweeps runs whose process has died, or says what a sweep would do.
pub(super) fn cleanup(args: &CleanupArgs, output: &Output) -> Result<ExitStatus, Error> {
    // Runs that cannot be looked at are warned of by the store.
    show_warnings(output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let execution = match args.no_dry_run {
        true => Execution::Real,
        false => Execution::Dry,
    };
    let age = args.stale_hours.unwrap_or_default();
    let cleaned = session::cleanup(&store, age, execution, run::wall_clock());
    let cleaned = cleaned.map_err(Error::record)?;
    tell(&store, &cleaned, args.json, output);
    Ok(cleaned.exit)
}

fn tell(store: &Store, cleaned: &Cleaned, is_json: bool, output: &Output) {
    for (path, error) in &cleaned.failures {
        let error = chain(error);
        output.warn(&format!("`{}` cannot be swept: {error}", path.display()));
    }
    let report = &cleaned.report;
    if is_json {
        output.document(report);
        return;
    }
    if report.runs.is_empty() && !cleaned.failures.is_empty() {
        return;
    }
    if report.runs.is_empty() {
        output.talk("nothing to clean up");
        return;
    }
    let ids = store.short_ids();
    output.show(&output::cleanup_text(report, &ids, output.columns()));
    if report.is_dry_run {
        output.hint("nothing was written; `--no-dry-run` writes");
    }
}
