//! `list`: a line for each run.

use jiff::tz::TimeZone;

use super::{
    format,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::{
    model::Counts,
    record::ShortIds,
    view::{RunList, RunSummary},
};

/// A line for each run, in at most `width` characters; where there is no screen, all of everything.
pub fn list_table(list: &RunList, ids: &ShortIds, width: Option<usize>) -> String {
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
