//! `runner list`.

use super::session_log::SessionLog;
use crate::{
    cli::ListArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{Filter, Store},
};

/// Lists runs, newest first.
pub(super) fn list(args: &ListArgs, output: &Output) -> Result<ExitStatus, Error> {
    // What the store warns of, such as a damaged `runner.db`, reaches the screen this way.
    SessionLog::start(None, output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let filter = Filter {
        statuses: args.status.into_iter().collect(),
    };
    let mut list = store.runs(&filter).map_err(Error::record)?;
    list.runs.truncate(args.limit.unwrap_or(usize::MAX));

    super::warn_unreadable(&list.unreadable, output);
    if args.json {
        output.data(&output::list_json(&list.runs));
    } else if list.runs.is_empty() {
        output.talk(&format!("no runs in `{}`", args.results.root.display()));
    } else {
        output.data(&output::list_table(&list.runs));
    }
    Ok(ExitStatus::Success)
}
