//! The top of a page: verdict, counts, and a table for providers, graders and `meta`.

use std::time::Duration;

use maud::{Markup, html};
use runner_model::statistics::wilson;
use runner_model::status::{RunState, RunVerdict};
use runner_model::units::{grouped, plural, show_duration};
use runner_model::visible::{visible, visible_line};
use runner_model::{Counts, Time};

use crate::results::Results;
use crate::rows::Which;
use crate::{MetaCounts, MetaResults, RunDocument, phrases, run_facts};

/// Values of a key of `meta` in its table.
const MOST_VALUES: usize = 100;

/// Formats a time, in UTC wherever the report is written.
pub(super) fn utc(time: Time) -> String {
    format!("{} UTC", time.to_string()[..19].replace('T', " "))
}

pub(super) fn header(document: &RunDocument) -> Markup {
    let run = &document.run;
    let (head, counts) = (&run.head, &run.head.counts);
    let planned = grouped(counts.planned);
    let (sign, class, numbers) = match run.state {
        RunState::Passed => {
            ("✓", "good", format!("{} of {planned} passed", grouped(counts.done.passed)))
        }
        RunState::Failed => {
            ("✗", "bad", format!("{} of {planned} did not pass", grouped(counts.done.bad())))
        }
        state => {
            let is_bad = matches!(state, RunState::NotStarted | RunState::Damaged);
            let done = phrases::done(&counts.done, counts.planned);
            (if is_bad { "✗" } else { "◐" }, if is_bad { "bad" } else { "open" }, done)
        }
    };
    let took =
        Some(head.worked()).filter(|took| *took > Duration::ZERO && head.status.is_terminal());
    html! {
        header {
            h1 { (visible_line(&head.scenario)) }
            p class={ "verdict " (class) } { (sign) " " (phrases::status_text(head)) ": " (numbers) }
            @if let Some(gate) = &document.manifest.gate { p.facts { "gate " (visible_line(&run_facts::gate(gate))) } }
            p.facts {
                span { (utc(head.started_at)) }
                @if let Some(took) = took { span { "took " (show_duration(took)) } }
                @for (key, value) in &head.labels { span { (visible_line(key)) "=" (visible_line(value)) } }
                span { "run " (head.id) }
            }
            @for note in notes(document) { p.note { (note) } }
            (bar(&counts.done, counts.planned))
            (chips(&counts.done, counts.planned))
        }
    }
}

/// Returns all that a reader must know before the counts.
fn notes(document: &RunDocument) -> Vec<String> {
    let run = &document.run;
    let mut notes: Vec<_> =
        run.head.message.iter().map(|message| visible(message).into_owned()).collect();
    if !run.head.status.is_terminal() {
        notes.push("The run was running when this report was written.".to_owned());
    } else if run.is_resumable() {
        notes.push(format!("To continue the run: {}", run.resume_command(&run.short)));
    }
    if document.lost_results > 0 {
        let lost = plural(document.lost_results, "result is", "results are");
        notes.push(format!("{lost} lost: benchmark.json counts more than index.jsonl has."));
    } else if run.head.verdict == RunVerdict::Damaged {
        notes.push("index.jsonl has other results than benchmark.json counts.".to_owned());
    }
    if document.damaged_lines > 0 {
        let lines =
            plural(document.damaged_lines, "line of index.jsonl is", "lines of index.jsonl are");
        notes.push(format!("{lines} damaged."));
    }
    if let Which::Matching(filter) = &document.rows.which {
        let filter = visible_line(filter.text());
        notes.push(format!(
            "Failures and trials are those that match {filter}. Other numbers are of the whole run."
        ));
    }
    notes
}

/// Returns the numbers of trials by class of CSS.
fn shares(counts: &Counts) -> [(&'static str, u64); 6] {
    [
        ("failed", counts.failed),
        ("error", counts.error),
        ("timeout", counts.timeout),
        ("skipped", counts.skipped),
        ("flaky", counts.flaky),
        ("passed", counts.passed),
    ]
}

fn bar(counts: &Counts, planned: u64) -> Markup {
    let shares = shares(counts).into_iter().filter(|(class, _)| *class != "flaky");
    let share = |count: u64| format!("{:.3}", 1000.0 * count as f64 / planned.max(1) as f64);
    let mut before = 0;
    html! {
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(phrases::counts(counts)) {
            @for (class, count) in shares {
                @if count > 0 { rect class=(class) x=(share(before)) width=(share(count)) height="10" {} }
                @let () = before += count;
            }
        }
    }
}

fn chips(counts: &Counts, planned: u64) -> Markup {
    let rest = ("no result", planned.saturating_sub(counts.done()));
    let shares = shares(counts).into_iter().chain([rest]).filter(|(_, count)| *count > 0);
    html! {
        div.chips role="group" aria-label="Outcomes" {
            @for (class, count) in shares {
                button type="button" class=(class) data-outcome=(class) {
                    span { b { (grouped(count)) } " " (class) }
                }
            }
        }
    }
}

pub(super) fn providers(document: &RunDocument) -> Markup {
    let lines = document
        .providers
        .iter()
        .map(|table| (table.provider.clone(), table.results.counts, Some(&table.results)));
    table("Provider", &lines.collect::<Vec<_>>())
}

/// Formats the tables of graders and `meta`.
pub(super) fn other_results(document: &RunDocument) -> Markup {
    let graders = document.graders.iter().map(|table| {
        let name = format!("{} ({})", table.grader, table.plugin);
        (name, table.results.counts, Some(&table.results))
    });
    let graders: Vec<_> = graders.collect();
    let value = |MetaCounts { value, counts }: &MetaCounts| {
        (value.as_str().map_or_else(|| value.to_string(), str::to_owned), *counts, None)
    };
    html! {
        @if !graders.is_empty() { section { h2 { "Graders" } (table("Grader", &graders)) } }
        @for MetaResults { key, values } in &document.meta {
            section {
                h2 { "Results by " (visible_line(key)) }
                (table("Value", &values.iter().take(MOST_VALUES).map(value).collect::<Vec<_>>()))
                @if values.len() > MOST_VALUES {
                    p.quiet { (plural((values.len() - MOST_VALUES) as u64, "more value", "more values")) }
                }
            }
        }
    }
}

type Line<'a> = (String, Counts, Option<&'a Results>);

/// Formats results with the columns that any of them needs.
fn table(title: &str, lines: &[Line<'_>]) -> Markup {
    let counts: [(&str, fn(&Counts) -> u64); 6] = [
        ("Passed", |counts| counts.passed),
        ("Failed", |counts| counts.failed),
        ("Errors", |counts| counts.error),
        ("Timeouts", |counts| counts.timeout),
        ("Skipped", |counts| counts.skipped),
        ("Flaky", |counts| counts.flaky),
    ];
    let mut columns = counts.to_vec();
    columns.retain(|(name, count)| {
        *name == "Passed" || lines.iter().any(|(_, counts, _)| count(counts) > 0)
    });
    let results = || lines.iter().filter_map(|(.., results)| *results);
    let has_scores = results().any(|results| results.score.is_some());
    let has_metrics = results().any(|results| !results.metrics.is_empty());
    let has_times = results().next().is_some();
    html! {
        div.wide tabindex="0" role="region" aria-label=(title) {
            table {
                thead {
                    tr {
                        th scope="col" { (title) }
                        th scope="col" { "Pass rate, 95 % interval" }
                        @for (name, _) in &columns { th.number scope="col" { (name) } }
                        @if has_scores { th.number scope="col" { "Score" } }
                        @if has_times { @for name in ["Median", "p95", "Max"] { th.number scope="col" { (name) } } }
                        @if has_metrics { th scope="col" { "Metrics" } }
                    }
                }
                tbody {
                    @for (name, counts, results) in lines {
                        tr {
                            th scope="row" { (visible_line(name)) }
                            td { (rate(counts)) }
                            @for (_, count) in &columns { td.number { (grouped(count(counts))) } }
                            @if has_scores { td.number { @if let Some(score) = results.and_then(|results| results.score) { (phrases::number(score.into())) } } }
                            @if let Some(results) = results {
                                @for time in results.durations() { td.number { @if let Some(time) = time { (show_duration(time)) } } }
                                @if has_metrics { td { (visible_line(&results.metrics.iter().map(phrases::metric).collect::<Vec<_>>().join(", "))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Formats the share of passed trials among those that were judged, with Wilson's interval.
fn rate(counts: &Counts) -> Markup {
    let judged = counts.passed + counts.bad();
    let (low, high) = wilson(counts.passed, judged);
    let [rate, low, high] =
        [counts.passed as f64 / judged.max(1) as f64, low, high].map(|share| 100.0 * share);
    html! {
        @if judged > 0 {
            svg.rate viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                rect.none width="100" height="10" {}
                rect.passed width=(format!("{rate:.2}")) height="10" {}
                rect.interval x=(format!("{low:.2}")) y="4" width=(format!("{:.2}", high - low)) height="2" {}
            }
            " " (format!("{rate:.1} %")) " " span.quiet { (format!("{low:.1}–{high:.1} %")) }
        }
    }
}
