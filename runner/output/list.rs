//! `list`: a line for each run.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Output, format, next,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::Counts,
    record::{ShortIds, Store},
    session::{List, Listed},
    view::{RunList, RunSummary},
};

/// Prints the runs that were asked for, and how to go on with the newest that has something left; `default_root` is the
/// results root that a command need not name.
pub fn print_list(
    listed: &Listed,
    asked: &List,
    store: &Store,
    default_root: &Path,
    output: &Output,
) {
    let runs = &listed.list.runs;
    if runs.is_empty() {
        output.plain(&nothing(asked, listed.all, store.root()));
        return;
    }
    output.data(&list_table(
        &listed.list,
        &store.short_ids(),
        output.columns(),
    ));
    let mut open = runs.iter().filter(|run| run.is_resumable());
    let Some(newest) = open.next() else { return };
    let command = next::resume_command(&newest.dir, &newest.id, newest.status, default_root);
    if let Some(line) = command.as_deref().map(next::resume_line) {
        output.hint(&match open.count() {
            0 => line,
            more => format!(
                "{line} (and {} in the same way)",
                format::plural(more as u64, "other run")
            ),
        });
    }
}

/// Says that there are no runs, or none of those that were asked for.
fn nothing(asked: &List, all: usize, root: &Path) -> String {
    let root = format::path(root);
    if all == 0 {
        return format!("no runs in `{root}`");
    }
    let is_by_status = !asked.statuses.is_empty()
        && asked.verdict.is_none()
        && asked.scenario.is_none()
        && asked.since == Timestamp::MIN;
    let which = if is_by_status {
        "with that status"
    } else {
        "like that"
    };
    format!(
        "no runs {which} in `{root}` ({})",
        format::plural(all as u64, "other")
    )
}

/// A line for each run, in at most `width` characters; where there is no screen, all of everything.
fn list_table(list: &RunList, ids: &ShortIds, width: Option<usize>) -> String {
    let zone = TimeZone::system();
    let began = format!("began ({})", list.now.to_zoned(zone.clone()).strftime("%Z"));
    let mut table = Table::new([
        Column::new("run").brief(0),
        Column::new("status").brief(1),
        Column::new("verdict"),
        Column::new("scenario").cut(4, 12).cut(7, 6),
        Column::new("done").right().go(8),
        Column::new(began).brief(2).go(6),
        Column::new("took").right().go(5),
        Column::new("").go(3),
    ]);
    for run in &list.runs {
        let standing = Standing::from(run);
        let began = run.started_at.to_zoned(zone.clone());
        table.row([
            Cell::new(run.id.as_str()).or(ids.of(&run.id)),
            standing.status_cell(),
            standing.verdict_cell(),
            run.scenario.as_str().into(),
            done(run).into(),
            Cell::new(began.strftime("%Y-%m-%d %H:%M:%S").to_string())
                .or(began.strftime("%m-%d %H:%M").to_string()),
            format::duration(run.elapsed).into(),
            pin_mark(run).into(),
        ]);
    }
    table.fitted(width)
}

fn done(run: &RunSummary) -> String {
    let counts = Counts::from(run.counts);
    format!(
        "{}/{}",
        format::count(counts.done()),
        format::count(counts.planned)
    )
}

fn pin_mark(run: &RunSummary) -> &'static str {
    match run.pinned {
        Some(_) => "pinned",
        None => "",
    }
}
