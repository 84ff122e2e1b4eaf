//! What the trials of a run come to together: tests on providers, what to expect of tags and dimensions, what was measured,
//! the flaky and the slowest.

mod matrix;

use owo_colors::OwoColorize as _;

use super::{
    Output, format,
    table::{Column, Table},
};
use crate::{
    model::Outcome,
    view::{GroupStatistics, ReportTrial, RunReport, SpreadSummary},
};

use matrix::matrix_text;

/// How much of each part there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverviewRoom {
    /// Tests of the matrix, which is left out if there are more.
    tests: usize,
    groups: usize,
    flaky: usize,
    slowest: usize,
}

impl OverviewRoom {
    /// For a page of its own.
    pub(super) const PAGE: Self = Self {
        tests: 30,
        groups: 40,
        flaky: 20,
        slowest: 5,
    };
    /// For the end of a session, which is to fit on a screen with all else.
    pub(super) const SUMMARY: Self = Self {
        tests: 12,
        groups: 8,
        flaky: 3,
        slowest: 0,
    };
}

/// Prints the trials of a run together, or how each test came out on each provider.
pub fn print_overview(report: &RunReport, is_matrix: bool, output: &Output) {
    let width = output.columns();
    let text = match is_matrix {
        true => matrix_text(report, width),
        false => overview_text(report, OverviewRoom::PAGE, width),
    };
    if !text.is_empty() {
        output.show(&format!("\n{text}"));
    }
}

/// The trials of a run together, as much as there is room for; tables have at most `width` characters. Empty where there is
/// nothing to tell.
pub(super) fn overview_text(
    report: &RunReport,
    room: OverviewRoom,
    width: Option<usize>,
) -> String {
    let mut parts = Vec::new();
    let mut part = |title: &str, text: Option<String>| {
        if let Some(text) = text {
            parts.push(format!("{}\n{text}", title.bold()));
        }
    };
    part("tests", matrix::small(report, room.tests, width));
    part("what to expect", groups(report, room.groups, width));
    part("measured", measured(report, width));
    part("flaky", flaky(report, room.flaky));
    part("slowest", slowest(report, room.slowest, width));
    parts.join("\n\n")
}

/// Pass rates with their intervals, and what repeats, scores and metrics say.
fn groups(report: &RunReport, most: usize, width: Option<usize>) -> Option<String> {
    let all = report.head.statistics.iter();
    // What is the same as in the table of providers says nothing new.
    let is_new = |group: &&GroupStatistics| {
        group.of().is_some() || !group.attempts.is_empty() || group.score.is_some()
    };
    let groups: Vec<_> = all.filter(is_new).collect();
    if groups.is_empty() {
        return None;
    }
    let has_attempts = groups.iter().any(|group| !group.attempts.is_empty());
    let has_scores = groups.iter().any(|group| group.score.is_some());
    let mut columns = vec![
        Column::new("provider").cut(5, 6),
        Column::new("tests with").cut(6, 8),
        Column::new("passed").right(),
        Column::new("rate").right(),
        Column::new("95 %").right().go(4),
    ];
    if has_attempts {
        columns.push(Column::new("pass@k").right().go(2));
        columns.push(Column::new("pass^k").right().go(3));
    }
    if has_scores {
        columns.push(Column::new("score").right().go(1));
    }
    let mut table = Table::new(columns);
    for group in groups.iter().take(most) {
        let (low, high) = group.pass_rate_interval;
        let mut cells = vec![
            group.provider.as_str().into(),
            group.of().unwrap_or_else(|| "all tests".to_owned()).into(),
            format!("{}/{}", group.passed, group.trials).into(),
            percent(group.pass_rate.mean).into(),
            format!("{}–{}", percent(low), percent(high)).into(),
        ];
        if has_attempts {
            // Of as many attempts as there are repeats.
            let last = group.attempts.last();
            let chance = |of: fn(&crate::view::SeveralAttempts) -> f64, sign: char| {
                let text = last.map(|last| format!("{} {sign}{}", percent(of(last)), last.k));
                text.unwrap_or_default().into()
            };
            cells.push(chance(|several| several.any, '@'));
            cells.push(chance(|several| several.all, '^'));
        }
        if has_scores {
            cells.push(group.score.as_ref().map(spread).unwrap_or_default().into());
        }
        table.row(cells);
    }
    let mut text = table.fitted(width);
    if groups.len() > most {
        text += &more(groups.len() - most, "`runner report` has all");
    }
    Some(text)
}

/// The sums of metrics by provider.
fn measured(report: &RunReport, width: Option<usize>) -> Option<String> {
    let mut table = Table::new([
        Column::new("provider").cut(1, 6),
        Column::new("metric").cut(2, 8),
        Column::new("sum").right(),
        Column::new("unit"),
        Column::new("trials").right().go(0),
    ]);
    let mut is_empty = true;
    for provider in &report.head.providers {
        for metric in &provider.metrics {
            is_empty = false;
            table.row([
                provider.summary.provider.as_str().into(),
                metric.name.as_str().into(),
                format::number(metric.sum).into(),
                metric.unit.as_deref().unwrap_or_default().into(),
                format::count(metric.trials).into(),
            ]);
        }
    }
    (!is_empty).then(|| table.fitted(width))
}

fn flaky(report: &RunReport, most: usize) -> Option<String> {
    let flaky: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| trial.is_flaky)
        .collect();
    if flaky.is_empty() {
        return None;
    }
    let named = flaky.iter().take(most);
    let lines: Vec<_> = named
        .map(|trial| {
            let attempts = format::plural(trial.attempts.into(), "attempt");
            let trial = format::visible_line(&trial.trial);
            format!("{trial}, passed after {attempts}")
        })
        .collect();
    let mut text = lines.join("\n");
    if flaky.len() > most {
        text += &more(flaky.len() - most, "`runner show -E 'flaky()'` has all");
    }
    Some(text)
}

/// Of few trials everybody sees which was slowest.
fn slowest(report: &RunReport, most: usize, width: Option<usize>) -> Option<String> {
    let mut trials: Vec<&ReportTrial> = report.trials.iter().collect();
    trials.retain(|trial| trial.duration_ms.is_some());
    if most == 0 || trials.len() <= 2 * most {
        return None;
    }
    let place = |trial: &&ReportTrial| (std::cmp::Reverse(trial.duration()), trial.ordinal);
    trials.sort_by_key(place);
    let mut table = Table::new([
        Column::new("took").right(),
        Column::new("trial").cut(1, 8),
        Column::new("came to").go(0),
    ]);
    for trial in trials.iter().take(most) {
        let took = trial.duration().map(format::duration);
        table.row([
            took.unwrap_or_default().into(),
            trial.trial.as_str().into(),
            trial.outcome.map_or("", Outcome::as_str).into(),
        ]);
    }
    Some(table.fitted(width))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn spread(spread: &SpreadSummary) -> String {
    match spread.standard_error {
        Some(error) => format!(
            "{} ± {}",
            format::number(spread.mean),
            format::number(error)
        ),
        None => format::number(spread.mean),
    }
}

fn more(count: usize, where_all: &str) -> String {
    let text = format!("… and {} more: {where_all}", format::count(count as u64));
    format!("\n{}", text.dimmed())
}
