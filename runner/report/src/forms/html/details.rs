//! The details of a failure: its reasons, its values, its log, and the command that repeats it.

use maud::{Markup, html};
use runner_model::json::Json;
use runner_model::log::{LogLine, Said};
use runner_model::row::{Check, Raw};
use runner_model::units::plural;
use runner_model::visible::{cut, visible};
use runner_model::{RowRef, outcome::Verdict};
use serde_json::value::RawValue;

use super::sides::sides;
use crate::failure::{self, Tone};
use crate::{RunDocument, call_sections};

/// Lines of a text from its start.
const FIRST_LINES: usize = 40;
/// Lines of a longer text from its end.
const LAST_LINES: usize = 60;
/// Bytes of JSON on one line.
const SHORT_VALUE: usize = 100;
/// Characters of a line.
const LONG_LINE: usize = 1000;
/// Characters of a reason in a list.
const LONG_REASON: usize = 300;

/// Returns the reason of a row, which may be a long text of a guest, as a line of the page.
pub(super) fn headline(row: &RowRef<'_>) -> String {
    cut(&failure::headline(row), LONG_REASON)
}

/// Formats the reasons of a failure, except for `known`, then the values of checks of all of the output, side by side.
pub(super) fn reasons(row: &RowRef<'_>, known: &str) -> Markup {
    let mut row = row.clone();
    row.checks.retain(|check| check.verdict == Verdict::Fail);
    // Actual values are next to the expected ones, or in the output.
    let has_values = row.checks.iter().any(|check| check.actual.is_some());
    if has_values {
        row.checks.iter_mut().for_each(|check| check.diff = None);
    }
    let mut lines = failure::block(&row, FIRST_LINES);
    lines.retain(|(tone, line)| {
        let is_value = matches!(tone, Tone::Expected | Tone::Actual);
        line != known && !(is_value && has_values)
    });
    html! {
        @for (tone, line) in &lines {
            p.why.quiet[*tone == Tone::Detail].passed[*tone == Tone::Expected].failed[*tone == Tone::Actual] { (line) }
        }
        @for check in &row.checks {
            @if let Some((expected, actual)) = values(check) { (sides(expected, actual)) }
        }
    }
}

/// Returns the expected and the actual value of a failed check of all of the output.
fn values<'a, 'b>(check: &'a Check<'b>) -> Option<(&'a Raw<'b>, &'a Raw<'b>)> {
    let is_compared = !check.own && matches!(&*check.name, "equals" | "json");
    Some((check.expected.as_ref()?, check.actual.as_ref()?)).filter(|_| is_compared)
}

/// Formats output, earlier attempts, log and usage of an attempt, and the command that repeats it.
pub(super) fn details(document: &RunDocument, row: &RowRef<'_>, retried: &[RowRef<'_>]) -> Markup {
    let is_shown = row.checks.iter().any(|check| values(check).is_some());
    let output = row.output.as_ref().filter(|_| !is_shown);
    let line = document.rows.run.log(row);
    let said = match &line {
        Ok(Some(line)) => serde_json::from_str(line).ok().map(|line: LogLine<'_>| line.said),
        Ok(None) => Some(Said::default()),
        Err(_) => None,
    };
    let is_lost = said.is_none();
    let mut sections = call_sections(row, &said.unwrap_or_default());
    sections.sort_by_key(|section| section.title == "usage");
    let attempt = |row: &RowRef<'_>| format!("{}: {}\n", row.attempt, headline(row));
    let trial = row.trial.to_string();
    let mut words = vec!["--from", &document.run.short, "--trial", &trial];
    if let Some(grade) = failure::deciding_grade(row) {
        words.extend(["--grader", &grade.grader]);
    }
    html! {
        @if let Some(output) = output { (text("output", &shown(&output.0))) }
        @if !retried.is_empty() { (text("earlier attempts", &retried.iter().map(attempt).collect::<String>())) }
        @if is_lost { p.why { "The log cannot be read." } }
        @for section in sections { (text(section.title, &section.text)) }
        h4 { "reproduce" }
        div.command { pre { (document.run.command("plugin", "run", &words)) } }
    }
}

/// Formats JSON: a text as it is, other values with indentation if they are long.
pub(super) fn shown(json: &RawValue) -> String {
    match Json::of(json) {
        Some(Json::String(text)) => text.into_owned(),
        Some(value) if json.get().len() > SHORT_VALUE => format!("{value:#}"),
        _ => json.get().to_owned(),
    }
}

/// Formats a text with a title: its first and last lines.
pub(super) fn text(title: &str, text: &str) -> Markup {
    let text = visible(text.trim_end_matches('\n'));
    let lines: Vec<_> = text.lines().collect();
    let all = lines.len();
    let is_long = all > FIRST_LINES + LAST_LINES;
    let (start, end) = if is_long { (FIRST_LINES, all - LAST_LINES) } else { (all, all) };
    html! {
        h4 { (title) }
        pre {
            @for line in &lines[..start] { (cut(line, LONG_LINE)) "\n" }
            @if start < end { span.quiet { "… " (plural((end - start) as u64, "line", "lines")) " …\n" } }
            @for line in &lines[end..] { (cut(line, LONG_LINE)) "\n" }
            @if lines.is_empty() { span.quiet { "(empty)" } }
        }
    }
}
