//! Pages of trials and calls, as sections: input, output, checks, usage, logs. [`failure`](crate::failure) formats the
//! reasons of failures, which are shown above them.

use std::{fmt, time::Duration};

use runner_model::log::{LogRecord, Said};
use runner_model::row::{Artifact, Check, CheckKind, Grade, STDERR_FOLLOWS, duration};
use runner_model::units::{grouped, plural, show_duration, show_size};
use runner_model::{Outcome, RowRef, json::Json, outcome::Verdict, visible::cut};
use serde_json::{Map, Value};

use super::past;
use crate::{StaleEntry, TrialDocument, failure, logs::without_records, phrases, rows::Line};

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
        let session = row.session.unwrap_or(1);
        let at = phrases::zoned_clock(row.started_at);
        let mut page = Page::default();
        let note = if row.is_retried() {
            "; another attempt decides the trial"
        } else if self.rescored(row).is_some() {
            "; judged by `rescore`"
        } else {
            ""
        };
        let worker = row.worker.iter().map(|worker| format!(", worker {worker}"));
        let worker: String = worker.collect();
        let form = if self.development { ", development form" } else { "" };
        let known = self.known.iter();
        let known = known.map(|known| format!("{} ({})", known.line(), known.place));
        page.lines("known failures", known.chain(self.stale.iter().map(StaleEntry::line)));
        page.text("run", format!("{}\nsession {session}, {at}{worker}{form}{note}", self.run_dir));
        let attempts: Vec<_> = self.rows.iter().filter_map(attempt).collect();
        if attempts.len() > 1 {
            page.lines("attempts", attempts.into_iter());
        }
        page.lines("history", past::lines(&self.history).into_iter());
        let planned = self.planned();
        let meta = planned["meta"].as_object().into_iter().flatten();
        page.lines("meta", meta.map(|(key, value)| format!("{key} = {}", pretty(value))));
        for key in ["input", "reference"] {
            page.lines(key, planned.get(key).map(pretty).into_iter());
        }
        if let Some(Value::Object(expect)) = planned.get("expect") {
            page.text("expected", expected(expect));
        }
        page.lines("output", output(row).into_iter());
        page.lines("other providers", self.others.iter().filter_map(|line| self.other(line)));
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
        page.lines("files", files.map(|one| format!("{}: {}", file(&one.artifact), one.path)));
        page.0
    }

    /// Formats the result of another provider with the start of its output, or with the reason if there is no output.
    fn other(&self, line: &Line) -> Option<String> {
        let row = line.row()?;
        let text = output(&row).unwrap_or_else(|| failure::headline(&row));
        let start = cut(&text.replace('\n', " "), START);
        let took = show_duration(row.duration());
        let outcome = phrases::outcome(row.outcome, self.known_of(&row));
        Some(format!("{}: {outcome}, {took}  {start}", &*row.provider))
    }
}

/// Formats the page of a call that does not belong to a run.
pub fn call_sections(row: &RowRef<'_>, said: &Said<'_>) -> Vec<Section> {
    let mut page = Page::default();
    page.measured(row, &Value::Null);
    page.lines("workspace", row.workspace.iter().map(phrases::workspace));
    page.said(said);
    page.lines("files", row.artifacts.iter().map(file));
    page.0
}

/// Formats the calls in the journal, and how many times the attempt continued. `None` without a journal.
fn recorded(row: &RowRef<'_>) -> Option<String> {
    let calls = format!("calls {}", grouped(row.calls?.count.into()));
    Some(match row.continued {
        0 => calls,
        1 => format!("{calls} · continued once"),
        times => format!("{calls} · continued {} times", grouped(times.into())),
    })
}

fn file(artifact: &Artifact<'_>) -> String {
    format!("{}, {}", &*artifact.name, show_size(artifact.bytes))
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
        let [mut wanted, mut unwanted] = [expect, &expect["not"]]
            .map(|table| table["contains"].as_array().into_iter().flatten());
        let checks = row.checks.iter().filter_map(|check| {
            let expected = match check.kind {
                None => None,
                Some(CheckKind::Contains) => wanted.next(),
                Some(CheckKind::NotContains) => unwanted.next(),
                Some(kind) => expect.pointer(&format!("/{}", kind.as_str().replace('.', "/"))),
            };
            // Failed checks are shown above the page.
            (check.verdict != Verdict::Fail).then(|| self::check(check, expected))
        });
        self.lines("checks", checks);
        self.lines("cut off by", row.cut_by.iter().map(ToString::to_string));
        self.lines("grades", row.grades.iter().flat_map(grade));
        self.lines("metrics", row.metrics.iter().map(phrases::metric));
        let usage = &row.usage;
        let used = format!(
            "memory {} at most; {}, {}, {} in, {} out",
            show_size(usage.peak_memory),
            plural(usage.host_calls, "host call", "host calls"),
            plural(usage.http_requests, "HTTP request", "HTTP requests"),
            show_size(usage.bytes_in),
            show_size(usage.bytes_out)
        );
        self.lines("usage", [used].into_iter().chain(recorded(row)));
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
    let RowRef { attempt, outcome, .. } = row;
    let session = row.session.unwrap_or(1);
    let took = show_duration(row.duration());
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
        format!("{key}{}{text}", if text.contains('\n') { '\n' } else { ' ' })
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
    let expected = expected
        .map(|value| quantity(check.label(), value).unwrap_or_else(|| value.to_string()))
        .filter(|text| text.len() <= SHORT_VALUE);
    let expected: String = expected.iter().map(|text| format!(" {text}")).collect();
    let message: String = check.message.iter().map(|message| format!(": {message}")).collect();
    let stderr = check.stderr.iter().map(|stderr| format!("{STDERR_FOLLOWS}\n{stderr}"));
    let stderr: String = stderr.collect();
    format!("{} {}{expected}{message}{stderr}", check.verdict, check.label())
}

/// Formats a grade, with its explanation, its metrics and its log on lines of their own. The explanation of a failed one is above
/// the page.
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
    words.extend(grade.calls.map(|calls| plural(calls.count.into(), "call", "calls")));
    words.extend(grade.metrics.iter().map(phrases::metric));
    let explanation = grade.explanation.as_ref().filter(|_| !grade.has_failed());
    let texts = [
        grade.error.as_ref().map(|error| ("error", error.to_string())),
        explanation.map(|text| ("explanation", text.to_string())),
        grade.own_log().map(|text| ("log", text.to_owned())),
    ];
    let denied = grade.denied.iter().map(|denied| ("denied", denied.what.to_string()));
    let texts = texts.into_iter().flatten().chain(denied).flat_map(|(title, text)| {
        let lines = text.trim_end().lines().map(|line| format!("    {line}"));
        [format!("  {title}:")].into_iter().chain(lines).collect::<Vec<_>>()
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
