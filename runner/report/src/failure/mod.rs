//! Reasons why a trial did not pass: one line for lists, a block for details. All texts are made visible.

mod explanation;
mod known;

use std::borrow::Cow;

use runner_model::row::{
    BACKTRACE, Check, CheckKind, Grade, Hint, Raw, RowError, STDERR_FOLLOWS, panic,
    python_exception,
};
use runner_model::visible::{
    cut, cut_around_difference, difference_start, expected_and_got, marked, visible_line,
};
use runner_model::{ErrorClass, Outcome, RowRef, Text, outcome::Verdict, units};
use schemars::JsonSchema;
use serde::Serialize;

use runner_results::hash;

use self::explanation::explanation;
pub(crate) use self::known::other_failure;
pub use self::known::{KnownResult, KnownTrial, known_line};
pub(crate) use self::known::{PASSES, place};
use crate::{denials, logs::JsonRecord, phrases};

/// Characters of a value in a headline.
const SHORT_VALUE: usize = 40;
/// Characters of a line in a block that is not whole: five lines of most terminals.
const LONG_LINE: usize = 400;
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

/// Formats the reason as one line: that of [`first_reason`], with the number of further failed checks and grades.
pub fn headline(row: &RowRef<'_>) -> String {
    let more = (row.failed_checks().count() as u64).saturating_sub(1);
    with_more(first_reason(row), [more; 2])
}

/// Adds the least and the greatest number of further failed checks to a reason, before its first colon: the end of a reason is cut
/// in many places.
pub(crate) fn with_more(reason: String, more: [u64; 2]) -> String {
    let words = match more {
        [_, 0] => return reason,
        [least, most] if least == most => {
            format!("(+{})", units::plural(most, "more check", "more checks"))
        }
        [_, most] => format!("(up to {})", units::plural(most, "more check", "more checks")),
    };
    match reason.split_once(": ") {
        Some((name, rest)) => format!("{name} {words}: {rest}"),
        None => format!("{reason} {words}"),
    }
}

/// Returns the row once for each failed check and grade, with only this one, in the order of [`first_reason`]. Only the first has
/// the other parts of the reason. Empty if there are fewer than two.
pub(crate) fn single_reasons<'a>(row: &RowRef<'a>) -> Vec<RowRef<'a>> {
    if row.failed_checks().nth(1).is_none() {
        return Vec::new();
    }
    let mut rest = row.clone();
    (rest.checks, rest.grades, rest.artifacts, rest.metrics) = Default::default();
    let first = rest.clone();
    (rest.error, rest.denied, rest.summary, rest.workspace) = Default::default();
    let grades = row.grades.iter().filter(|grade| grade.has_failed());
    let grades = grades.map(|grade| RowRef { grades: vec![grade.clone()], ..rest.clone() });
    let checks = row.checks.iter().filter(|check| has_failed(check));
    let checks = checks.map(|check| RowRef { checks: vec![check.clone()], ..rest.clone() });
    let mut rows: Vec<_> = grades.chain(checks).collect();
    rows.sort_by_key(|row| match (&*row.grades, &*row.checks) {
        ([grade], _) => (0, grade.error.is_none()),
        (_, checks) => (1, checks.iter().all(|check| check.kind != Some(CheckKind::ExitCode))),
    });
    if let Some(row) = rows.first_mut() {
        let RowRef { error, denied, summary, workspace, .. } = first;
        (row.error, row.denied, row.summary, row.workspace) = (error, denied, summary, workspace);
    }
    rows
}

/// Formats the grade that decides the row, or else a failed check, that of the exit code first, or the error without class and code.
pub(crate) fn first_reason(row: &RowRef<'_>) -> String {
    if let Some(grade) = deciding_grade(row) {
        return grade_line(grade);
    }
    match (deciding_check(row), &row.error) {
        (Some(check), Some(error)) if check.kind == Some(CheckKind::Error) => {
            unexpected_error(check, fault(error).as_deref())
        }
        (Some(check), _) => {
            let line = check_line(check);
            let code = check.actual.as_ref().map(|code| code.get());
            match (program_words(check.stderr.as_ref()), code) {
                (Some(words), Some(code)) if check.kind == Some(CheckKind::ExitCode) => {
                    format!("exit code {code}: {words}")
                }
                (Some(words), _) => format!("{line}: {words}"),
                (None, _) => line,
            }
        }
        (None, Some(error)) => fault(error).unwrap_or_else(|| error_line(row, error)),
        (None, None) => match (&row.summary, row.verdict) {
            (Some(summary), Some(Verdict::Fail)) => with_summary("verdict fail", summary),
            (None, Some(Verdict::Fail)) => "the provider returned the verdict `fail`".to_owned(),
            (Some(summary), _) => visible_line(summary).into_owned(),
            (None, _) => row.outcome.to_string(),
        },
    }
}

/// Returns what decided a row in a few words: the check, the grader with its verdict or least score, or the class of the error.
pub(crate) fn kind(row: &RowRef<'_>) -> Cow<'static, str> {
    let (grade, check) = (deciding_grade(row), deciding_check(row));
    // Most failures have this kind, which needs no copy.
    if let (None, Some(kind)) = (grade, check.and_then(|check| check.kind)) {
        return kind.as_str().into();
    }
    let class = |error: &RowError<'_>| {
        error.class.map_or_else(|| error.code.to_string(), |class| class.to_string())
    };
    let words = match (grade, check, &row.error) {
        (Some(grade), ..) => {
            let end = match (&grade.error, grade.score, grade.min_score) {
                (Some(error), ..) => format!(": {}", class(error)),
                (None, Some(score), Some(least)) if score < least => {
                    format!(" below {}", phrases::number(least))
                }
                _ => format!(": {}", grade.verdict.map_or("error", Verdict::as_str)),
            };
            format!("grader {}{end}", &*grade.grader)
        }
        (None, Some(check), _) => check.label().to_owned(),
        (None, None, Some(error)) if row.outcome == Outcome::Error => class(error),
        (None, None, None) if row.outcome == Outcome::Failed => "verdict".to_owned(),
        _ => row.outcome.to_string(),
    };
    cut(&visible_line(&words), SHORT_VALUE).into()
}

/// Returns a filter for the rows with a failed check of this kind. `None` if something else decided the row, or the name needs quotes.
pub(crate) fn filter(row: &RowRef<'_>, kind: &str) -> Option<String> {
    let check = deciding_check(row).filter(|_| deciding_grade(row).is_none())?;
    let is_plain = kind.chars().all(|one| one.is_ascii_alphanumeric() || "._-".contains(one));
    let outcome = row.outcome;
    (is_plain && check.label() == kind).then(|| format!("check({kind}) & outcome({outcome})"))
}

/// The parts of a failure by which it is grouped with others.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// Hashes of the kind with one of these: the headline; the output that failed a check, without the expected value, or the
    /// explanation of a grade without numbers; the headline without numbers, quoted texts and JSON.
    pub(crate) keys: [u64; 3],
    /// The headline without the values that the second key leaves out.
    pub(crate) answer: Option<String>,
}

impl Signature {
    pub(crate) fn of(row: &RowRef<'_>, kind: &str, headline: &str) -> Self {
        let grade = deciding_grade(row);
        if let Some(grade) = grade.filter(|grade| grade.error.is_none()) {
            let words = explanation(grade).0.unwrap_or_default();
            let end = if words.is_empty() { "" } else { ": " };
            let line = format!("{kind}{end}{words} (scores differ)");
            // Each text of a model is another one.
            let keys = keys(kind, headline, &without_values(words), "");
            return Self { keys, answer: Some(visible_line(&line).into_owned()) };
        }
        let check = deciding_check(row).filter(|check| {
            grade.is_none() && check.kind.is_some_and(|kind| !kind.has_values_in_message())
        });
        let output = check.and_then(|check| check.actual.as_ref());
        let (Some(check), Some(output)) = (check, output) else {
            return Self {
                keys: keys(kind, headline, headline, &without_values(headline)),
                answer: None,
            };
        };
        let rest = if check.kind.is_some_and(CheckKind::compares_output) {
            String::new()
        } else {
            without_values(headline)
        };
        let output = output.get();
        let line =
            format!("{}: got {} (expected values differ)", check.label(), cut(output, SHORT_VALUE));
        Self { keys: keys(kind, headline, output, &rest), answer: Some(marked(&line)) }
    }
}

/// Hashes texts with their kind and level, so that failures of two kinds or levels never share a key.
fn keys(kind: &str, headline: &str, answer: &str, rest: &str) -> [u64; 3] {
    [hash(&(0, kind, headline)), hash(&(1, kind, answer)), hash(&(2, kind, rest))]
}

/// Replaces numbers, texts in quotes and JSON by `0`.
fn without_values(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::new();
    while let Some(start) = rest.find(|one: char| one.is_ascii_digit() || "\"`{[".contains(one)) {
        let (before, value) = rest.split_at(start);
        let end = match value.as_bytes()[0] {
            b'{' => value.find('}'),
            b'[' => value.find(']'),
            quote @ (b'"' | b'`') => value[1..].find(char::from(quote)).map(|end| end + 1),
            _ => value.find(|one: char| !one.is_ascii_digit()).map(|end| end - 1),
        };
        shown += before;
        shown.push('0');
        // A value without an end was cut.
        rest = end.map_or("", |end| &value[end + 1..]);
    }
    shown + rest
}

/// Returns the failed check that a line shows: the one of the exit code, or else the first.
fn deciding_check<'a, 'b>(row: &'a RowRef<'b>) -> Option<&'a Check<'b>> {
    let mut failed = row.checks.iter().filter(|check| has_failed(check));
    let first = failed.clone().next();
    failed.find(|check| check.kind == Some(CheckKind::ExitCode)).or(first)
}

/// Formats the check of an expected error, with the words of the actual error.
fn unexpected_error(check: &Check<'_>, words: Option<&str>) -> String {
    let (message, _) = message_lines(check);
    let words: String = words.iter().map(|words| format!(": {words}")).collect();
    visible_line(&format!("{}: {message}{words}", check.label())).into_owned()
}

/// Returns the grade that decides a row: the one with an error, or else the first one that is a fail.
pub fn deciding_grade<'a, 'b>(row: &'a RowRef<'b>) -> Option<&'a Grade<'b>> {
    let failed = row.grades.iter().find(|grade| grade.error.is_some() && grade.has_failed());
    failed.or_else(|| row.grades.iter().find(|grade| grade.has_failed()))
}

/// Formats why a grade is not a pass, with the line of its explanation that explains.
fn grade_line(grade: &Grade<'_>) -> String {
    let reason = match (&grade.error, grade.score, grade.min_score) {
        (Some(error), ..) => fault(error).unwrap_or_else(|| error.code.to_string()),
        (None, Some(score), Some(least)) if score < least => {
            let [score, least] = phrases::score_and_least(score, least);
            format!("score {score} < {least}")
        }
        _ => format!("verdict {}", phrases::grade(grade)),
    };
    let explanation: String = explanation(grade).0.iter().map(|line| format!(": {line}")).collect();
    visible_line(&format!("grader {}: {reason}{explanation}", &*grade.grader)).into_owned()
}

fn with_summary(head: &str, summary: &str) -> String {
    format!("{head}: {}", visible_line(summary))
}

/// Formats all reasons: every failed check, and the error. Shows at most `most` lines of each value, message and
/// difference, and the start of long lines unless `most` is `usize::MAX`.
pub fn block(row: &RowRef<'_>, most: usize) -> Vec<BlockLine> {
    let mut lines = Vec::new();
    let mut has_error = false;
    for check in row.checks.iter().filter(|check| has_failed(check)) {
        let is_error = check.kind == Some(CheckKind::Error);
        if let Some(error) = row.error.as_ref().filter(|_| is_error) {
            let words = with_program_words(error, true);
            lines.push((Tone::Reason, unexpected_error(check, words.as_deref())));
            has_error = true;
            continue;
        }
        let end = if check.stderr.is_some() { STDERR_FOLLOWS } else { "" };
        lines.push((Tone::Reason, format!("{}: {}{end}", check.label(), reason(check))));
        // The reason has a single difference.
        if check.difference_count > 1 {
            let listed = check.differences.iter().map(|one| (Tone::Actual, format!("at {one}")));
            let all = check.difference_count as usize;
            push_first(&mut lines, listed.collect(), most, all, "difference");
        }
        let stderr = check.stderr.iter().flat_map(|text| text.lines().map(str::trim_end));
        let others = message_lines(check).1.chain(stderr);
        let others = others.map(|line| (Tone::Detail, line.to_owned()));
        push_at_most(&mut lines, others.collect(), most);
        push_at_most(&mut lines, check_values(check, most < usize::MAX), most);
    }
    for grade in row.grades.iter().filter(|grade| grade.has_failed()) {
        lines.push((Tone::Reason, grade_line(grade)));
        let details = explanation(grade).1.into_iter().map(|line| (Tone::Detail, line.to_owned()));
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

/// Formats the reason of a failed check as one line.
fn check_line(check: &Check<'_>) -> String {
    let expected = check.expected.as_ref().map(Raw::get);
    let actual = check.actual.as_ref().map(Raw::get);
    let words = match (check.kind, expected, actual) {
        _ if check.hint == Some(Hint::Protocol) => advice(Hint::Protocol),
        _ if let [first, ..] = &*check.differences
            && check.difference_count > 1 =>
        {
            format!("{}; {first}", reason(check))
        }
        _ if check.difference_count > 0 => reason(check),
        // The message only states that they differ.
        (Some(CheckKind::Equals | CheckKind::Json), Some(expected), Some(actual)) => {
            let line = if check.ignore_case {
                differing_line(&expected.to_lowercase(), &actual.to_lowercase())
            } else {
                differing_line(expected, actual)
            };
            let words = line.unwrap_or_else(|| expected_and_got(expected, actual, SHORT_VALUE));
            words + &reason_end(check)
        }
        (Some(CheckKind::EqualsAny), Some(expected), Some(actual)) => {
            let [expected, actual] = [expected, actual].map(|value| cut(value, SHORT_VALUE));
            format!("expected one of {expected}, got {actual}{}", reason_end(check))
        }
        _ => reason(check),
    };
    marked(&format!("{}: {words}", check.label()))
}

/// Formats the reason of a failed check without its values: its single difference or the number of them, or its message.
fn reason(check: &Check<'_>) -> String {
    let words = match (check.difference_count, &*check.differences) {
        (0, _) => message_lines(check).0.to_owned(),
        (1, [only]) => format!("at {only}"),
        (all, _) => units::plural(all, "difference", "differences"),
    };
    let message = check.message.iter().filter(|_| check.difference_count > 0);
    let message: String = message.map(|message| format!("; {}", &**message)).collect();
    words + &message + &reason_end(check)
}

/// Formats the end of a reason that values do not replace: code points, and a key of the provider.
fn reason_end(check: &Check<'_>) -> String {
    let points = check.code_points.iter().map(|points| format!(" (first difference: {points})"));
    points.chain(check.hint.map(|hint| format!("; {}", advice(hint)))).collect()
}

fn advice(hint: Hint) -> String {
    match hint {
        Hint::Trimmed => format!("set the provider's `{hint}` to cut white space at its ends"),
        Hint::Json | Hint::ModelJson => format!("set the provider's `{hint}` to read it as JSON"),
        Hint::Protocol => {
            format!("this looks like an answer of the JSON protocol: set the provider's `{hint}`")
        }
    }
}

/// Formats the first line in which two texts differ. `None` if both are one line, or not texts.
fn differing_line(expected: &str, actual: &str) -> Option<String> {
    let text = |json| serde_json::from_str::<String>(json).ok();
    let expected = text(expected)?;
    let actual = text(actual)?;
    if expected.lines().count().max(actual.lines().count()) < 2 {
        return None;
    }
    let mut expected = expected.lines();
    let mut actual = actual.lines();
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
    let expected = quoted(expected, expected_part);
    let actual = quoted(actual, actual_part);
    Some(format!("line {}: expected {expected}, got {actual}", units::grouped(number)))
}

/// Returns whether a block shows where the expected and the actual output differ.
pub fn shows_differences(row: &RowRef<'_>) -> bool {
    let mut failed = row.checks.iter().filter(|check| has_failed(check));
    failed.any(|check| {
        let is_compared = check.kind.is_some_and(CheckKind::compares_output);
        check.diff.is_some()
            || is_compared && (check.actual.is_some() || check.difference_count > 0)
    })
}

/// Returns the first line of a check's message that is not empty, and the lines after it.
fn message_lines<'a>(check: &'a Check<'_>) -> (&'a str, impl Iterator<Item = &'a str>) {
    let message = check.message.as_deref().unwrap_or_default();
    let mut lines = message.trim_end().lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty());
    (first.unwrap_or("did not hold"), lines)
}

/// Returns the difference of texts, or else the values that the message lacks. Leaves out the equal start of two long values if
/// `is_short`.
fn check_values(check: &Check<'_>, is_short: bool) -> Vec<BlockLine> {
    let is_in_message = |has: fn(CheckKind) -> bool| check.kind.is_some_and(has);
    // The differences are those of one of several calls.
    if let (Some(CheckKind::TranscriptCall), Some(got)) = (check.kind, &check.actual) {
        return vec![(Tone::Actual, format!("got      {}", got.get()))];
    }
    if check.difference_count > 0 || is_in_message(CheckKind::has_values_in_message) {
        return Vec::new();
    }
    if let Some(diff) = &check.diff {
        return difference(diff);
    }
    let has_expected = is_in_message(CheckKind::has_expected_in_message);
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
    let words = match (title, error_words(error, true)) {
        (Some(title), Some(words)) => format!("{title}: {words}"),
        (title, words) => words.or(title).unwrap_or_else(|| "without a message".to_owned()),
    };
    let end = if error.stderr.is_some() && panic(error).is_none() { STDERR_FOLLOWS } else { "" };
    visible_line(&(words + end)).into_owned()
}

/// Returns the panic of an error, or else the first line of its message, with the start of a malformed output if `is_whole`.
fn error_words(error: &RowError<'_>, is_whole: bool) -> Option<String> {
    if let Some((_, words)) = panic(error) {
        return Some(words);
    }
    let first = error.message.lines().map(str::trim).find(|line| !line.is_empty())?;
    let excerpt = error.excerpt.iter().filter(|_| is_whole);
    let excerpt: String = excerpt.map(|excerpt| format!("; it starts with `{excerpt}`")).collect();
    Some(format!("{first}{excerpt}"))
}

/// Returns a line of the program's standard error: a Python exception, a Go panic, or else the last.
fn program_words(stderr: Option<&Text<'_>>) -> Option<String> {
    if let Some((_, words)) = stderr.and_then(|stderr| python_exception(stderr)) {
        return Some(visible_line(&words).into_owned());
    }
    let lines = stderr?.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(BACKTRACE));
    let last = lines.clone().next_back()?;
    let words = lines.find(|line| line.starts_with("panic: ")).unwrap_or(last);
    Some(visible_line(&message_of(words)).into_owned())
}

/// Formats an error's words without outputs and logs, which differ where the faults are the same.
fn fault(error: &RowError<'_>) -> Option<String> {
    match &*error.code {
        "json" => Some(visible_line(&error_words(error, false)?).into_owned()),
        _ => with_program_words(error, false),
    }
}

/// Formats an error's words, with those of the program that its standard error ends with. The line of a trap is replaced by
/// those that give its reason.
fn with_program_words(error: &RowError<'_>, is_whole: bool) -> Option<String> {
    let line = visible_line(&error_words(error, is_whole)?).into_owned();
    let Some(words) = program_words(error.stderr.as_ref()).filter(|_| panic(error).is_none())
    else {
        return Some(line);
    };
    if error.class != Some(ErrorClass::Trap) {
        return Some(format!("{line}: {words}"));
    }
    let lower = words.to_lowercase();
    let is_reason = REASONS.iter().any(|part| lower.contains(part))
        || error.stderr.iter().any(|stderr| stderr.contains(BACKTRACE));
    Some(match (is_reason, is_whole) {
        (true, _) => words,
        (false, true) => line + STDERR_FOLLOWS,
        (false, false) => line,
    })
}

/// Returns class and code, such as `trap unreachable`. `None` if they only repeat the outcome.
fn title(row: &RowRef<'_>, error: &RowError<'_>) -> Option<String> {
    let class = error.class.map(ErrorClass::as_str);
    let mut words: Vec<&str> = class.into_iter().chain([&*error.code]).collect();
    words.retain(|word| !word.is_empty() && *word != row.outcome.as_str());
    words.dedup();
    Some(words.join(" ")).filter(|title| !title.is_empty())
}

/// Returns the lines of an error's message and standard error that [`error_line`] leaves out.
fn error_details(error: &RowError<'_>) -> Vec<BlockLine> {
    let panic = panic(error);
    let is_shown = |line: &str| match &panic {
        Some((lines, _)) => lines.contains(&line) || line.starts_with(BACKTRACE),
        None => false,
    };
    let stderr = error.stderr.iter().flat_map(|text| text.lines());
    let lines = error.message.lines().chain(stderr).map(str::trim_end);
    let lines = lines.filter(|line| !line.trim().is_empty() && !is_shown(line.trim()));
    // Without a panic, `error_line` has the first line.
    let lines = lines.skip(usize::from(panic.is_none()));
    lines.map(|line| (Tone::Detail, message_of(line).into_owned())).collect()
}

/// Returns the message of a line of standard error that is a log record in JSON, else the line.
fn message_of(line: &str) -> Cow<'_, str> {
    let record = JsonRecord::parse(line);
    record.map_or(line.into(), |record| format!("{}: {}", record.level, &*record.message).into())
}

#[cfg(test)]
#[path = "../tests/failure.rs"]
mod tests;
