//! The page of one trial: what it came to and why, what it was asked, what came, what was said.

use std::time::Duration;

use runner_model::{
    RowRef,
    log::{LogRecord, Said},
    outcome::Verdict,
    units::{show_duration, show_size},
    visible::visible_line,
};
use runner_report::{TrialDocument, words};
use serde_json::Value;

use super::{failures::row_block, style};

/// Lines of a value, a difference or a log before the rest is left out.
const MOST_LINES: usize = 200;
/// Bytes of JSON that stand on one line.
const SHORT_VALUE: usize = 60;

/// The page as it is printed.
pub fn page(document: &TrialDocument) -> String {
    let rows: Vec<_> = document.rows.iter().filter_map(|line| line.row()).collect();
    // What settles the trial, or else the newest attempt, is what the page is about.
    let settles = rows.iter().rev().find(|row| row.r#final == Some(true));
    let Some(row) = settles.or(rows.last()) else {
        return String::new();
    };
    let mut page = Page::default();
    page.text.push_str(&row_block(row, MOST_LINES));
    page.section("run", &run_line(document, row));
    if rows.len() > 1 {
        page.section("attempts", &attempts(&rows));
    }
    let planned = document.planned.as_ref();
    let planned = planned.and_then(|test| serde_json::from_str::<Value>(test.get()).ok());
    if let Some(input) = planned.as_ref().and_then(|test| test.get("input")) {
        page.section("input", &pretty(input));
    }
    if let Some(Value::Object(expect)) = planned.as_ref().and_then(|test| test.get("expect")) {
        let lines = expect
            .iter()
            .map(|(key, value)| match (key.as_str(), value.as_u64()) {
                ("max_duration", Some(micros)) => {
                    format!("{key} {}", show_duration(Duration::from_micros(micros)))
                }
                _ => format!("{key} {value}"),
            });
        page.section("expected", &lines.collect::<Vec<_>>().join("\n"));
    }
    if let Some(output) = &row.output {
        let value = serde_json::from_str(output.get());
        page.section(
            "output",
            &value.map_or_else(|_| output.get().to_owned(), |value| pretty(&value)),
        );
    }
    page.measured(row);
    let seq = row.seq.unwrap_or(0);
    if let Some(log) = document.logs.iter().find(|log| log.seq == seq) {
        let said = log.said.as_ref().map(|said| said.get());
        match said.and_then(|said| serde_json::from_str(said).ok()) {
            Some(said) => page.said(&said),
            None => page.section("log", "what was said cannot be read"),
        }
    }
    let files = document.artifacts.iter().filter(|file| file.seq == seq);
    page.files(files.map(|file| (&*file.artifact.name, file.artifact.bytes, Some(&*file.path))));
    page.text
}

/// The page of a call that is no trial of a run.
pub fn call_page(row: &RowRef<'_>, said: &Said<'_>) -> String {
    let mut page = Page::default();
    page.text.push_str(&row_block(row, MOST_LINES));
    page.measured(row);
    page.said(said);
    let files = row.artifacts.iter();
    page.files(files.map(|file| (&*file.name, file.bytes, None)));
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A title, and what stands below it, made visible and indented.
    fn section(&mut self, title: &str, text: &str) {
        self.text.push_str(&format!("\n{}\n", style::bold(title)));
        let count = text.lines().count();
        let lines = text.lines().take(MOST_LINES);
        let mut lines: Vec<_> = lines
            .map(|line| format!("  {}", visible_line(line)))
            .collect();
        if count > MOST_LINES {
            let left = count - MOST_LINES;
            lines.push(format!("  … {left} more lines: `--json` has all"));
        }
        self.text.push_str(&lines.join("\n"));
    }

    /// Sections that have no title where nothing stands in them.
    fn lines(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<_> = lines.into_iter().collect();
        if !lines.is_empty() {
            self.section(title, &lines.join("\n"));
        }
    }

    /// The checks, the metrics and what was used.
    fn measured(&mut self, row: &RowRef<'_>) {
        // Those that did not hold stand above.
        let checks = row.checks.iter();
        if checks.clone().any(|check| check.verdict != Verdict::Fail) {
            self.lines(
                "checks",
                checks.map(|check| {
                    let message = check.message.iter().map(|message| format!(": {message}"));
                    let message: String = message.collect();
                    format!("{} {}{message}", check.verdict, &*check.name)
                }),
            );
        }
        let metrics = row.metrics.iter().map(|metric| {
            let unit = metric.unit.iter().map(|unit| format!(" {unit}"));
            let unit: String = unit.collect();
            format!("{} {}{unit}", &*metric.name, metric.value)
        });
        self.lines("metrics", metrics);
        let usage = &row.usage;
        self.section(
            "usage",
            &format!(
                "memory {} at most; {} host calls, {} HTTP requests, {} in, {} out",
                show_size(usage.peak_memory),
                usage.host_calls,
                usage.http_requests,
                show_size(usage.bytes_in),
                show_size(usage.bytes_out)
            ),
        );
    }

    /// Names, sizes and places of files.
    fn files<'a>(&mut self, files: impl Iterator<Item = (&'a str, u64, Option<&'a str>)>) {
        let line = |(name, bytes, path): (&str, u64, Option<&str>)| {
            let path = path.map_or_else(String::new, |path| format!(": {path}"));
            format!("{name}, {}{path}", show_size(bytes))
        };
        self.lines("files", files.map(line));
    }

    fn said(&mut self, said: &Said<'_>) {
        let record = |record: &LogRecord<'_>| {
            let fields = record.fields.iter();
            let fields: String = fields
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            let at = record.at.to_string();
            let at = at.get(11..23).unwrap_or(&at);
            format!("{at} {:5} {}{fields}", record.level, record.message)
        };
        let mut records: Vec<_> = said.log.iter().map(record).collect();
        if said.dropped > 0 {
            records.push(format!("{} more were over the limit", said.dropped));
        }
        self.lines("log", records);
        for (title, text) in [
            ("standard output", &*said.stdout),
            ("standard error", &*said.stderr),
        ] {
            if !text.is_empty() {
                self.section(title, text);
            }
        }
    }
}

fn run_line(document: &TrialDocument, row: &RowRef<'_>) -> String {
    let session = row.session.unwrap_or(1);
    let at = words::clock(row.started_at);
    format!("{}\nsession {session}, {at} UTC", document.run_dir)
}

fn attempts(rows: &[RowRef<'_>]) -> String {
    let line = |row: &RowRef<'_>| {
        let took = show_duration(row.duration());
        let session = row.session.unwrap_or(1);
        let reason = runner_report::failure::headline(row);
        format!(
            "{} in session {session}: {}, {took}  {reason}",
            row.attempt, row.outcome
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text as it is, and any other value as JSON, on one line if it is short.
fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => Some(value.to_string())
            .filter(|line| line.len() <= SHORT_VALUE)
            .or_else(|| serde_json::to_string_pretty(value).ok())
            .unwrap_or_default(),
    }
}
