//! What the trials say about those to come: by provider, and by tag.

use maud::{Markup, html};

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
        group.tag.is_some()
            || !group.attempts.is_empty()
            || group.score.is_some()
            || !group.metrics.is_empty()
    };
    let groups: Vec<_> = all.iter().filter(is_new).collect();
    let has_attempts = groups.iter().any(|group| !group.attempts.is_empty());
    html! {
        @if !groups.is_empty() {
            h2 { "What to expect" }
            div class="wide" { table {
                thead { tr {
                    th scope="col" { "provider" }
                    th scope="col" { "tag" }
                    @for name in ["tests", "trials", "pass rate (95 %)"] { th scope="col" class="n" { (name) } }
                    @if has_attempts { th scope="col" { "of several attempts, one passes · all pass" } }
                    th scope="col" { "means ± standard error" }
                } }
                tbody { @for group in groups.iter().take(MAX_GROUPS) { (line(group, has_attempts)) } }
            } }
            @if groups.len() > MAX_GROUPS { p { "… and " (groups.len() - MAX_GROUPS) " more; the JSONL report has more." } }
            p class="soft" {
                "Chances of several attempts are pass@k and pass^k, estimated without bias. Standard errors take the "
                "repeats of a test as one cluster."
            }
        }
    }
}

fn line(group: &GroupStatistics, has_attempts: bool) -> Markup {
    html! {
        tr {
            th scope="row" { (group.provider) }
            td { @if let Some(tag) = &group.tag { (tag) } @else { "all" } }
            td class="n" { (count(group.tests)) }
            td class="n" { (count(group.trials)) }
            td class="n" { (percent(group.pass_rate.mean, group.pass_rate_interval)) }
            @if has_attempts { td { @for several in &group.attempts {
                (plural(several.k, "attempt")) ": " (hundred(several.any)) " · " (hundred(several.all)) br;
            } } }
            td {
                @if let Some(score) = &group.score { "score " (spread(score)) br; }
                @for metric in &group.metrics {
                    (metric.name) " " (spread(&metric.spread)) @if let Some(unit) = &metric.unit { " " (unit) } br;
                }
            }
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
