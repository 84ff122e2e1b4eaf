//! What did not pass, and all that there is to know of it.

use std::io;

use maud::{Markup, html};
use serde_json::Value;

use crate::{
    model::{CheckVerdict, plural},
    report::words::outcome_word,
    view::{ReportTrial, RunReport, TrialEvidence},
};

/// How many failures a page has.
const MAX_FAILURES: usize = 500;

pub(super) fn failures(report: &RunReport) -> io::Result<Markup> {
    let bad: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| trial.is_bad())
        .collect();
    let told = bad.iter().take(MAX_FAILURES);
    let told = told.map(|trial| Ok(failure(&*report.in_full(trial)?)));
    let told: Vec<Markup> = told.collect::<io::Result<_>>()?;
    Ok(html! {
        @if !bad.is_empty() {
            h2 { (plural(bad.len() as u64, "trial")) " did not pass" }
            @for failure in &told { (failure) }
            @if bad.len() > MAX_FAILURES {
                p { "… and " (bad.len() - MAX_FAILURES) " more; the JSONL report has all." }
            }
        }
    })
}

fn failure(trial: &ReportTrial) -> Markup {
    html! {
        details id=(format!("trial-{}", trial.ordinal)) {
            summary {
                code { (trial.trial) } " "
                span class=(outcome_word(trial)) { (outcome_word(trial)) }
                @if let Some(error) = &trial.error { " " (error.code) }
            }
            @if let Some(error) = &trial.error { h3 { "Error" } pre { (error.message) } }
            @if let Some(text) = &trial.summary { h3 { "Summary" } pre { (text) } }
            @if let Some(evidence) = &trial.evidence { (known(evidence)) }
            @if !trial.denied.is_empty() {
                h3 { "Not granted" }
                ul { @for denied in &trial.denied {
                    li { (denied.what) @if let Some(grant) = &denied.grant { ": " code { (grant) } " would allow it" } }
                } }
            }
            @if !trial.artifacts.is_empty() {
                h3 { "Files" }
                ul { @for file in &trial.artifacts { li { code { (file.name) } ", " (file.bytes) " bytes" } } }
            }
        }
    }
}

fn known(evidence: &TrialEvidence) -> Markup {
    let texts = [
        ("Log", &evidence.log),
        ("Standard output", &evidence.stdout),
        ("Standard error", &evidence.stderr),
    ];
    html! {
        h3 { "Input" }
        pre { (text(&evidence.input)) }
        @for check in evidence.checks.iter().filter(|check| check.verdict == CheckVerdict::Fail) {
            h3 { "Check " code { (check.name) } " does not hold" }
            @if let Some(message) = &check.message { p { (message) } }
            @if let Some(diff) = &check.diff { pre { (diff) } } @else {
                @if let Some(expected) = &check.expected { p class="soft" { "expected" } pre { (text(expected)) } }
                @if let Some(actual) = &check.actual { p class="soft" { "actual" } pre { (text(actual)) } }
            }
        }
        @if let Some(output) = &evidence.output { h3 { "Output" } pre { (text(output)) } }
        @for (name, text) in texts { @if !text.is_empty() { h3 { (name) } pre { (text) } } }
    }
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
