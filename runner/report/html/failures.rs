//! What did not pass, and all that there is to know of it.

use std::{collections::BTreeSet, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    graders,
    parts::{Anchors, block, said},
};
use crate::{
    model::{CheckVerdict, plural},
    report::words::{millis, outcome_word},
    view::{ReportTrial, RunReport, TrialEvidence},
};

/// How many failures a page has.
const MAX_FAILURES: usize = 500;
/// Bytes of a file that stands in the page.
const MAX_FILE: u64 = 256 * 1024;
/// Bytes of all files that do.
const MAX_FILES: u64 = 8 * 1024 * 1024;
/// Pictures that a browser shows and that contain nothing but pixels.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// What remains of the bytes that files may have in the page.
struct FileRoom<'a> {
    report: &'a RunReport,
    left: u64,
}

/// The content of a file, as it stands in the page.
enum Inlined {
    Text(String),
    /// The address that has the picture in it.
    Picture(String),
}

/// The places in the plan of the trials that the page tells everything of.
pub(super) fn told(report: &RunReport) -> BTreeSet<u64> {
    let bad = report.trials.iter().filter(|trial| trial.is_bad());
    bad.take(MAX_FAILURES).map(|trial| trial.ordinal).collect()
}

pub(super) fn failures(report: &RunReport, anchors: Anchors) -> io::Result<Markup> {
    let bad: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| trial.is_bad())
        .collect();
    let mut room = FileRoom {
        report,
        left: MAX_FILES,
    };
    let told = bad.iter().take(MAX_FAILURES).enumerate();
    let told = told.map(|(place, trial)| {
        let trial = report.in_full(trial)?;
        Ok(failure(&trial, place == 0, anchors, &mut room))
    });
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

/// A link to it opens what is folded around its target.
fn failure(
    trial: &ReportTrial,
    is_open: bool,
    anchors: Anchors,
    room: &mut FileRoom<'_>,
) -> Markup {
    let word = outcome_word(trial);
    html! {
        details open[is_open] {
            summary {
                code { (trial.trial) } " "
                span class=(word) { (word) }
                @if let Some(error) = trial.error.as_ref().filter(|error| error.word() != word) { " " (error.word()) }
                span class="soft" {
                    @if let Some(took) = trial.duration_ms { " " (millis(took)) }
                    @if trial.attempts > 1 { ", attempt " (trial.attempts) }
                }
            }
            div id=(anchors.trial(trial.ordinal)) {
                @if let Some(error) = &trial.error { h3 { "Error" } (block(&error.message)) }
                @if let Some(text) = &trial.summary { h3 { "Summary" } (block(text)) }
                (graders::said(&trial.grades))
                @if let Some(evidence) = &trial.evidence { (known(evidence)) }
                @if !trial.denied.is_empty() {
                    h3 { "Not granted" }
                    ul { @for denied in &trial.denied {
                        li { (denied.what) @if let Some(grant) = &denied.grant { ": " code { (grant) } " would allow it" } }
                    } }
                }
                @if !trial.artifacts.is_empty() {
                    h3 { "Files" }
                    @for file in &trial.artifacts {
                        p { code { (file.name) } span class="soft" { ", " (plural(file.bytes, "byte")) " of " (file.media_type) } }
                        @let inlined = room.inline(trial.ordinal, &file.name, &file.media_type, file.bytes);
                        @match inlined {
                            Some(Inlined::Text(text)) => { (block(&text)) },
                            Some(Inlined::Picture(address)) => { img src=(address) alt=(format!("the picture {}", file.name)); },
                            None => {},
                        }
                    }
                }
            }
        }
    }
}

impl FileRoom<'_> {
    /// The content of a file, where it is small, known, and a text or a picture.
    fn inline(&mut self, trial: u64, name: &str, media_type: &str, bytes: u64) -> Option<Inlined> {
        if bytes > MAX_FILE.min(self.left) {
            return None;
        }
        let content = self.report.details.file(trial, name, bytes)?;
        self.left -= bytes;
        if PICTURES.contains(&media_type) {
            let picture = STANDARD.encode(content);
            return Some(Inlined::Picture(format!(
                "data:{media_type};base64,{picture}"
            )));
        }
        String::from_utf8(content).ok().map(Inlined::Text)
    }
}

fn known(evidence: &TrialEvidence) -> Markup {
    let texts = [
        ("Log", said(&evidence.log)),
        ("Standard output", evidence.stdout.clone()),
        ("Standard error", evidence.stderr.clone()),
    ];
    html! {
        h3 { "Input" }
        (block(&text(&evidence.input)))
        @for check in evidence.checks.iter().filter(|check| check.verdict == CheckVerdict::Fail) {
            h3 { "Check " code { (check.name) } " does not hold" }
            @if let Some(message) = &check.message { p { (message) } }
            @if let Some(text) = &check.diff {
                p class="soft" { "− expected, + actual" }
                (diff(text))
            } @else {
                @let [expected, actual] = check.compared();
                @if let Some(expected) = expected { p class="soft" { "expected" } (block(&text(expected))) }
                @if let Some(actual) = actual { p class="soft" { "actual" } (block(&text(actual))) }
            }
        }
        @if let Some(output) = &evidence.output { h3 { "Output" } (block(&text(output))) }
        @for (name, text) in texts { @if !text.is_empty() { h3 { (name) } (block(&text)) } }
    }
}

/// A unified diff with its lines in colour.
fn diff(text: &str) -> Markup {
    html! {
        pre tabindex="0" { @for line in text.split_inclusive('\n') {
            @match line.as_bytes().first() {
                Some(b'-') => del { (line) },
                Some(b'+') => ins { (line) },
                _ => (line),
            }
        } }
    }
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
