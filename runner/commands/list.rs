//! `runner list`.

use super::{Surroundings, naming, session_log::SessionLog};
use crate::{
    cli::ListArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{Filter, RunEntry, Store},
    run,
};

/// Lists runs, newest first.
pub(super) fn list(
    args: &ListArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What the store warns of, such as a damaged `runner.db`, reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let filter = Filter {
        statuses: args.status.into_iter().collect(),
    };
    let mut list = store.runs(&filter).map_err(Error::record)?;
    list.runs.truncate(args.limit.unwrap_or(usize::MAX));

    super::warn_unreadable(&list.unreadable, output);
    let now = run::wall_clock();
    if args.json {
        output.data(&output::list_json(&list.runs, now));
    } else if list.runs.is_empty() {
        output.talk(&format!("no runs in `{}`", args.results.root.display()));
    } else {
        let ids = store.short_ids();
        output.data(&output::list_table(&list.runs, &ids, now, output.columns()));
        hint_at_resume(&list.runs, surroundings, output);
    }
    Ok(ExitStatus::Success)
}

/// Says how to go on with the newest run that has something left.
fn hint_at_resume(runs: &[RunEntry], surroundings: &Surroundings, output: &Output) {
    let mut open = runs.iter().filter(|run| run.is_resumable());
    let Some(newest) = open.next() else { return };
    let Some(command) = naming::resume_entry(newest, surroundings) else {
        return;
    };
    let line = output::resume_line(&command);
    output.hint(&match open.count() {
        0 => line,
        more => format!(
            "{line} (and {} in the same way)",
            output::plural(more as u64, "other run")
        ),
    });
}
