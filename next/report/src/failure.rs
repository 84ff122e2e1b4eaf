//! Why a trial did not pass: on one line for lists, and as a block for those who look at it. All texts are visible.

use runner_model::{
    ErrorClass, Outcome, RowRef,
    outcome::Verdict,
    row::{Check, Raw, RowError},
    units,
    visible::visible_line,
};

use crate::denials;

/// Characters of a value on the one line.
const SHORT_VALUE: usize = 40;

/// The end of a line of a message behind which the program's own words follow.
const STDERR_FOLLOWS: &str = "; its standard error ends with:";
/// What Rust says behind a panic.
const BACKTRACE: &str = "note: run with `RUST_BACKTRACE=";
/// What a component in Python says below the exception that nothing caught.
const PYTHON_PANIC: &str = "Python function threw an unexpected exception";

/// How a line of a block is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The reason.
    Reason,
    /// More about it.
    Detail,
    /// What was expected, or lacks in the output.
    Expected,
    /// What came.
    Actual,
}

/// A line of a block.
pub type BlockLine = (Tone, String);

/// The reason on one line: the first check that did not hold, or the error.
pub fn headline(row: &RowRef<'_>) -> String {
    let failed = row.checks.iter().find(|check| has_failed(check));
    match (failed, &row.error) {
        (Some(check), _) => {
            let message = check.message.as_deref().unwrap_or_default();
            with_words(check_line(check), message)
        }
        (None, Some(error)) => with_words(error_line(row, error), &error.message),
        (None, None) if row.verdict == Some(Verdict::Fail) => "the provider's verdict".to_owned(),
        (None, None) => row.outcome.to_string(),
    }
}

/// The reasons in full: every check that did not hold, and the error. Of each value, message and difference at most `most`
/// lines.
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
        // What was denied is told below, with the whole advice.
        let mut denied = row.denied.iter();
        if !denied.any(|denied| error.message.contains(&*denied.what)) {
            lines.push((Tone::Reason, error_line(row, error)));
        }
        push_at_most(&mut lines, error_details(error), most);
    }
    for denied in &row.denied {
        lines.push((Tone::Reason, denials::line(&row.provider, denied)));
    }
    if lines.is_empty() && row.outcome == Outcome::Failed {
        lines.push((Tone::Reason, headline(row)));
    }
    for (_, line) in &mut lines {
        *line = visible_line(line).into_owned();
    }
    lines
}

fn has_failed(check: &Check<'_>) -> bool {
    check.verdict == Verdict::Fail
}

fn check_line(check: &Check<'_>) -> String {
    let said = match (&check.expected, &check.actual) {
        // Its message says only that they differ.
        (Some(expected), Some(actual)) if *check.name == *"equals" => {
            let [expected, actual] = around_difference(expected.get(), actual.get());
            format!("expected {expected}, got {actual}")
        }
        _ => message_lines(check).0.to_owned(),
    };
    visible_line(&format!("{}: {said}", &*check.name)).into_owned()
}

/// The first line of a check's message that says something, and those behind it.
fn message_lines<'a>(check: &'a Check<'_>) -> (&'a str, impl Iterator<Item = &'a str>) {
    let message = check.message.as_deref().unwrap_or_default();
    let mut lines = message.trim_end().lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty());
    (first.unwrap_or("did not hold"), lines)
}

/// Two values, cut so that the place where they begin to differ is seen.
fn around_difference(left: &str, right: &str) -> [String; 2] {
    let pairs = left.chars().zip(right.chars());
    let common = pairs.take_while(|(left, right)| left == right).count();
    let from = if common < SHORT_VALUE / 2 { 0 } else { common - SHORT_VALUE / 4 };
    [left, right].map(|text| {
        if from == 0 || text.chars().count() <= SHORT_VALUE {
            return cut(text, SHORT_VALUE);
        }
        let rest: String = text.chars().skip(from).collect();
        cut(&format!("…{rest}"), SHORT_VALUE)
    })
}

/// The difference if there is one, else both values.
fn check_values(check: &Check<'_>) -> Vec<BlockLine> {
    if let Some(diff) = &check.diff {
        return difference(diff);
    }
    let value = |tone, name, value: &Option<Raw<'_>>| {
        value.as_ref().map(|value| (tone, format!("{name} {}", value.get())))
    };
    let both = [
        value(Tone::Expected, "expected", &check.expected),
        value(Tone::Actual, "got     ", &check.actual),
    ];
    both.into_iter().flatten().collect()
}

fn difference(diff: &str) -> Vec<BlockLine> {
    const NO_LINE_BREAK: char = '\\';
    let ends = diff.lines().filter(|line| line.starts_with(NO_LINE_BREAK));
    // If both texts lack it, that is no difference.
    let is_noise = ends.count() != 1;
    let lines = diff.lines().filter(|line| !(is_noise && line.starts_with(NO_LINE_BREAK)));
    let tone = |line: &str| match line.as_bytes().first() {
        Some(b'-') => Tone::Expected,
        Some(b'+') => Tone::Actual,
        _ => Tone::Detail,
    };
    // The first place says what the signs mean; others say that something is left out.
    let lines = lines.enumerate().map(|(index, line)| match index {
        0 if line.starts_with("@@") => (Tone::Detail, "- expected  + got".to_owned()),
        _ => (tone(line), line.to_owned()),
    });
    lines.collect()
}

/// The text, or its beginning and `…` if it has more characters.
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

/// What a panic said in its own words if it was one, else class, code and the first line of the message.
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

/// The line, with the program's own words where it says that they follow: those of a panic of Go, or else the last.
fn with_words(line: String, message: &str) -> String {
    let Some(line) = line.strip_suffix(STDERR_FOLLOWS) else {
        return line;
    };
    let said = message.lines().map(str::trim);
    let mut said = said.filter(|said| !said.is_empty() && !said.starts_with(BACKTRACE));
    let last = said.clone().next_back().unwrap_or_default();
    let words = said.find(|said| said.starts_with("panic: "));
    format!("{line}: {}", visible_line(words.unwrap_or(last)))
}

/// The class and the code, such as `trap unreachable`; `None` if they say no more than the outcome.
fn title(row: &RowRef<'_>, error: &RowError<'_>) -> Option<String> {
    let class = error.class.map(ErrorClass::as_str);
    let mut words: Vec<&str> = class.into_iter().chain([&*error.code]).collect();
    words.retain(|word| !word.is_empty() && *word != row.outcome.as_str());
    words.dedup();
    Some(words.join(" ")).filter(|title| !title.is_empty())
}

/// The lines of a message that its first words leave out.
fn error_details(error: &RowError<'_>) -> Vec<BlockLine> {
    let panic = panic(error);
    let is_told = |line: &str| match &panic {
        Some((lines, _)) => lines.contains(&line) || line.starts_with(BACKTRACE),
        None => false,
    };
    let lines = error.message.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.trim().is_empty() && !is_told(line.trim()));
    // Without a panic the first line is told.
    let lines = lines.skip(usize::from(panic.is_none()));
    let lines = lines.map(|line| match &panic {
        Some(_) => line.strip_suffix(STDERR_FOLLOWS).unwrap_or(line),
        None => line,
    });
    lines.map(|line| (Tone::Detail, line.to_owned())).collect()
}

/// The lines in which a trap's program says that it panicked, and that on one line.
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
        // The runtime of components in Python panics below the exception.
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
