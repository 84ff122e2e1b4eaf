//! The head of a page for the runs of a group: what all came to, and a line for each.

use maud::{Markup, html};

use super::parts::{Anchors, wide};
use crate::{
    model::{count, plural},
    report::words::{millis, outcome_words},
    view::RunReport,
};

/// How many of the scenarios passed, in words.
pub(super) fn title(reports: &[RunReport]) -> String {
    let passed = reports.iter().filter(|report| has_passed(report)).count();
    let of = plural(reports.len() as u64, "scenario");
    format!("{} of {of} passed", count(passed as u64))
}

pub(super) fn head(reports: &[RunReport]) -> Markup {
    let group = reports.first().and_then(|report| report.head.run.group());
    let class = match reports.iter().all(has_passed) {
        true => "verdict passed",
        false => "verdict failed",
    };
    html! {
        h1 { "Group " (group.unwrap_or_default()) }
        p class=(class) { (title(reports)) }
        (wide("Scenarios", &overview(reports)))
    }
}

fn has_passed(report: &RunReport) -> bool {
    report.head.verdict.as_str() == "passed"
}

/// A line for each run, which leads to its part of the page.
fn overview(reports: &[RunReport]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "scenario" }
                th scope="col" { "result" }
                @for name in ["passed", "failed", "errors", "timeouts", "skipped", "trials", "took"] {
                    th scope="col" class="n" { (name) }
                }
            } }
            tbody { @for (place, report) in (1..).zip(reports) {
                @let head = &report.head;
                @let counts = &head.counts;
                tr {
                    th scope="row" { a href={ "#" (Anchors::of_run(place).of("run")) } { (head.scenario) } }
                    td class=(head.verdict.as_str()) { (outcome_words(report)) }
                    @for number in [counts.passed, counts.failed, counts.error, counts.timeout, counts.skipped, counts.planned] {
                        td class="n" { (count(number)) }
                    }
                    td class="n" { (millis(head.worked_ms)) }
                }
            } }
        }
    }
}
