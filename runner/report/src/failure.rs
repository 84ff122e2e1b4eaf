//! Reasons why a trial did not pass: one line for lists, a block for details. All texts are made visible.

use std::borrow::Cow;

use runner_model::row::{BACKTRACE, Check, Grade, Raw, RowError, STDERR_FOLLOWS, panic};
use runner_model::visible::{
    cut, cut_around_difference, difference_start, expected_and_got, marked, visible_line,
};
use runner_model::{ErrorClass, Outcome, RowRef, outcome::Verdict, units};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{denials, logs::JsonRecord, phrases};

/// Characters of a value in a headline.
const SHORT_VALUE: usize = 40;
/// Characters of a line in a block that is not whole: five lines of most terminals.
const LONG_LINE: usize = 400;
/// Start of the line of a difference, which continues with its path.
const DIFFERENCE: &str = "at $";

/// Start of the end of an error's line that quotes the program's output.
const OUTPUT_FOLLOWS: &str = "; it starts with `";
/// Parts of lower-case lines of standard error that give the reason of a trap. Other lines are of the program's log.
const REASONS: &[&str] = &[
    "abort: ",
    "assertion failed",
    "error: ",
    "exception: ",
    "fatal: ",
    "panic: ",
    "terminating due to ",
];
/// Start of a message that repeats both values.
const UNSEEN: &str = "the output differs only in white space or invisible characters";
/// Start of the end of a message about a difference that cannot be seen.
const CODE_POINTS: &str = " (first difference: ";
/// Start of the end of a message that names a key of the provider.
const HINT: &str = "; set the provider's `";
/// End of a message about texts whose case does not count.
const IGNORING_CASE: &str = ", ignoring case";
/// Start of the end of a check's message that compared an answer of the JSON protocol as a text.
const PROTOCOL_HINT: &str = "this looks like an answer of the JSON protocol";

/// The role of a line in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

/// Formats the reason as one line: the first failed check, or else the first grade that is not a pass, or the error without
/// class and code.
pub fn headline(row: &RowRef<'_>) -> String {
    if let Some(grade) = deciding_grade(row) {
        return grade_line(grade);
    }
    match (deciding_check(row), &row.error) {
        (Some(check), Some(error)) if is_of_scenario(check, &["error"]) => {
            unexpected_error(check, error, fault)
        }
        (Some(check), _) => {
            let message = check.message.as_deref().unwrap_or_default();
            let (line, code) = (check_line(check), check.actual.as_ref().map(|code| code.get()));
            match (program_words(&line, message), code) {
                (Some(words), Some(code)) if is_of_scenario(check, &["exit_code"]) => {
                    format!("exit code {code}: {words}")
                }
                (Some(words), _) => line.replace(STDERR_FOLLOWS, &format!(": {words}")),
                (None, _) => line,
            }
        }
        (None, Some(error)) => {
            let words = error_words(error).unwrap_or_else(|| error_line(row, error));
            fault(error, &words)
        }
        (None, None) => match (&row.summary, row.verdict) {
            (Some(summary), Some(Verdict::Fail)) => with_summary("verdict fail", summary),
            (None, Some(Verdict::Fail)) => "the provider returned the verdict `fail`".to_owned(),
            (Some(summary), _) => visible_line(summary).into_owned(),
            (None, _) => row.outcome.to_string(),
        },
    }
}

/// Returns the failed check that a line shows: the one of the exit code, or else the first.
fn deciding_check<'a, 'b>(row: &'a RowRef<'b>) -> Option<&'a Check<'b>> {
    let mut failed = row.checks.iter().filter(|check| has_failed(check));
    let first = failed.clone().next();
    failed.find(|check| is_of_scenario(check, &["exit_code"])).or(first)
}

/// Formats the check of an expected error, with the actual error in place of its copy in the check's message. `format` is given
/// the words of the error.
fn unexpected_error(
    check: &Check<'_>,
    error: &RowError<'_>,
    format: fn(&RowError<'_>, &str) -> String,
) -> String {
    let (message, _) = message_lines(check);
    let pair = message.split_once(": ").map_or(message, |(pair, _)| pair);
    let words = error_words(error).map(|words| format(error, &words));
    let words: String = words.iter().map(|words| format!(": {words}")).collect();
    visible_line(&format!("{}: {pair}{words}", &*check.name)).into_owned()
}

/// Returns the grade that decides a row: the one with an error, or else the first one that is a fail.
pub fn deciding_grade<'a, 'b>(row: &'a RowRef<'b>) -> Option<&'a Grade<'b>> {
    let fails = |grade: &&Grade<'_>| grade.verdict == Some(Verdict::Fail);
    let failed = row.grades.iter().find(|grade| grade.error.is_some());
    failed.or_else(|| row.grades.iter().find(fails))
}

/// Formats why a grade is not a pass, with the first line of its explanation.
fn grade_line(grade: &Grade<'_>) -> String {
    let reason = match (&grade.error, grade.score, grade.min_score) {
        (Some(error), ..) => {
            let words = error_words(error).unwrap_or_else(|| error.code.to_string());
            fault(error, &words)
        }
        (None, Some(score), Some(least)) if score < least => {
            let [score, least] = phrases::score_and_least(score, least);
            format!("score {score} < {least}")
        }
        _ => format!("verdict {}", phrases::grade(grade)),
    };
    let explanation: String = explanation(grade).take(1).map(|line| format!(": {line}")).collect();
    visible_line(&format!("grader {}: {reason}{explanation}", &*grade.grader)).into_owned()
}

/// Returns the lines of an explanation.
fn explanation<'a>(grade: &'a Grade<'_>) -> impl Iterator<Item = &'a str> {
    let text = grade.explanation.as_deref().unwrap_or_default();
    text.lines().map(str::trim_end).filter(|line| !line.is_empty())
}

fn with_summary(head: &str, summary: &str) -> String {
    format!("{head}: {}", visible_line(summary))
}

/// Formats all reasons: every failed check, and the error. Shows at most `most` lines of each value, message and
/// difference, and the start of long lines unless `most` is `usize::MAX`.
pub fn block(row: &RowRef<'_>, most: usize) -> Vec<BlockLine> {
    let (mut lines, mut has_error) = (Vec::new(), false);
    for check in row.checks.iter().filter(|check| has_failed(check)) {
        if let Some(error) = row.error.as_ref().filter(|_| is_of_scenario(check, &["error"])) {
            lines.push((Tone::Reason, unexpected_error(check, error, with_program_words)));
            has_error = true;
            continue;
        }
        let (mut first, others) = message_lines(check);
        let values = check_values(check, most < usize::MAX);
        let mut points = "";
        if first.starts_with(UNSEEN) && !values.is_empty() {
            points = message_end(first);
            first = UNSEEN;
        }
        lines.push((Tone::Reason, format!("{}: {first}{points}", &*check.name)));
        let is_difference = |line: &str| line.starts_with(DIFFERENCE);
        let tone = |line| if is_difference(line) { Tone::Actual } else { Tone::Detail };
        let others = others.map(|line| (tone(line), line.to_owned())).collect();
        match first.strip_suffix(" differences").map(|all| all.replace(',', "").parse()) {
            Some(Ok(all)) if lists_differences(check) => {
                push_first(&mut lines, others, most, all, "difference");
            }
            _ => push_at_most(&mut lines, others, most),
        }
        push_at_most(&mut lines, values, most);
    }
    for grade in
        row.grades.iter().filter(|grade| grade.verdict.is_none_or(|one| one == Verdict::Fail))
    {
        lines.push((Tone::Reason, grade_line(grade)));
        let details = explanation(grade).skip(1).map(|line| (Tone::Detail, line.to_owned()));
        let error = grade.error.iter().flat_map(error_details);
        push_at_most(&mut lines, details.chain(error).collect(), most);
        for denied in &grade.denied {
            lines.push((Tone::Reason, denials::line(row, Some(&grade.grader), denied)));
        }
    }
    // The error of a grader is in its grade.
    let is_of_grader = |error: &&RowError<'_>| error.class == Some(ErrorClass::Grader);
    if let Some(error) = row.error.as_ref().filter(|error| !is_of_grader(error)) {
        // The denial below has the same text, with advice.
        let mut denied = row.denied.iter();
        if !has_error && !denied.any(|denied| error.message.contains(&*denied.what)) {
            lines.push((Tone::Reason, error_line(row, error)));
        }
        push_at_most(&mut lines, error_details(error), most);
    }
    for denied in &row.denied {
        lines.push((Tone::Reason, denials::line(row, None, denied)));
    }
    match &row.summary {
        _ if lines.is_empty() && row.outcome != Outcome::Passed => {
            lines.push((Tone::Reason, headline(row)));
        }
        summary if row.outcome == Outcome::Failed && row.verdict == Some(Verdict::Skip) => {
            let head = "the provider returned the verdict `skip`";
            let line = summary.as_ref().map(|summary| with_summary(head, summary));
            lines.insert(0, (Tone::Reason, line.unwrap_or_else(|| head.to_owned())));
        }
        Some(summary) if !lines.is_empty() => {
            lines.push((Tone::Reason, with_summary("summary", summary)));
        }
        _ => {}
    }
    for (tone, line) in &mut lines {
        *line = match tone {
            // A difference has marks, and lines of logs may end with spaces.
            Tone::Detail => visible_line(line).into_owned(),
            Tone::Reason | Tone::Expected | Tone::Actual => marked(line),
        };
        if let (Some((end, _)), true) = (line.char_indices().nth(LONG_LINE), most < usize::MAX) {
            let left = units::show_size((line.len() - end) as u64);
            *line = format!("{}… {left} more", &line[..end]);
        }
    }
    lines
}

fn has_failed(check: &Check<'_>) -> bool {
    check.verdict == Verdict::Fail
}

fn check_line(check: &Check<'_>) -> String {
    let (first, mut others) = message_lines(check);
    let words = match (&check.expected, &check.actual, others.next()) {
        _ if let Some(hint) = protocol_hint(check) => hint.to_owned(),
        // The first line is the number of differences.
        (.., Some(other)) if other.starts_with(DIFFERENCE) => format!("{first}; {}", &other[3..]),
        // The message only states that they differ.
        (Some(expected), Some(actual), _) if is_compared(check) && !lists_differences(check) => {
            let (expected, actual) = (expected.get(), actual.get());
            let line = if first.contains(IGNORING_CASE) {
                differing_line(&expected.to_lowercase(), &actual.to_lowercase())
            } else {
                differing_line(expected, actual)
            };
            let words = line.unwrap_or_else(|| expected_and_got(expected, actual, SHORT_VALUE));
            words + message_end(first)
        }
        (Some(expected), Some(actual), _) if is_of_scenario(check, &["equals_any"]) => {
            let [expected, actual] = [expected, actual].map(|value| cut(value.get(), SHORT_VALUE));
            format!("expected one of {expected}, got {actual}{}", message_end(first))
        }
        _ => first.to_owned(),
    };
    marked(&format!("{}: {words}", &*check.name))
}

/// Returns the end of a message that values do not replace: code points, and a key of the provider.
fn message_end(message: &str) -> &str {
    let start = message.rfind(CODE_POINTS).or_else(|| message.rfind(HINT));
    start.map_or("", |start| &message[start..])
}

/// Formats the first line in which two texts differ. `None` if both are one line, or not texts.
fn differing_line(expected: &str, actual: &str) -> Option<String> {
    let text = |json| serde_json::from_str::<String>(json).ok();
    let (expected, actual) = (text(expected)?, text(actual)?);
    if expected.lines().count().max(actual.lines().count()) < 2 {
        return None;
    }
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    let mut lines = (1..).map(|number: u64| (number, expected.next(), actual.next()));
    let (number, expected, actual) =
        lines.find(|(_, expected, actual)| expected != actual || expected.is_none())?;
    // Texts may also differ in their line breaks only.
    expected.or(actual)?;
    let both = [expected, actual].map(Option::unwrap_or_default);
    let [expected_part, actual_part] = cut_around_difference(both, SHORT_VALUE);
    let quoted = |line: Option<&str>, part| match line {
        Some(_) => format!("\"{part}\""),
        None => "no line".to_owned(),
    };
    let (expected, actual) = (quoted(expected, expected_part), quoted(actual, actual_part));
    Some(format!("line {}: expected {expected}, got {actual}", units::grouped(number)))
}

fn is_of_scenario(check: &Check<'_>, names: &[&str]) -> bool {
    !check.own && names.contains(&&*check.name)
}

/// Returns whether a check compares all of the output.
fn is_compared(check: &Check<'_>) -> bool {
    is_of_scenario(check, &["equals", "json"])
}

/// Returns whether a block shows where the expected and the actual output differ.
pub fn shows_differences(row: &RowRef<'_>) -> bool {
    let is_shown = |check: &Check<'_>| is_compared(check) && check.actual.is_some();
    let mut failed = row.checks.iter().filter(|check| has_failed(check));
    failed.any(|check| check.diff.is_some() || lists_differences(check) || is_shown(check))
}

/// Returns whether the message lists the places where two objects or arrays differ.
fn lists_differences(check: &Check<'_>) -> bool {
    let last = check.message.as_deref().and_then(|message| message.lines().last());
    is_compared(check) && last.is_some_and(|last| last.starts_with(DIFFERENCE))
}

/// Returns the first line of a check's message that is not empty, and the lines after it.
fn message_lines<'a>(check: &'a Check<'_>) -> (&'a str, impl Iterator<Item = &'a str>) {
    let message = check.message.as_deref().unwrap_or_default();
    let mut lines = message.trim_end().lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty());
    (first.unwrap_or("did not hold"), lines)
}

fn protocol_hint<'a>(check: &'a Check<'_>) -> Option<&'a str> {
    let message = check.message.as_deref()?;
    message.find(PROTOCOL_HINT).map(|start| &message[start..])
}

/// Returns the difference of texts, or else the values that the message lacks. Leaves out the equal start of two long values if
/// `is_short`.
fn check_values(check: &Check<'_>, is_short: bool) -> Vec<BlockLine> {
    const IN_MESSAGE: &[&str] = &["error", "exit_code", "max_duration", "max_memory", "min_score"];
    if lists_differences(check) || is_of_scenario(check, IN_MESSAGE) {
        return Vec::new();
    }
    if let Some(diff) = &check.diff {
        return difference(diff);
    }
    const WITH_EXPECTED: &[&str] = &[
        "equals_any",
        "contains",
        "contains_any",
        "matches",
        "not.equals",
        "not.contains",
        "not.matches",
        "schema",
    ];
    let has_expected = is_of_scenario(check, WITH_EXPECTED);
    let expected = check.expected.as_ref().filter(|_| !has_expected).map(Raw::get);
    let got = check.actual.as_ref().map(Raw::get);
    let start = match (expected, got) {
        (Some(expected), Some(got)) if is_short => difference_start([expected, got], LONG_LINE),
        _ => 0,
    };
    let value = |tone, name, value: Option<&str>| {
        let start = value.map_or(0, |value| if value.len() > LONG_LINE { start } else { 0 });
        let mark = if start > 0 { "…" } else { "" };
        value.map(|value| (tone, format!("{name} {mark}{}", &value[start..])))
    };
    let both =
        [value(Tone::Expected, "expected ", expected), value(Tone::Actual, "got      ", got)];
    both.into_iter().flatten().collect()
}

fn difference(diff: &str) -> Vec<BlockLine> {
    const NO_LINE_BREAK: char = '\\';
    let ends = diff.lines().zip(diff.lines().skip(1));
    let ends =
        ends.filter(|(line, next)| next.starts_with(NO_LINE_BREAK) && line.starts_with(['-', '+']));
    // A missing line break at the end of both texts is not a difference.
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

fn push_at_most(lines: &mut Vec<BlockLine>, more: Vec<BlockLine>, most: usize) {
    let all = more.len();
    push_first(lines, more, most, all, "line");
}

/// Adds the first `most` of lines, and the number of those that are left of `all`.
fn push_first(
    lines: &mut Vec<BlockLine>,
    mut more: Vec<BlockLine>,
    most: usize,
    all: usize,
    noun: &str,
) {
    more.truncate(most);
    let left = all.saturating_sub(more.len()) as u64;
    lines.append(&mut more);
    if left > 0 {
        let left = units::plural(left, &format!("more {noun}"), &format!("more {noun}s"));
        lines.push((Tone::Detail, format!("… {left}")));
    }
}

/// Formats an error: a panic by its own message, else class, code and first line.
fn error_line(row: &RowRef<'_>, error: &RowError<'_>) -> String {
    let title = title(row, error).filter(|_| panic(error).is_none());
    let words = match (title, error_words(error)) {
        (Some(title), Some(words)) => format!("{title}: {words}"),
        (title, words) => words.or(title).unwrap_or_else(|| "without a message".to_owned()),
    };
    visible_line(&words).into_owned()
}

/// Returns the panic of an error, or else the first line of its message.
fn error_words(error: &RowError<'_>) -> Option<String> {
    let first = error.message.lines().map(str::trim).find(|line| !line.is_empty());
    panic(error).map(|(_, words)| words).or_else(|| first.map(str::to_owned))
}

/// Returns a line of the program's standard error, if `line` ends with [`STDERR_FOLLOWS`]: the one of a Go panic, or else the
/// last.
fn program_words(line: &str, message: &str) -> Option<String> {
    let said = message.lines().map(str::trim);
    let mut said = said.filter(|said| !said.is_empty() && !said.starts_with(BACKTRACE));
    let last = said.clone().next_back().filter(|_| line.ends_with(STDERR_FOLLOWS))?;
    let words = said.find(|said| said.starts_with("panic: ")).unwrap_or(last);
    Some(visible_line(&message_of(words)).into_owned())
}

/// Formats an error's words without outputs and logs, which differ where the faults are the same.
fn fault(error: &RowError<'_>, words: &str) -> String {
    let words = words.split(OUTPUT_FOLLOWS).next().unwrap_or_default();
    let line = match &*error.code {
        "json" => visible_line(words).into_owned(),
        _ => with_program_words(error, words),
    };
    line.strip_suffix(STDERR_FOLLOWS).unwrap_or(&line).to_owned()
}

/// Replaces the end of an error's line by the words of the program that its message ends with, and the line of a trap by those
/// that give its reason.
fn with_program_words(error: &RowError<'_>, line: &str) -> String {
    let line = visible_line(line).into_owned();
    match program_words(&line, &error.message) {
        Some(words) if error.class == Some(ErrorClass::Trap) => {
            let lower = words.to_lowercase();
            let is_reason = REASONS.iter().any(|part| lower.contains(part))
                || error.message.contains(BACKTRACE);
            if is_reason { words } else { line }
        }
        Some(words) => line.replace(STDERR_FOLLOWS, &format!(": {words}")),
        None => line,
    }
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
    let is_shown = |line: &str| match &panic {
        Some((lines, _)) => lines.contains(&line) || line.starts_with(BACKTRACE),
        None => false,
    };
    let lines = error.message.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.trim().is_empty() && !is_shown(line.trim()));
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

#[cfg(test)]
#[path = "tests/failure.rs"]
mod tests;
