//! `runner list`.

use jiff::Timestamp;

use super::{Surroundings, naming, show_warnings};
use crate::{
    cli::{ListArgs, Since},
    error::{Error, ExitStatus},
    output::{self, Output},
    record::Store,
    run,
    session::{self, List},
    view::RunSummary,
};

/// Lists runs, newest first.
pub(super) fn list(
    args: &ListArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    // What the store warns of, such as a damaged `runner.db`, reaches the screen this way.
    show_warnings(output);
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let now = run::wall_clock();
    let listed = session::list(&store, &asked(args, now), now).map_err(Error::record)?;
    let runs = &listed.list.runs;

    super::warn_unreadable(&listed.unreadable, output);
    if args.json {
        output.document(&listed.list);
    } else if runs.is_empty() {
        output.plain(&nothing(args, listed.all));
    } else {
        let ids = store.short_ids();
        output.data(&output::list_table(&listed.list, &ids, output.columns()));
        hint_at_resume(runs, surroundings, output);
    }
    Ok(ExitStatus::Success)
}

/// Which runs are asked for.
fn asked(args: &ListArgs, now: Timestamp) -> List {
    List {
        statuses: args.status.clone(),
        verdict: args.verdict,
        scenario: args.scenario.clone(),
        since: match args.since {
            None => Timestamp::MIN,
            Some(Since::At(since)) => since,
            Some(Since::Ago(age)) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        },
        limit: args.limit.unwrap_or(usize::MAX),
    }
}

/// Says that there are no runs, or none of those that were asked for.
fn nothing(args: &ListArgs, all: usize) -> String {
    let root = args.results.root.display();
    if all == 0 {
        return format!("no runs in `{root}`");
    }
    let is_by_status = !args.status.is_empty()
        && args.verdict.is_none()
        && args.scenario.is_none()
        && args.since.is_none();
    let which = if is_by_status {
        "with that status"
    } else {
        "like that"
    };
    format!(
        "no runs {which} in `{root}` ({})",
        output::plural(all as u64, "other")
    )
}

/// Says how to go on with the newest run that has something left.
fn hint_at_resume(runs: &[RunSummary], surroundings: &Surroundings, output: &Output) {
    let mut open = runs.iter().filter(|run| run.is_resumable());
    let Some(newest) = open.next() else { return };
    let Some(command) = naming::resume(&newest.dir, &newest.id, newest.status, surroundings) else {
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
