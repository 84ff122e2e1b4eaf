//! The first view of a page, which needs no script: verdict, counts, providers and failures.

use std::time::Duration;

use maud::{Markup, html};
use runner_model::status::RunState;
use runner_model::units::{grouped, show_duration};
use runner_model::visible::{cut, visible, visible_line};
use runner_model::{Counts, Time};

use crate::failure::Tone;
use crate::{FailureGroup, Failures, ResultRow, RunDocument, other_metrics, phrases, run_facts};

/// Characters of a reason in a list, and of a line of its details.
pub(super) const LONG_REASON: usize = 300;
/// Title of the only column without numbers.
const METRICS: &str = "other metrics";

/// Formats a time, in UTC wherever the report is written.
fn utc(time: Time) -> String {
    format!("{} UTC", time.to_string()[..19].replace('T', " "))
}

pub(super) fn view(document: &RunDocument, failures: &Failures, advice: &[String]) -> Markup {
    let groups = failures.sorted();
    html! {
        (header(document, advice))
        section { h2 { "Providers" } (providers(document)) }
        @if failures.trials > 0 {
            section {
                h2 { "Failures" small { (failures.extent()) } }
                ul.groups { @for group in &groups { (self::group(group)) } }
                @if let Some(left) = failures.left_out(&failures.failed()) { p.quiet { "… and " (left) " with other reasons" } }
            }
        }
        p.quiet { "All trials and details need JavaScript." }
    }
}

fn header(document: &RunDocument, advice: &[String]) -> Markup {
    let run = &document.run;
    let head = &run.head;
    let counts = &head.counts;
    let planned = grouped(counts.done.needed_of(counts.planned));
    let (sign, class) = match run.state {
        RunState::Passed => ("✓", "passed"),
        RunState::Failed | RunState::NotStarted | RunState::Damaged => ("✗", "failed"),
        RunState::Incomplete | RunState::Cancelled | RunState::Running => ("◐", "incomplete"),
    };
    let numbers = match run.state {
        RunState::Passed | RunState::Failed if counts.done.has_known() => counts.done.to_string(),
        RunState::Passed => format!("{} of {planned} passed", grouped(counts.done.passed)),
        RunState::Failed => format!("{} of {planned} did not pass", grouped(counts.done.bad())),
        _ => phrases::done(&counts.done, counts.planned),
    };
    let took =
        Some(head.worked()).filter(|took| *took > Duration::ZERO && head.status.is_terminal());
    let message = head.message.as_ref().map(|message| visible(message).into_owned());
    html! {
        header.run-head {
            h1 {
                (visible_line(&head.scenario)) " "
                span class={ "mark " (class) } { (sign) " " (phrases::status_text(head)) ": " (numbers) }
            }
            @if let Some(gate) = &document.manifest.gate {
                @for (index, line) in run_facts::gate_lines(gate).iter().enumerate() {
                    p { @if index == 0 { (gate.title()) " " } (line) }
                }
            }
            p.facts {
                span { (utc(head.started_at)) }
                @if let Some(took) = took { span { "Took " (show_duration(took)) } }
                @for (key, value) in &head.labels { span { (visible_line(key)) "=" (visible_line(value)) } }
                @if let Some(names) = run_facts::development_forms(&document.manifest) {
                    span { "Development form: " (visible_line(&names)) }
                }
                @if let Some(replayed) = run.replayed() { span { "Replay of " (visible_line(replayed)) } }
                span { "run " (head.id) }
            }
            @for note in message.iter().chain(advice).chain(&document.damage()) { p.note.pre { (note) } }
            (numbers_of(&counts.done, counts.planned))
        }
    }
}

/// Returns a title with a capital letter, except for a quantile.
fn heading(title: &str) -> String {
    match title {
        "p50" | "p95" => title.to_owned(),
        _ => title[..1].to_uppercase() + &title[1..],
    }
}

fn numbers_of(counts: &Counts, planned: u64) -> Markup {
    let [failed, error, timeout, unexpected] = counts.unexpected_or_outcomes();
    let all = [
        ("failed", failed),
        ("error", error),
        ("timeout", timeout),
        ("unexpected", unexpected),
        ("known", counts.known),
        ("skipped", counts.skipped),
        ("flaky", counts.flaky),
        ("passed", counts.passed - counts.unexpected_passes),
        ("no result", counts.needed_of(planned).saturating_sub(counts.done())),
        ("not needed", counts.not_needed.unwrap_or(0)),
    ];
    html! {
        p.counts {
            @for (word, count) in all {
                @if count > 0 { span class=(word) { b { (grouped(count)) } " " (word) } }
            }
        }
    }
}

/// Formats the table of providers and graders, with the columns that any of them needs.
fn providers(document: &RunDocument) -> Markup {
    let providers = document.tables.providers.iter().map(|of| (&of.provider, &of.results));
    let graders = document.tables.graders.iter().map(|of| (&of.grader, &of.results));
    let rows = providers.chain(graders).map(|(name, of)| {
        (ResultRow::new(name, of.counts, Some(of)), other_metrics(of).join(", "))
    });
    let (rows, metrics): (Vec<_>, Vec<_>) = rows.unzip();
    let mut columns = ResultRow::columns(&rows);
    if metrics.iter().any(|metrics| !metrics.is_empty()) {
        columns.push((METRICS, metrics));
    }
    html! {
        div.wide tabindex="0" role="region" aria-label="Providers" {
            table {
                thead {
                    tr {
                        th scope="col" { "Provider" }
                        @for (name, _) in &columns { th.n[*name != METRICS] scope="col" { (heading(name)) } }
                    }
                }
                tbody {
                    @for (index, row) in rows.iter().enumerate() {
                        tr {
                            th scope="row" { (row.name) }
                            @for (name, cells) in &columns { td.n[*name != METRICS] { (cells[index]) } }
                        }
                    }
                }
            }
        }
    }
}

/// Formats trials with the same reason, and the details of the first one.
fn group(group: &FailureGroup) -> Markup {
    let reason = cut(&group.reason, LONG_REASON);
    html! {
        li.group {
            p {
                span class={ "mark " (group.outcome) } { (group.outcome) " " (grouped(group.trials)) } " "
                span.pre { (reason) }
            }
            p.names { (visible_line(&group.first_names())) }
            div.reasons {
                @for (tone, line) in &group.block {
                    @if *line != reason {
                        p.pre.expected[*tone == Tone::Expected].actual[*tone == Tone::Actual] {
                            (cut(line, LONG_REASON))
                        }
                    }
                }
            }
        }
    }
}
