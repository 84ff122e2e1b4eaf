//! Reasons why a trial did not pass: one line for lists, a block for details. All texts are made visible.

use std::borrow::Cow;

use runner_model::row::{Check, Raw, RowError};
use runner_model::visible::{marked, visible_line};
use runner_model::{ErrorClass, Outcome, RowRef, outcome::Verdict, units};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{denials, logs::JsonRecord};

/// Characters of a value in a headline.
const SHORT_VALUE: usize = 40;
/// Characters of a value in the line of a difference.
const LONG_VALUE: usize = 200;

/// Replaces the values of a text that should have been an object or an array.
const JSON_TEXT: &str = "the output is a text that holds JSON; to read the output of a plain command as JSON, set `output = \"json\"`";

/// End of an error's line after which the program's standard error follows.
const STDERR_FOLLOWS: &str = "; its standard error ends with:";
/// Start of Rust's line after a panic.
const BACKTRACE: &str = "note: run with `RUST_BACKTRACE=";
/// Line of the Python runtime below an exception that was not caught.
const PYTHON_PANIC: &str = "Python function threw an unexpected exception";

/// The role of a line in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The reason.
    Reason,
    /// Details of the reason.
    Detail,
    /// An expected value, or a line that the output lacks.
    Expected,
    /// An actual value, or a line that only the output has.
    Actual,
}

pub type BlockLine = (Tone, String);

/// Formats the reason as one line: the first failed check, or else the error.
pub fn headline(row: &RowRef<'_>) -> String {
    let failed = row.checks.iter().find(|check| has_failed(check));
    match (failed, &row.error) {
        (Some(check), _) => {
            let message = check.message.as_deref().unwrap_or_default();
            with_words(check_line(check), message)
        }
        (None, Some(error)) => with_words(error_line(row, error), &error.message),
        (None, None) => match (&row.summary, row.verdict) {
            (Some(summary), Some(Verdict::Fail)) => with_summary("verdict fail", summary),
            (None, Some(Verdict::Fail)) => "the provider's verdict is fail".to_owned(),
            (Some(summary), _) => visible_line(summary).into_owned(),
            (None, _) => row.outcome.to_string(),
        },
    }
}

fn with_summary(head: &str, summary: &str) -> String {
    format!("{head}: {}", visible_line(summary))
}

/// Formats all reasons: every failed check, and the error. Shows at most `most` lines of each value, message and
/// difference.
pub fn block(row: &RowRef<'_>, most: usize) -> Vec<BlockLine> {
    let mut lines = Vec::new();
    for check in row.checks.iter().filter(|check| has_failed(check)) {
        let (first, others) = message_lines(check);
        lines.push((Tone::Reason, format!("{}: {first}", &*check.name)));
        let others = others.map(|line| (Tone::Detail, line.to_owned()));
        push_at_most(&mut lines, others.collect(), most);
        push_at_most(&mut lines, check_values(check), most);
    }
    if let Some(error) = &row.error {
        // The denial below has the same text, with advice.
        let mut denied = row.denied.iter();
        if !denied.any(|denied| error.message.contains(&*denied.what)) {
            lines.push((Tone::Reason, error_line(row, error)));
        }
        push_at_most(&mut lines, error_details(error), most);
    }
    for denied in &row.denied {
        lines.push((Tone::Reason, denials::line(row, denied)));
    }
    match &row.summary {
        _ if lines.is_empty() && row.outcome != Outcome::Passed => {
            lines.push((Tone::Reason, headline(row)));
        }
        Some(summary) if !lines.is_empty() => {
            lines.push((Tone::Detail, with_summary("summary", summary)));
        }
        _ => {}
    }
    for (tone, line) in &mut lines {
        *line = match tone {
            // A difference has marks, and lines of logs may end with spaces.
            Tone::Detail => visible_line(line).into_owned(),
            Tone::Reason | Tone::Expected | Tone::Actual => marked(line),
        };
    }
    lines
}

fn has_failed(check: &Check<'_>) -> bool {
    check.verdict == Verdict::Fail
}

fn check_line(check: &Check<'_>) -> String {
    let said = match (&check.expected, &check.actual) {
        // The message only states that they differ.
        (Some(expected), Some(actual)) if *check.name == *"equals" => {
            let differences = differences(expected, actual);
            let first = differences.first();
            let first = first.map(|difference| difference.line(SHORT_VALUE));
            let more = match differences.len() {
                0 | 1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            let whole = || expected_and_got(expected.get(), actual.get(), SHORT_VALUE);
            first.unwrap_or_else(whole) + &more
        }
        _ => message_lines(check).0.to_owned(),
    };
    marked(&format!("{}: {said}", &*check.name))
}

/// Returns the first line of a check's message that is not empty, and the lines after it.
fn message_lines<'a>(check: &'a Check<'_>) -> (&'a str, impl Iterator<Item = &'a str>) {
    let message = check.message.as_deref().unwrap_or_default();
    let mut lines = message.trim_end().lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty());
    (first.unwrap_or("did not hold"), lines)
}

/// Formats two values, each cut to `most` characters so that their first difference is shown.
fn expected_and_got(expected: &str, got: &str, most: usize) -> String {
    let pairs = expected.chars().zip(got.chars());
    let common = pairs.take_while(|(left, right)| left == right).count();
    let from = if common < most / 2 { 0 } else { common - most / 4 };
    let [expected, got] = [expected, got].map(|text| {
        if from == 0 || text.chars().count() <= most {
            return cut(text, most);
        }
        let rest: String = text.chars().skip(from).collect();
        cut(&format!("…{rest}"), most)
    });
    format!("expected {expected}, got {got}")
}

/// A place where two values differ.
struct Difference {
    /// Such as `$.a.b[0]`.
    path: String,
    /// `None` if the place is only in the other value.
    expected: Option<Value>,
    actual: Option<Value>,
}

impl Difference {
    /// Formats the difference with values of at most `most` characters.
    fn line(&self, most: usize) -> String {
        let [expected, actual] = [&self.expected, &self.actual]
            .map(|value| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string));
        format!("at {}: {}", self.path, expected_and_got(&expected, &actual, most))
    }
}

/// Returns all differences of two objects or of two arrays, and nothing for other values.
fn differences(expected: &Raw<'_>, actual: &Raw<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    match (serde_json::from_str(expected.get()), serde_json::from_str(actual.get())) {
        (Ok(expected @ Value::Object(_)), Ok(actual @ Value::Object(_)))
        | (Ok(expected @ Value::Array(_)), Ok(actual @ Value::Array(_))) => {
            add_differences(&mut found, "$".to_owned(), Some(expected), Some(actual));
        }
        _ => {}
    }
    found
}

fn add_differences(
    found: &mut Vec<Difference>,
    path: String,
    expected: Option<Value>,
    actual: Option<Value>,
) {
    match (expected, actual) {
        (Some(Value::Object(expected)), Some(Value::Object(mut actual))) => {
            for (key, expected) in expected {
                let actual = actual.remove(&key);
                add_differences(found, path.clone() + &step(&key), Some(expected), actual);
            }
            for (key, actual) in actual {
                add_differences(found, path.clone() + &step(&key), None, Some(actual));
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(actual))) => {
            let count = expected.len().max(actual.len());
            let (mut expected, mut actual) = (expected.into_iter(), actual.into_iter());
            for index in 0..count {
                let path = format!("{path}[{index}]");
                add_differences(found, path, expected.next(), actual.next());
            }
        }
        (Some(Value::Number(left)), Some(Value::Number(right)))
            if left == right || left.as_f64() == right.as_f64() => {}
        (expected, actual) if expected == actual => {}
        (expected, actual) => found.push(Difference { path, expected, actual }),
    }
}

/// Formats a key as a step of a path.
fn step(key: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_-".contains(character);
    if !key.is_empty() && key.chars().all(is_plain) {
        format!(".{key}")
    } else {
        format!("[{}]", Value::from(key))
    }
}

/// Returns all differences of objects and arrays that should be equal, else the difference of texts, else both values.
fn check_values(check: &Check<'_>) -> Vec<BlockLine> {
    if let (Some(expected), Some(actual)) = (&check.expected, &check.actual)
        && *check.name == *"equals"
    {
        let differences = differences(expected, actual);
        if !differences.is_empty() {
            let lines = differences.iter().map(|difference| difference.line(LONG_VALUE));
            return lines.map(|line| (Tone::Actual, line)).collect();
        }
        let text = serde_json::from_str::<String>(actual.get());
        let is_tree = |json: &str| json.starts_with(['{', '[']);
        if is_tree(expected.get())
            && text.is_ok_and(|text| {
                is_tree(&text) && serde_json::from_str::<IgnoredAny>(&text).is_ok()
            })
        {
            return vec![(Tone::Detail, JSON_TEXT.to_owned())];
        }
    }
    if let Some(diff) = &check.diff {
        return difference(diff);
    }
    let value = |tone, name, value: &Option<Raw<'_>>| {
        value.as_ref().map(|value| (tone, format!("{name} {}", value.get())))
    };
    // The message of `contains` has the text.
    let expected = check.expected.clone().filter(|_| *check.name != *"contains");
    let both = [
        value(Tone::Expected, "expected ", &expected),
        value(Tone::Actual, "got      ", &check.actual),
    ];
    both.into_iter().flatten().collect()
}

fn difference(diff: &str) -> Vec<BlockLine> {
    const NO_LINE_BREAK: char = '\\';
    let ends = diff.lines().filter(|line| line.starts_with(NO_LINE_BREAK));
    // A missing line break at the end of both texts is no difference.
    let is_noise = ends.count() != 1;
    let lines = diff.lines().filter(|line| !(is_noise && line.starts_with(NO_LINE_BREAK)));
    let tone = |line: &str| match line.as_bytes().first() {
        Some(b'-') => Tone::Expected,
        Some(b'+') => Tone::Actual,
        _ => Tone::Detail,
    };
    // The first place explains the signs. Others mark omitted lines.
    let lines = lines.enumerate().map(|(index, line)| match index {
        0 if line.starts_with("@@") => (Tone::Detail, "- expected  + got".to_owned()),
        _ => (tone(line), line.to_owned()),
    });
    lines.collect()
}

/// Cuts a text to `most` characters, with `…` at the end.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

fn push_at_most(lines: &mut Vec<BlockLine>, mut more: Vec<BlockLine>, most: usize) {
    if more.len() > most {
        let left = more.len() - most;
        more.truncate(most);
        more.push((
            Tone::Detail,
            format!("… {}", units::plural(left as u64, "more line", "more lines")),
        ));
    }
    lines.append(&mut more);
}

/// Formats an error: a panic by its own message, else class, code and first line.
fn error_line(row: &RowRef<'_>, error: &RowError<'_>) -> String {
    let first = error.message.lines().map(str::trim).find(|line| !line.is_empty());
    let words = match (panic(error), first) {
        (Some((_, words)), _) => words,
        (None, Some(first)) => match title(row, error) {
            Some(title) => format!("{title}: {first}"),
            None => first.to_owned(),
        },
        (None, None) => title(row, error).unwrap_or_else(|| "without a message".to_owned()),
    };
    visible_line(&words).into_owned()
}

/// Adds a line of the program's standard error: the one of a Go panic, or else the last.
fn with_words(line: String, message: &str) -> String {
    let Some(line) = line.strip_suffix(STDERR_FOLLOWS) else {
        return line;
    };
    let said = message.lines().map(str::trim);
    let mut said = said.filter(|said| !said.is_empty() && !said.starts_with(BACKTRACE));
    let last = said.clone().next_back().unwrap_or_default();
    let words = said.find(|said| said.starts_with("panic: "));
    format!("{line}: {}", visible_line(&message_of(words.unwrap_or(last))))
}

/// Returns class and code, such as `trap unreachable`. `None` if they only repeat the outcome.
fn title(row: &RowRef<'_>, error: &RowError<'_>) -> Option<String> {
    let class = error.class.map(ErrorClass::as_str);
    let mut words: Vec<&str> = class.into_iter().chain([&*error.code]).collect();
    words.retain(|word| !word.is_empty() && *word != row.outcome.as_str());
    words.dedup();
    Some(words.join(" ")).filter(|title| !title.is_empty())
}

/// Returns the lines of an error's message that [`error_line`] leaves out.
fn error_details(error: &RowError<'_>) -> Vec<BlockLine> {
    let panic = panic(error);
    let is_told = |line: &str| match &panic {
        Some((lines, _)) => lines.contains(&line) || line.starts_with(BACKTRACE),
        None => false,
    };
    let lines = error.message.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.trim().is_empty() && !is_told(line.trim()));
    // Without a panic, `error_line` has the first line.
    let lines = lines.skip(usize::from(panic.is_none()));
    let lines = lines.map(|line| match &panic {
        Some(_) => line.strip_suffix(STDERR_FOLLOWS).unwrap_or(line),
        None => line,
    });
    lines.map(|line| (Tone::Detail, message_of(line).into_owned())).collect()
}

/// Returns the message of a line of standard error that is a log record in JSON, else the line.
fn message_of(line: &str) -> Cow<'_, str> {
    let record = JsonRecord::parse(line);
    record.map_or(line.into(), |record| format!("{}: {}", record.level, &*record.message).into())
}

/// Returns the lines of a panic in a trap's message, and the panic as one line.
fn panic<'a>(error: &'a RowError<'_>) -> Option<(Vec<&'a str>, String)> {
    if error.class != Some(ErrorClass::Trap) {
        return None;
    }
    let lines = error.message.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let is_panic = |line: &&str| line.starts_with("thread '") && line.contains("panicked at ");
    let at = lines.iter().position(is_panic)?;
    let place = &lines[at][lines[at].find("panicked at ")?..];
    let words = lines.get(at + 1).filter(|_| place.ends_with(':'));
    Some(match (words, at.checked_sub(1).map(|above| lines[above])) {
        // The runtime of Python components panics after it has printed the exception.
        (Some(words), Some(above))
            if *words == PYTHON_PANIC && !above.ends_with(STDERR_FOLLOWS) =>
        {
            (vec![above, lines[at], words], above.to_owned())
        }
        (Some(words), _) => (vec![lines[at], words], format!("{place} {words}")),
        (None, _) => (vec![lines[at]], place.to_owned()),
    })
}

#[cfg(test)]
#[path = "tests/failure.rs"]
mod tests;
