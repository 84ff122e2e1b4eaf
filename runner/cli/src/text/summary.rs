//! The summary line of a run, and the commands that a user may want to type next.

use std::time::Duration;

use runner_model::units::{grouped, show_duration};
use runner_model::{Counts, GateResult, Reason, RunStatus, Time, status::RunState};
use runner_record::{Manifest, RunDir, now};
use runner_report::{
    ProviderTable, ResultRow, RowSelection, RunDocument, RunSummary, SincePrevious, phrases,
    run_facts,
};

use super::style::{self, Paint};
use super::{Out, Table};

/// Trials of a run that are read for the table of its providers. More would delay the end of a run by seconds.
const MAX_TRIALS: u64 = 200_000;

/// Formats status, verdict, counts and time on one line. A `took` of 0 is left out.
pub fn line(run: &RunSummary, took: Duration) -> String {
    let counts = run.head.counts.done;
    let planned = phrases::planned(&counts, run.head.counts.planned);
    let took = if took.is_zero() { String::new() } else { format!(" in {}", show_duration(took)) };
    let exit = run.exit_code.map(|code| format!("; exit code {code}")).unwrap_or_default();
    let mut others = counts;
    let count = match run.state {
        RunState::Passed if counts.has_known() => {
            return format!("{} {counts}{took}", headed(run, ":"));
        }
        RunState::Failed if counts.has_known() => {
            let unexpected = grouped(counts.unexpected());
            let details = match run.unexpected.as_str() {
                "" => String::new(),
                details => format!(" ({details})"),
            };
            let head = headed(run, &format!(": {unexpected} unexpected{details}"));
            let expected = counts.expected().to_string();
            let comma = if expected.is_empty() { "" } else { ", " };
            return format!("{head}{comma}{expected}{took}");
        }
        RunState::Passed => std::mem::take(&mut others.passed),
        RunState::Failed => counts.bad(),
        RunState::NotStarted => return headed(run, "") + &exit,
        _ => {
            let head = headed(run, ":");
            let done = phrases::done(&counts, run.head.counts.planned);
            return format!("{head} {done}{}{took}{exit}", in_brackets(&counts));
        }
    };
    let head = headed(run, &format!(": {} of {planned}", grouped(count)));
    format!("{head}{}{took}", in_brackets(&others))
}

/// Indents the lines after the first of a run's message, which may come from a plugin, so that none looks like a line of ours.
pub fn indented(message: &str) -> String {
    message.replace('\n', "\n  ")
}

fn in_brackets(counts: &Counts) -> String {
    let words = counts.to_string();
    if words.is_empty() { words } else { format!(" ({words})") }
}

/// Formats the sign and the status of a run, followed by `more`, in the status's colour.
pub fn headed(run: &RunSummary, more: &str) -> String {
    signed(run.state, &format!("{}{more}", phrases::status_text(&run.head)))
}

/// Puts the sign of a state before a text, and gives both its colour.
pub fn signed(state: RunState, text: &str) -> String {
    let (sign, paint): (char, Paint) = match state {
        RunState::Passed => ('✓', style::green),
        RunState::Failed | RunState::NotStarted | RunState::Damaged => ('✗', style::red),
        RunState::Running => ('○', style::blue),
        RunState::Incomplete => ('◐', style::amber),
        RunState::Cancelled => ('⊘', style::orange),
    };
    paint(&format!("{sign} {text}"))
}

/// Prints the result of a gate.
pub fn print_gate(gate: Option<&GateResult>, out: &Out) {
    if let Some(gate) = gate {
        out.data(&format!("{} {}", gate.title(), run_facts::gate_lines(gate).join("\n  ")));
    }
}

/// Prints a table of the providers and graders of a run if several providers have results.
pub fn print_providers(run: &RunDir, manifest: &Manifest, out: &Out) {
    let providers = manifest.providers.iter().filter(|provider| provider.is_tested());
    if providers.count() < 2 || !(1..=MAX_TRIALS).contains(&manifest.counts.done()) {
        return;
    }
    // The end of a session does not fail because of its table.
    if let Ok(document) = RunDocument::read(&run.results_root(), run, &RowSelection::All)
        && document.tables.with_results().count() > 1
    {
        out.data(&format!("\n{}", results_table(&document, out.columns())));
        if let Some(paid) = document.tables.paid() {
            out.data(&format!("paid: {paid}"));
        }
    }
}

/// Formats the results of providers, in the order of the scenario, and the tokens and cost of graders.
fn results_table(document: &RunDocument, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("provider…", 0),
        ("pass rate>", 1),
        ("score>", 2),
        ("tokens>", 5),
        ("cost>", 3),
        ("p50>", 4),
    ]);
    for ProviderTable { provider, results } in document.tables.with_results() {
        let row = ResultRow::new(provider, results.counts, Some(results));
        let [rate, score, tokens, cost, p50, ..] = row.cells;
        table.row([row.name, rate, score, tokens, cost, p50]);
    }
    for row in document.tables.graders.iter().filter_map(ResultRow::of_grader) {
        let [rate, score, tokens, cost, p50, ..] = row.cells;
        table.row([row.name, rate, score, tokens, cost, p50]);
    }
    table.render(screen)
}

/// Prints the number of changes since the previous run.
pub fn print_changes(since: Option<&SincePrevious>, out: &Out) {
    if let Some(text) = since.and_then(|since| since.text(now())) {
        out.data(&text);
    }
}

/// Prints the command that compares the run with the previous one, if there are changes of tests that both have.
pub fn print_comparison_step(run: &RunSummary, since: Option<&SincePrevious>, out: &Out) {
    if let Some(since) = since.filter(|one| one.counts.is_none_or(|counts| counts.paired() > 0)) {
        out.hint(&format!("compare: {}", run.command("compare", &since.short, &[&run.short])));
    }
}

/// Prints the commands that show why trials failed and that continue the run.
pub fn print_next_steps(run: &RunSummary, out: &Out) {
    if run.head.counts.done.unexpected() > 0 {
        out.hint(&format!("see why: {}", run.command("show", &run.short, &["--failed"])));
        // A process works on a running run, and without a larger budget nothing runs again.
        if run.head.status.is_terminal() && run.head.reason != Some(Reason::Budget) {
            let is_cancelled = run.head.status == RunStatus::Cancelled;
            let force: &[&str] = if is_cancelled { &["--force"] } else { &[] };
            let resume = |more: &[&str]| run.command("resume", &run.short, &[more, force].concat());
            out.hint(&format!("run them again: {}", resume(&["--rerun", "failed"])));
            out.hint(&format!("after an edit: {}", resume(&["--accept-changes"])));
        }
    }
    if run.is_resumable() {
        out.hint(&format!("continue: {}", run.resume_command(&run.short)));
    }
}

/// Formats a time in a table: as an age on a screen, in full elsewhere.
pub fn when(now: Time, time: Time, screen: Option<usize>) -> String {
    screen.map_or_else(|| phrases::clock(time), |_| phrases::ago(now, time))
}
