//! A failed trial as a person reads it.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use super::{format, grants};
use crate::{
    model::CheckVerdict,
    record::{Row, RowCheck, RowError, RowGrade},
    view::{AttemptName, grade_words, plain_checks},
};

/// How many lines of a diff are shown; the row has them all.
const MAX_DIFF_LINES: usize = 24;
/// How long a value may be shown, in characters.
const MAX_VALUE: usize = 300;

/// The trial with its failed checks, its diff and its error; every line but the first is indented.
pub(super) fn lines(row: &Row<'_>) -> String {
    let mut text = head(row);
    let checks = plain_checks(&row.checks, &row.grades);
    let failed = checks.iter();
    for check in failed.filter(|check| check.verdict == CheckVerdict::Fail) {
        add_check(&mut text, check);
    }
    for grade in &row.grades {
        if grade.verdict == Some(CheckVerdict::Fail) {
            add_grade(&mut text, grade);
        }
    }
    if let Some(error) = &row.error {
        let name = error_name(error);
        let message = format::visible(&error.message);
        add_line(&mut text, 4, &format!("{name}: {message}"));
    }
    // Most providers pass on what the host has told them, and that says what to add.
    let told = row.error.as_ref().map_or("", |error| &error.message);
    let untold = row.denied.iter();
    for denied in untold.filter(|denied| !told.contains(denied.what.as_ref())) {
        let line = grants::denied_line(&row.provider, &denied.what, denied.grant.as_deref());
        add_line(&mut text, 4, &line.yellow().to_string());
    }
    text
}

/// An error's class and its code, each once.
pub(super) fn error_name(error: &RowError<'_>) -> String {
    let class = error.class.map_or("", |class| class.as_str());
    let code = match error.code == class {
        true => "",
        false => &error.code,
    };
    let code = format::visible_line(code);
    let parts = [class, &code].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

/// The trial of an attempt that has no row, on one line.
pub(super) fn live_head(name: &AttemptName) -> String {
    format!("{} {}", "not ended".cyan(), attempt_name(name))
}

/// The trial of an attempt, and which attempt at it.
pub(super) fn attempt_name(name: &AttemptName) -> String {
    let attempt = match name.number {
        1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    format!("{}{attempt}", format::visible_line(&name.trial).bold())
}

/// The trial, its outcome and its duration on one line.
pub(super) fn head(row: &Row<'_>) -> String {
    let attempt = match (row.attempt, row.is_final) {
        (1, true) => String::new(),
        (attempt, true) => format!(" (attempt {attempt})"),
        (attempt, false) => format!(" (attempt {attempt}, not final)"),
    };
    let score = row.score.map(|score| format!(" score {score}"));
    format!(
        "{} {}{attempt} {}{}",
        format::outcome(row.outcome),
        format::visible_line(&row.trial).bold(),
        format::duration(row.duration()).dimmed(),
        score.unwrap_or_default().dimmed()
    )
}

fn add_check(text: &mut String, check: &RowCheck<'_>) {
    let message = check.message.as_deref().unwrap_or("did not hold");
    let name = format::visible_line(&check.name);
    add_line(text, 4, &format!("{name}: {}", format::visible(message)));
    if let Some(diff) = &check.diff {
        let diff = format::visible(diff);
        let lines = diff.lines().filter(|line| !line.starts_with("@@"));
        for line in lines.clone().take(MAX_DIFF_LINES) {
            let line = match line.as_bytes().first() {
                Some(b'-') => line.red().to_string(),
                Some(b'+') => line.green().to_string(),
                _ => line.dimmed().to_string(),
            };
            add_line(text, 6, &line);
        }
        let more = lines.count().saturating_sub(MAX_DIFF_LINES);
        if more > 0 {
            add_line(
                text,
                6,
                &format!("… {more} more lines").dimmed().to_string(),
            );
        }
        return;
    }
    let shows_values = matches!(check.name.as_ref(), "equals" | "contains" | "matches");
    if let (true, Some(expected), Some(actual)) = (shows_values, &check.expected, &check.actual) {
        add_line(text, 6, &format!("expected {}", short(expected).green()));
        add_line(text, 6, &format!("got      {}", short(actual).red()));
    }
}

fn add_grade(text: &mut String, grade: &RowGrade<'_>) {
    let name = format::visible_line(&grade.grader);
    let words = grade_words(grade);
    let said = grade.explanation.as_deref().map(format::visible);
    let said = said.map_or_else(String::new, |said| format!(": {said}"));
    add_line(text, 4, &format!("grader `{name}`: {words}{said}"));
}

/// Adds a line, or more if `line` has more, all indented.
fn add_line(text: &mut String, indent: usize, line: &str) {
    for line in line.lines() {
        write!(text, "\n{:indent$}{line}", "").expect("a string can be written to");
    }
}

fn short(value: &serde_json::Value) -> String {
    let text = format::compact(value);
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
