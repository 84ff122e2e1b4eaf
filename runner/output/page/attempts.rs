//! The attempts at a trial, side by side.

use std::collections::BTreeSet;

use crate::{
    model::CheckVerdict,
    output::{
        failure, format,
        table::{Cell, Column, Table},
        tone::Tone,
    },
    record::Row,
    view::PageAttempt,
};

/// What an attempt's cell of a line says.
type Says<'a, 'c> = &'a dyn Fn(&'c Row<'static>) -> Cell<'c>;

/// A table with a column for each attempt. Where there is too little room, the earlier ones go first.
pub(super) fn table<'c>(attempts: &'c [PageAttempt], width: Option<usize>) -> String {
    let columns = (0_u8..).zip(attempts).map(|(place, attempt)| {
        let number = attempt.said.name.number;
        let is_last = usize::from(place) + 1 == attempts.len();
        let column = Column::new(format!("attempt {number}")).cut(place.min(200), 12);
        match is_last {
            true => column,
            false => column.go(201_u8.saturating_add(place)),
        }
    });
    let columns: Vec<_> = [Column::new("")].into_iter().chain(columns).collect();
    let mut table = Table::new(columns);
    let mut line = |name: &'c str, says: Says<'_, 'c>| {
        let cells: Vec<_> = attempts
            .iter()
            .map(|attempt| attempt.row.as_ref().map_or(Cell::new(""), says))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            let name = Cell::new(name);
            table.row([name].into_iter().chain(cells).collect::<Vec<_>>());
        }
    };
    line("outcome", &|row| {
        Cell::new(row.outcome.as_str()).painted(match row.outcome.is_bad() {
            true => Tone::Bad,
            false => Tone::Plain,
        })
    });
    line("session", &|row| row.session.to_string().into());
    line("took", &|row| format::duration(row.duration()).into());
    line("score", &|row| {
        row.score.map_or_else(String::new, format::number).into()
    });
    line("error", &|row| {
        let error = row.error.as_ref();
        error.map_or_else(String::new, failure::error_name).into()
    });
    line("says", &|row| {
        let message = row.error.as_ref().map(|error| &error.message);
        message
            .or(row.summary.as_ref())
            .map_or("", |text| text)
            .into()
    });
    for name in names(attempts, |row| {
        row.checks.iter().map(|check| &*check.name).collect()
    }) {
        line(name, &|row| {
            let check = row.checks.iter().find(|check| check.name == name);
            check.map_or(Cell::new(""), |check| match check.verdict {
                CheckVerdict::Pass => Cell::new("✓").painted(Tone::Good),
                CheckVerdict::Fail => Cell::new("✗").painted(Tone::Bad),
                CheckVerdict::Skip => Cell::new("-"),
            })
        });
    }
    for name in names(attempts, |row| {
        row.metrics.iter().map(|metric| &*metric.name).collect()
    }) {
        line(name, &|row| {
            let metric = row.metrics.iter().find(|metric| metric.name == name);
            metric
                .map_or_else(String::new, |metric| format::number(metric.value))
                .into()
        });
    }
    line("memory", &|row| format::size(row.usage.peak_memory).into());
    table.fitted(width.map(|width| width.saturating_sub(2)))
}

/// The names that something has in any of the attempts, in order.
fn names<'a>(
    attempts: &'a [PageAttempt],
    of: impl Fn(&'a Row<'static>) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let rows = attempts.iter().filter_map(|attempt| attempt.row.as_ref());
    rows.flat_map(of).collect()
}
