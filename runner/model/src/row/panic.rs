//! The words of a guest about its own end, in the message of an error.

use super::RowError;
use crate::ErrorClass;

/// End of an error's line after which the program's standard error follows.
pub const STDERR_FOLLOWS: &str = "; its standard error ends with:";
/// Start of Rust's line after a panic.
pub const BACKTRACE: &str = "note: run with `RUST_BACKTRACE=";
/// Line of the Python runtime below an exception that was not caught.
const PYTHON_PANIC: &str = "Python function threw an unexpected exception";

/// Returns the lines of a panic in a trap's message, and the panic as one line.
pub fn panic<'a>(error: &'a RowError<'_>) -> Option<(Vec<&'a str>, String)> {
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
        (Some(words), _) => {
            let place = place.trim_end_matches(':');
            (vec![lines[at], words], format!("{words} ({place})"))
        }
        (None, _) => (vec![lines[at]], place.to_owned()),
    })
}

/// Formats an error as one line: a panic, or else the last line of standard error, next to the line of the error.
pub fn one_line(error: &RowError<'_>) -> String {
    let mut lines = error.message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let line = first.strip_suffix(STDERR_FOLLOWS).unwrap_or(first);
    match (panic(error), lines.next_back().filter(|_| line != first)) {
        (Some((_, words)), _) => format!("{words}; {line}"),
        (None, Some(last)) => format!("{line}{STDERR_FOLLOWS} {last}"),
        (None, None) => first.to_owned(),
    }
}
