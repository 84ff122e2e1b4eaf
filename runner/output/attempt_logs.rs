//! What guests have said in their attempts.

use owo_colors::OwoColorize as _;

use super::{Output, Reader, failure, format, wrap};
use crate::{
    record::{LogLineRecord, RowGrade, RunId},
    view::{DocumentVersion, SpokenAttempt, SpokenAttempts, said_line, said_record},
};

/// Prints each attempt with what was said in it, as a document or until nobody reads any more.
///
/// # Errors
///
/// Fails with the first attempt that there is instead of a value.
pub fn print_attempt_logs<E>(
    run: &RunId,
    attempts: impl Iterator<Item = Result<SpokenAttempt, E>>,
    is_json: bool,
    output: &Output,
) -> Result<(), E> {
    if is_json {
        let document = SpokenAttempts {
            v: DocumentVersion,
            run: run.clone(),
            attempts: Vec::new(),
        };
        return output.long_document(&document, SpokenAttempts::ATTEMPTS, attempts);
    }
    let mut gap = "";
    for attempt in attempts {
        let text = attempt?.text();
        let text = wrap::wrapped(&text, output.columns());
        if output.feed(&format!("{gap}{text}\n")) == Reader::Gone {
            break;
        }
        gap = "\n";
    }
    Ok(())
}

impl SpokenAttempt {
    fn text(&self) -> String {
        let mut text = match &self.row {
            Some(row) => failure::head(row),
            None => failure::live_head(&self.name),
        };
        let log: Vec<_> = self.log_text.lines().map(record).collect();
        for (name, lines) in [
            ("log", log.join("\n")),
            ("stdout", self.stdout.clone()),
            ("stderr", self.stderr.clone()),
        ] {
            if lines.is_empty() {
                continue;
            }
            text += &format!("\n  {}", name.dimmed());
            // A guest begins no line of its own.
            for line in format::visible(&lines).lines() {
                text += &format!("\n    {line}");
            }
        }
        let grades = self.row.iter().flat_map(|row| &row.grades);
        let said: String = grades.map(grader_said).collect();
        let is_silent =
            self.log_text.is_empty() && self.stdout.is_empty() && self.stderr.is_empty();
        text += &said;
        if is_silent && said.is_empty() {
            text += &format!("\n  {}", "nothing was said".dimmed());
        }
        text
    }
}

/// What a grader said in its last attempt beside its answer, below a line with its name; nothing if it said nothing.
fn grader_said(grade: &RowGrade<'_>) -> String {
    let log: Vec<_> = grade.log.iter().map(grader_record).collect();
    let parts = [
        ("log", log.join("\n")),
        ("stdout", grade.stdout.to_string()),
        ("stderr", grade.stderr.to_string()),
    ];
    let mut text = String::new();
    for (name, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
        let grader = format::visible_line(&grade.grader);
        text += &format!("\n  {}", format!("{name} of grader {grader}").dimmed());
        for line in format::visible(lines).lines() {
            text += &format!("\n    {line}");
        }
    }
    text
}

/// A record of a grader's log on one line.
pub(super) fn grader_record(said: &LogLineRecord<'_>) -> String {
    said_record(said, format::clock)
}

/// A log record on one line: `TIME info message key=value`.
pub(super) fn record(line: &str) -> String {
    said_line(line, format::clock)
}
