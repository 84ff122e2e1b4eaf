//! `list`: a line for each run.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    format::{self, pretty},
    runs::{run_json, worked},
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::record::{RunEntry, ShortIds};

/// A line for each run, in at most `width` characters; where there is no screen, all of everything.
pub fn list_table(
    runs: &[RunEntry],
    ids: &ShortIds,
    now: Timestamp,
    width: Option<usize>,
) -> String {
    let zone = TimeZone::system();
    let began = format!("began ({})", now.to_zoned(zone.clone()).strftime("%Z"));
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
    for run in runs {
        let standing = Standing::of(run);
        let began = run.started_at.to_zoned(zone.clone());
        table.row([
            Cell::new(run.id.as_str()).or(ids.of(&run.id)),
            standing.status_cell(),
            standing.verdict_cell(),
            run.scenario.as_str().into(),
            done(run).into(),
            Cell::new(began.strftime("%Y-%m-%d %H:%M:%S").to_string())
                .or(began.strftime("%m-%d %H:%M").to_string()),
            format::duration(worked(run, now)).into(),
            pin_mark(run).into(),
        ]);
    }
    table.fitted(width)
}

/// One document with all runs.
pub fn list_json(runs: &[RunEntry], now: Timestamp) -> String {
    let runs: Vec<_> = runs.iter().map(|run| run_json(run, now)).collect();
    pretty(&json!({ "v": 1, "runs": runs }))
}

fn done(run: &RunEntry) -> String {
    format!(
        "{}/{}",
        format::count(run.counts.done()),
        format::count(run.counts.planned)
    )
}

fn pin_mark(run: &RunEntry) -> &'static str {
    match run.pinned {
        Some(_) => "pinned",
        None => "",
    }
}
