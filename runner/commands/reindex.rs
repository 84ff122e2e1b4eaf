//! `runner reindex`.

use crate::{
    cli::ReindexArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::Store,
};

/// Makes `runner.db` anew.
pub(super) fn reindex(args: &ReindexArgs, output: &Output) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let reindexed = store.reindex().map_err(Error::record)?;
    super::warn_unreadable(&reindexed.unreadable, output);
    for (run, problem) in &reindexed.refused {
        output.warn(&format!(
            "run `{run}` is left out, and lists read its manifest instead: {problem}; `runner verify {run}` looks for damage"
        ));
    }
    output.data(&output::reindex_text(&reindexed));
    Ok(ExitStatus::Success)
}
