//! `runner list`.

use jiff::Timestamp;

use super::{Surroundings, naming, show_warnings};
use crate::{
    cli::{ListArgs, Since},
    error::{Error, ExitStatus},
    output::{self, Output},
    record::{Filter, RunEntry, Store},
    run,
    view::RunList,
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
    let mut list = store.runs(&Filter::default()).map_err(Error::record)?;
    let all = list.runs.len();
    list.runs.retain(|run| is_wanted(args, run, now));
    list.runs.truncate(args.limit.unwrap_or(usize::MAX));

    super::warn_unreadable(&list.unreadable, output);
    let shown = RunList::new(&list.runs, now);
    if args.json {
        output.document(&shown);
    } else if list.runs.is_empty() {
        output.plain(&nothing(args, all));
    } else {
        let ids = store.short_ids();
        output.data(&output::list_table(&shown, &ids, output.columns()));
        hint_at_resume(&list.runs, surroundings, output);
    }
    Ok(ExitStatus::Success)
}

/// Tells whether a run is one of those that were asked for.
fn is_wanted(args: &ListArgs, run: &RunEntry, now: Timestamp) -> bool {
    let since = match args.since {
        None => Timestamp::MIN,
        Some(Since::At(since)) => since,
        Some(Since::Ago(age)) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
    };
    let scenario = args.scenario.as_ref();
    (args.status.is_empty() || args.status.contains(&run.status))
        && args.verdict.is_none_or(|verdict| verdict == run.verdict)
        && scenario.is_none_or(|glob| glob.is_match(&run.scenario))
        && run.started_at >= since
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
