//! Pages of trials and calls, as sections: input, output, checks, usage, logs. [`failure`](crate::failure) formats the
//! reasons of failures, which are shown above them.

use std::{fmt, time::Duration};

use runner_model::json::Json;
use runner_model::log::{LogRecord, Said};
use runner_model::row::{Check, Grade, duration};
use runner_model::units::{plural, show_duration, show_size};
use runner_model::{Outcome, RowRef, outcome::Verdict, visible::cut};
use serde_json::{Map, Value};

use super::past;
use crate::{TrialDocument, failure, logs::without_records, phrases, rows::Line};

/// Longest JSON on one line, in bytes.
const SHORT_VALUE: usize = 60;

/// Characters of another provider's output.
const START: usize = 100;

/// A section of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    pub title: &'static str,
    /// Lines, possibly written by a guest: make them visible before showing them.
    pub text: String,
}

impl TrialDocument {
    /// Formats the page of one row.
    pub fn sections(&self, row: &RowRef<'_>) -> Vec<Section> {
        let (session, at) = (row.session.unwrap_or(1), phrases::zoned_clock(row.started_at));
        let mut page = Page::default();
        let note = if row.r#final == Some(false) && row.outcome != Outcome::Ungraded {
            "; another attempt decides the trial"
        } else if self.rescored(row).is_some() {
            "; judged by `rescore`"
        } else {
            ""
        };
        let worker = row.worker.as_ref().map(|worker| format!(", worker {worker}"));
        let worker = worker.unwrap_or_default();
        page.text("run", format!("{}\nsession {session}, {at}{worker}{note}", self.run_dir));
        let attempts: Vec<_> = self.rows.iter().filter_map(attempt).collect();
        if attempts.len() > 1 {
            page.lines("attempts", attempts.into_iter());
        }
        page.lines("history", past::lines(&self.history).into_iter());
        let planned = self.planned();
        if let Some(input) = planned.get("input") {
            page.text("input", pretty(input));
        }
        if let Some(Value::Object(expect)) = planned.get("expect") {
            page.text("expected", expected(expect));
        }
        if let Some(text) = output(row) {
            page.text("output", text);
        }
        page.lines("other providers", self.others.iter().filter_map(other));
        page.measured(row, &planned["expect"]);
        let seq = row.seq.unwrap_or(0);
        if let Some(log) = self.logs.iter().find(|log| log.seq == seq) {
            let said = log.said.as_ref().map(|said| said.get());
            match said.and_then(|said| serde_json::from_str(said).ok()) {
                Some(said) => page.said(&said),
                None => page.text("log", "the log cannot be read".to_owned()),
            }
        }
        let files = self.artifacts.iter().filter(|file| file.seq == seq);
        page.lines(
            "files",
            files.map(|file| {
                let (name, size) = (&*file.artifact.name, show_size(file.artifact.bytes));
                format!("{name}, {size}: {}", file.path)
            }),
        );
        page.0
    }
}

/// Formats the page of a call that does not belong to a run.
pub fn call_sections(row: &RowRef<'_>, said: &Said<'_>) -> Vec<Section> {
    let mut page = Page::default();
    page.measured(row, &Value::Null);
    page.said(said);
    let files = row.artifacts.iter();
    page.lines("files", files.map(|file| format!("{}, {}", &*file.name, show_size(file.bytes))));
    page.0
}

/// A page under construction.
#[derive(Default)]
struct Page(Vec<Section>);

impl Page {
    fn text(&mut self, title: &'static str, text: String) {
        self.0.push(Section { title, text });
    }

    /// Adds a section, unless it is empty.
    fn lines(&mut self, title: &'static str, lines: impl Iterator<Item = String>) {
        let lines: Vec<_> = lines.collect();
        if !lines.is_empty() {
            self.text(title, lines.join("\n"));
        }
    }

    /// Adds checks, metrics and usage.
    fn measured(&mut self, row: &RowRef<'_>, expect: &Value) {
        let not = &expect["not"];
        let [mut wanted, mut unwanted] =
            [expect, not].map(|table| table["contains"].as_array().into_iter().flatten());
        let checks = row.checks.iter().filter_map(|check| {
            let expected = match &*check.name {
                _ if check.own => None,
                "contains" => wanted.next(),
                "not.contains" => unwanted.next(),
                name => match name.strip_prefix("not.") {
                    Some(name) => not.get(name),
                    None => expect.get(name),
                },
            };
            // Failed checks are shown above the page.
            (check.verdict != Verdict::Fail).then(|| self::check(check, expected))
        });
        self.lines("checks", checks);
        self.lines("grades", row.grades.iter().flat_map(grade));
        self.lines("metrics", row.metrics.iter().map(phrases::metric));
        let usage = &row.usage;
        self.text(
            "usage",
            format!(
                "memory {} at most; {}, {}, {} in, {} out",
                show_size(usage.peak_memory),
                plural(usage.host_calls, "host call", "host calls"),
                plural(usage.http_requests, "HTTP request", "HTTP requests"),
                show_size(usage.bytes_in),
                show_size(usage.bytes_out)
            ),
        );
    }

    fn said(&mut self, said: &Said<'_>) {
        let dropped = Some(said.dropped).filter(|dropped| *dropped > 0);
        let dropped = dropped.map(|dropped| format!("{dropped} more were over the limit"));
        self.lines("log", said.log.iter().map(record).chain(dropped));
        let stderr = without_records(said);
        for (title, text) in [("standard output", &*said.stdout), ("standard error", &stderr)] {
            if !text.trim().is_empty() {
                self.text(title, text.to_owned());
            }
        }
    }
}

/// Formats an attempt of the provider, or a failed one of a grader that was called again. `None` for other rows of an output
/// that waits for graders.
fn attempt(line: &Line) -> Option<String> {
    let row = line.row()?;
    if row.outcome == Outcome::Ungraded && !row.has_failed_grader() {
        return None;
    }
    let (session, took) = (row.session.unwrap_or(1), show_duration(row.duration()));
    let (attempt, outcome) = (row.attempt, row.outcome);
    let reason = (outcome != Outcome::Passed).then(|| format!("  {}", failure::headline(&row)));
    let reason = reason.unwrap_or_default();
    Some(format!("{attempt} in session {session}: {outcome}, {took}{reason}"))
}

/// Formats the output of a row.
fn output(row: &RowRef<'_>) -> Option<String> {
    let output = row.output.as_ref()?;
    Some(match Json::of(&output.0) {
        Some(Json::String(text)) => shown_text(&text),
        Some(value) => indented(&value),
        None => output.get().to_owned(),
    })
}

/// Formats the result of another provider with the start of its output, or with the reason if there is no output.
fn other(line: &Line) -> Option<String> {
    let row = line.row()?;
    let text = output(&row).unwrap_or_else(|| failure::headline(&row));
    let start = cut(&text.replace('\n', " "), START);
    let took = show_duration(row.duration());
    Some(format!("{}: {}, {took}  {}", &*row.provider, row.outcome, start))
}

/// Formats what a test expects: only the value if it is of the whole output, in the form of the output next to it.
fn expected(expect: &Map<String, Value>) -> String {
    if let (1, Some(equals)) = (expect.len(), expect.get("equals")) {
        return pretty(equals);
    }
    let lines = expect.iter().map(|(key, expected)| {
        let text = quantity(key, expected).unwrap_or_else(|| match key.as_str() {
            "equals" => pretty(expected),
            _ => indented(expected),
        });
        let is_line = !text.contains('\n');
        if is_line { format!("{key} {text}") } else { format!("{key}\n{text}") }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Formats the value of an expectation that has a unit.
fn quantity(key: &str, expected: &Value) -> Option<String> {
    match key {
        "max_duration" => Some(show_duration(Duration::from_micros(expected.as_u64()?))),
        "max_memory" => Some(show_size(expected.as_u64()?)),
        _ => None,
    }
}

fn check(check: &Check<'_>, expected: Option<&Value>) -> String {
    let text = |value: &Value| quantity(&check.name, value).unwrap_or_else(|| value.to_string());
    let expected = expected.map(text).filter(|text| text.len() <= SHORT_VALUE);
    let expected: String = expected.iter().map(|text| format!(" {text}")).collect();
    let message: String = check.message.iter().map(|message| format!(": {message}")).collect();
    format!("{} {}{expected}{message}", check.verdict, &*check.name)
}

/// Formats a grade, with its explanation, its metrics and its log on lines of their own.
fn grade(grade: &Grade<'_>) -> Vec<String> {
    let mut words = vec![format!("{}: {}", &*grade.grader, phrases::grade(grade))];
    words.extend(grade.min_score.map(|least| {
        let [_, least] = phrases::score_and_least(grade.score.unwrap_or(least), least);
        format!("at least {least}")
    }));
    words
        .extend((grade.weight != 1.0).then(|| format!("weight {}", phrases::number(grade.weight))));
    let own = grade.own_verdict.filter(|own| Some(*own) != grade.verdict);
    words.extend(own.map(|own| format!("its own verdict is {own}")));
    words.extend((grade.attempt > 1).then(|| format!("attempt {}", grade.attempt)));
    words.push(show_duration(duration(grade.duration_ms)));
    words.extend(grade.metrics.iter().map(phrases::metric));
    let error = grade.error.as_ref().map(|error| ("error", &error.message));
    let texts = [
        error,
        grade.explanation.as_ref().map(|text| ("explanation", text)),
        grade.log.as_ref().map(|text| ("log", text)),
    ];
    let denied = grade.denied.iter().map(|denied| ("denied", &denied.what));
    let texts = texts.into_iter().flatten().chain(denied).flat_map(|(title, text)| {
        let rest = text.trim_end().lines().map(|line| format!("    {line}"));
        std::iter::once(format!("  {title}:")).chain(rest)
    });
    [words.join(", ")].into_iter().chain(texts).collect()
}

pub(super) fn record(record: &LogRecord<'_>) -> String {
    let fields = phrases::fields(record.fields.iter().map(|(name, value)| (&**name, &**value)));
    let at = phrases::time_of_day(record.at);
    format!("{at} {:5} {}{fields}", record.level, record.message)
}

/// Formats a text as it is, and other values as JSON, on one line if they are short.
fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => shown_text(text),
        value => indented(value),
    }
}

fn shown_text(text: &str) -> String {
    if text.is_empty() { "(empty)".to_owned() } else { text.to_owned() }
}

/// Formats JSON on one line, or on several if it is long.
fn indented(value: &impl fmt::Display) -> String {
    let line = value.to_string();
    if line.len() <= SHORT_VALUE { line } else { format!("{value:#}") }
}

#[cfg(test)]
#[path = "../tests/page.rs"]
mod tests;
