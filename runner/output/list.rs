//! `list`: a line for each run.

use std::{panic::resume_unwind, path::Path, thread};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter, tz::TimeZone};

use super::{
    Output, format, next,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::{Counts, Reason},
    record::{ShortIds, Store},
    session::{List, Listed},
    view::{RunList, RunSummary},
};

/// From how many runs on their lines are made by two threads.
const MANY: usize = 1024;

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
    let screen = output.columns().map(|width| Screen {
        width,
        ids: store.short_ids(),
    });
    output.data(&list_table(&listed.list, screen.as_ref()));
    let mut open = runs.iter().filter(|run| run.is_resumable());
    let Some(newest) = open.next() else { return };
    let mut command =
        next::resume_at_a_glance(&newest.dir, &newest.id, newest.status, default_root);
    if let (Some(command), Some(Reason::Budget)) = (&mut command, newest.reason) {
        command.push_str(" --budget METRIC=VALUE");
    }
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
        && asked.group.is_none()
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

/// A screen, on which things may have to be said shorter.
struct Screen {
    width: usize,
    ids: ShortIds,
}

/// A line for each of some runs, by their whole ids: on a screen of so many characters, if there is one.
pub fn list_text(list: &RunList, width: Option<usize>) -> String {
    let screen = width.map(|width| Screen {
        width,
        ids: ShortIds::default(),
    });
    list_table(list, screen.as_ref())
}

/// A line for each run, as wide as the screen at most; where there is none, all of everything.
fn list_table<'a>(list: &'a RunList, screen: Option<&'a Screen>) -> String {
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
    let row = |run| list_row(run, &zone, screen).into();
    let rows = |runs: &'a [RunSummary]| runs.iter().map(row).collect::<Vec<Vec<_>>>();
    let (newer, older) = list.runs.split_at(match list.runs.len() {
        many @ MANY.. => many / 2,
        few => few,
    });
    let (newer, older) = thread::scope(|scope| {
        let making =
            (!older.is_empty()).then(|| thread::Builder::new().spawn_scoped(scope, || rows(older)));
        let newer = rows(newer);
        let older = match making {
            Some(Ok(thread)) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None | Some(Err(_)) => rows(older),
        };
        (newer, older)
    });
    table.rows(newer);
    table.rows(older);
    table.fitted(screen.map(|screen| screen.width))
}

fn list_row<'a>(run: &'a RunSummary, zone: &TimeZone, screen: Option<&'a Screen>) -> [Cell<'a>; 8] {
    const CLOCK: DateTimePrinter = DateTimePrinter::new().separator(b' ').precision(Some(0));
    let standing = Standing::from(run);
    let began = run.started_at.to_zoned(zone.clone());
    let mut run_cell = Cell::new(run.id.as_str());
    let mut began_cell = Cell::new(CLOCK.datetime_to_string(&began.datetime()));
    if let Some(screen) = screen {
        run_cell = run_cell.or(screen.ids.of(&run.id));
        began_cell = began_cell.or(began.strftime("%m-%d %H:%M").to_string());
    }
    [
        run_cell,
        standing.status_cell(),
        standing.verdict_cell(),
        run.scenario.as_str().into(),
        done(run).into(),
        began_cell,
        format::duration(run.elapsed).into(),
        pin_mark(run).into(),
    ]
}

fn done(run: &RunSummary) -> String {
    let counts = Counts::from(run.counts);
    let mut done = format::count(counts.done());
    done.push('/');
    done + &format::count(counts.planned)
}

fn pin_mark(run: &RunSummary) -> &'static str {
    match run.pinned {
        Some(_) => "pinned",
        None => "",
    }
}
