//! The top of a page: verdict, counts, and a table for providers, graders and `meta`.

use std::time::Duration;

use maud::{Markup, html};
use runner_model::status::RunState;
use runner_model::units::{grouped, plural, show_bounds, show_duration};
use runner_model::visible::{visible, visible_line};
use runner_model::{Counts, Time};

use crate::{MetaCounts, MetaResults, PassRate, Results, RunDocument, phrases, run_facts};

/// Values of a key of `meta` in its table.
const MOST_VALUES: usize = 100;

/// Title of the only column without numbers.
const METRICS: &str = "Metrics of the attempts that decided";

/// Formats a time, in UTC wherever the report is written.
pub(super) fn utc(time: Time) -> String {
    format!("{} UTC", time.to_string()[..19].replace('T', " "))
}

/// Formats verdict and counts. `has_plan` if the stored tests can be read.
pub(super) fn header(document: &RunDocument, has_plan: bool) -> Markup {
    let run = &document.run;
    let (head, counts) = (&run.head, &run.head.counts);
    let of_planned = |count: u64| format!("{} of {}", grouped(count), grouped(counts.planned));
    let (sign, class) = match run.state {
        RunState::Passed => ("✓", "good"),
        RunState::Failed | RunState::NotStarted | RunState::Damaged => ("✗", "bad"),
        RunState::Incomplete | RunState::Cancelled | RunState::Running => ("◐", "open"),
    };
    let numbers = match run.state {
        RunState::Passed => of_planned(counts.done.passed) + " passed",
        RunState::Failed => of_planned(counts.done.bad()) + " did not pass",
        _ => phrases::done(&counts.done, counts.planned),
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
            @for note in notes(document, has_plan) { p.note { (note) } }
            (bar(&counts.done, counts.planned))
            (chips(&counts.done, counts.planned))
        }
    }
}

/// Returns warnings and advice, which precede the counts.
fn notes(document: &RunDocument, has_plan: bool) -> Vec<String> {
    let run = &document.run;
    let mut notes: Vec<_> =
        run.head.message.iter().map(|message| visible(message).into_owned()).collect();
    if !run.head.status.is_terminal() {
        notes.push("The run was running when this report was written.".to_owned());
    } else if run.is_resumable() {
        notes.push(format!("To continue the run: {}", run.resume_command(&run.short)));
    }
    notes.extend(document.damage());
    if !has_plan {
        let missing = "The stored tests cannot be read: trials without a result are missing below.";
        notes.push(missing.to_owned());
    }
    if let Some(filter) = document.rows.which.filter() {
        let filter = visible_line(filter);
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
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(counts.to_string()) {
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

/// Results of a provider, a grader or a value of `meta`.
struct Line<'a> {
    name: String,
    counts: Counts,
    pass_rate: Option<PassRate>,
    results: Option<&'a Results>,
}

impl<'a> Line<'a> {
    fn new(name: String, results: &'a Results) -> Self {
        let (counts, pass_rate) = (results.counts, results.pass_rate);
        Self { name, counts, pass_rate, results: Some(results) }
    }

    fn of_value(MetaCounts { value, counts }: &MetaCounts) -> Self {
        let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Self { name, counts: *counts, pass_rate: PassRate::of(counts, false), results: None }
    }
}

pub(super) fn providers(document: &RunDocument) -> Markup {
    let lines = document.providers.iter();
    let lines = lines.map(|table| Line::new(table.provider.clone(), &table.results));
    table("Provider", &lines.collect::<Vec<_>>())
}

/// Formats the tables of graders and `meta`.
pub(super) fn other_results(document: &RunDocument) -> Markup {
    let graders = document
        .graders
        .iter()
        .map(|table| Line::new(format!("{} ({})", table.grader, table.plugin), &table.results));
    let graders: Vec<_> = graders.collect();
    html! {
        @if !graders.is_empty() { section { h2 { "Graders" } (table("Grader", &graders)) } }
        @for MetaResults { key, values } in &document.meta {
            section {
                h2 { "Results by " (visible_line(key)) }
                (table("Value", &values.iter().take(MOST_VALUES).map(Line::of_value).collect::<Vec<_>>()))
                @if values.len() > MOST_VALUES {
                    p.quiet { (plural((values.len() - MOST_VALUES) as u64, "more value", "more values")) }
                }
            }
        }
    }
}

/// Formats results with the columns that any of them needs.
fn table(title: &str, lines: &[Line<'_>]) -> Markup {
    let counts = |count: fn(&Counts) -> u64| {
        let counts = lines.iter().map(|line| Some(count(&line.counts)).filter(|count| *count > 0));
        counts.map(|count| count.map(grouped).unwrap_or_default()).collect()
    };
    let results = |text: &dyn Fn(&Results) -> Option<String>| {
        lines.iter().map(|line| line.results.and_then(text).unwrap_or_default()).collect()
    };
    let time = |index: usize| results(&|results| results.durations()[index].map(show_duration));
    let metrics = |results: &Results| {
        let metrics: Vec<_> = results.metrics.iter().map(phrases::metric).collect();
        Some(visible_line(&metrics.join(", ")).into_owned())
    };
    let mut columns: Vec<(&str, Vec<String>)> = vec![
        ("Passed", counts(|counts| counts.passed)),
        ("Failed", counts(|counts| counts.failed)),
        ("Errors", counts(|counts| counts.error)),
        ("Timeouts", counts(|counts| counts.timeout)),
        ("Skipped", counts(|counts| counts.skipped)),
        ("Flaky", counts(|counts| counts.flaky)),
        ("Score", results(&|results| Some(phrases::number(results.score?.into())))),
        ("Median", time(0)),
        ("p95", time(1)),
        ("Max", time(2)),
        (METRICS, results(&metrics)),
    ];
    columns.retain(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
    let has_rates = lines.iter().any(|line| line.pass_rate.is_some());
    html! {
        div.wide tabindex="0" role="region" aria-label=(title) {
            table {
                thead {
                    tr {
                        th scope="col" { (title) }
                        @if has_rates { th scope="col" { "Pass rate, 95 % interval" } }
                        @for (name, _) in &columns { th.number[*name != METRICS] scope="col" { (name) } }
                    }
                }
                tbody {
                    @for (index, line) in lines.iter().enumerate() {
                        tr {
                            th scope="row" { (visible_line(&line.name)) }
                            @if has_rates { td { @if let Some(rate) = line.pass_rate { (self::rate(rate)) } } }
                            @for (name, cells) in &columns { td.number[*name != METRICS] { (cells[index]) } }
                        }
                    }
                }
            }
        }
    }
}

fn rate(PassRate { rate, interval: (low, high) }: PassRate) -> Markup {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let [from, to] = show_bounds(low, high);
    html! {
        svg.rate viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.none width="100" height="10" {}
            rect.passed width=(percent(rate)) height="10" {}
            rect.interval x=(percent(low)) y="4" width=(percent(high - low)) height="2" {}
        }
        " " (phrases::percent(rate)) " " span.quiet { (from) "–" (to) " %" }
    }
}
