//! Why a trial did not pass: on one line for lists, and as a block for those who look at it. All texts are visible.

use runner_model::{
    Outcome, RowRef,
    outcome::Verdict,
    row::{Check, Raw, RowError},
    visible::visible_line,
};

/// Characters of a value on the one line.
const SHORT_VALUE: usize = 40;

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

/// The reason on one line: the first check that did not hold, with what was expected and what came, or the error.
pub fn headline(row: &RowRef<'_>) -> String {
    let failed = row.checks.iter().find(|check| has_failed(check));
    match (failed, &row.error) {
        (Some(check), _) => check_line(check),
        (None, Some(error)) => format!("{}: {}", title(error), first_words(&error.message)),
        (None, None) if row.verdict == Some(Verdict::Fail) => "the provider's verdict".to_owned(),
        (None, None) => row.outcome.to_string(),
    }
}

/// The reasons in full: every check that did not hold, and the error. Of each value, message and difference at most `most`
/// lines.
pub fn block(row: &RowRef<'_>, most: usize) -> Vec<BlockLine> {
    let mut lines = Vec::new();
    for check in row.checks.iter().filter(|check| has_failed(check)) {
        let message = check.message.as_deref().unwrap_or("did not hold");
        lines.push((Tone::Reason, format!("{}: {message}", &*check.name)));
        let values = check_values(check);
        push_at_most(&mut lines, values, most);
    }
    if let Some(error) = &row.error {
        lines.push((
            Tone::Reason,
            format!("{}: {}", title(error), first_words(&error.message)),
        ));
        let told = first_words(&error.message);
        let rest = error.message.lines().map(str::trim_end);
        let rest = rest.filter(|line| !line.is_empty() && *line != told);
        let rest = rest.map(|line| (Tone::Detail, line.to_owned())).collect();
        push_at_most(&mut lines, rest, most);
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
    let said = match (&check.expected, &check.actual, check.message.as_deref()) {
        (Some(expected), Some(actual), _) => format!(
            "expected {}, got {}",
            cut(expected.get(), SHORT_VALUE),
            cut(actual.get(), SHORT_VALUE)
        ),
        (.., Some(message)) => message.to_owned(),
        _ => "did not hold".to_owned(),
    };
    visible_line(&format!("{}: {said}", &*check.name)).into_owned()
}

/// The difference if there is one, else both values.
fn check_values(check: &Check<'_>) -> Vec<BlockLine> {
    if let Some(diff) = &check.diff {
        let tone = |line: &str| match line.as_bytes().first() {
            Some(b'-') => Tone::Expected,
            Some(b'+') => Tone::Actual,
            _ => Tone::Detail,
        };
        return diff
            .lines()
            .map(|line| (tone(line), line.to_owned()))
            .collect();
    }
    let value = |tone, name, value: &Option<Raw<'_>>| {
        value
            .as_ref()
            .map(|value| (tone, format!("{name} {}", value.get())))
    };
    let both = [
        value(Tone::Expected, "expected", &check.expected),
        value(Tone::Actual, "got     ", &check.actual),
    ];
    both.into_iter().flatten().collect()
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
        more.push((Tone::Detail, format!("… {left} more lines")));
    }
    lines.append(&mut more);
}

/// The class and the code of an error, such as `trap unreachable`.
fn title(error: &RowError<'_>) -> String {
    let code = visible_line(&error.code);
    match error.class {
        Some(class) if class.as_str() != code => format!("{class} {code}"),
        _ => code.into_owned(),
    }
}

/// What a message says first: of a Rust program that panicked its own words, else the first line.
fn first_words(message: &str) -> String {
    let mut lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or_default();
    let panic = lines.find_map(|line| {
        line.starts_with("thread '")
            .then(|| line.find("panicked at ").map(|at| &line[at..]))
            .flatten()
    });
    let words = match (panic, lines.next()) {
        (Some(place), Some(words)) if place.ends_with(':') => format!("{place} {words}"),
        (Some(place), _) => place.to_owned(),
        (None, _) => first.to_owned(),
    };
    visible_line(&words).into_owned()
}

#[cfg(test)]
#[path = "tests/failure.rs"]
mod tests;
