//! What the trials say about those to come: by provider, by tag and by dimension.

use maud::{Markup, html};

use super::parts::{measured, wide};
use crate::{
    model::{count, number, plural},
    report::words::percent,
    view::{GroupStatistics, RunReport, SpreadSummary},
};

/// Groups that are in the page.
const MAX_GROUPS: usize = 200;

pub(super) fn statistics(report: &RunReport) -> Markup {
    let all = &report.head.statistics;
    // What is the same as in the table of providers says nothing new.
    let is_new = |group: &&GroupStatistics| {
        group.of().is_some()
            || !group.attempts.is_empty()
            || group.score.is_some()
            || !group.metrics.is_empty()
    };
    let groups: Vec<_> = all.iter().filter(is_new).collect();
    let has_attempts = groups.iter().any(|group| !group.attempts.is_empty());
    let has_means = groups
        .iter()
        .any(|group| group.score.is_some() || !group.metrics.is_empty());
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "provider" }
                th scope="col" { "tests with" }
                @for name in ["tests", "trials", "pass rate (95 %)"] { th scope="col" class="n" { (name) } }
                @if has_attempts { th scope="col" { "of several attempts, one passes · all pass" } }
                @if has_means { th scope="col" { "means ± standard error" } }
            } }
            tbody { @for group in groups.iter().take(MAX_GROUPS) { (line(group, has_attempts, has_means)) } }
        }
    };
    html! {
        @if !groups.is_empty() {
            h2 { "What to expect" }
            (wide("What to expect", &table))
            @if groups.len() > MAX_GROUPS { p { "… and " (groups.len() - MAX_GROUPS) " more; the JSONL report has more." } }
            p class="soft" {
                "Chances of several attempts are pass@k and pass^k, estimated without bias. Standard errors take the "
                "repeats of a test as one cluster."
            }
        }
    }
}

fn line(group: &GroupStatistics, has_attempts: bool, has_means: bool) -> Markup {
    html! {
        tr {
            th scope="row" { (group.provider) }
            td { @if let Some(of) = group.of() { (of) } @else { "all" } }
            td class="n" { (count(group.tests)) }
            td class="n" { (count(group.trials)) }
            td class="n" { (percent(group.pass_rate.mean, group.pass_rate_interval)) }
            @if has_attempts { td { @for several in &group.attempts {
                (plural(several.k, "attempt")) ": " (hundred(several.any)) " · " (hundred(several.all)) br;
            } } }
            @if has_means { td {
                @if let Some(score) = &group.score { "score " (spread(score)) br; }
                @for metric in &group.metrics {
                    (metric.name) " " (measured(&spread(&metric.spread), metric.unit.as_deref())) br;
                }
            } }
        }
    }
}

fn hundred(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn spread(spread: &SpreadSummary) -> String {
    match spread.standard_error {
        Some(error) => format!("{} ± {}", number(spread.mean), number(error)),
        None => number(spread.mean),
    }
}
