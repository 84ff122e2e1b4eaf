//! Errors of attempts, and shortened texts in their messages.

use std::{fmt, sync::Arc};

use runner_model::units::show_sizes_apart;
use runner_model::{ErrorClass, Text, row::RowError, visible::visible_line};

use crate::redact::Redactor;

/// Lines of standard error in a message. Go prints the reason of a panic above its stack, Python
/// prints an exception below it.
const SHOWN_STDERR_LINES: usize = 12;
const SHOWN_STDERR_BYTES: usize = 2_000;
const SHOWN_CHARACTERS: usize = 100;
/// Bytes that are redacted before a text is cut. No secret is longer.
const MAX_SEARCHED: usize = 1024 * 1024;

/// Creates an error. `class` is `None` if the outcome is not `error`.
pub fn failure(
    class: impl Into<Option<ErrorClass>>,
    code: impl Into<Text<'static>>,
    message: impl Into<Text<'static>>,
) -> RowError<'static> {
    RowError {
        class: class.into(),
        code: code.into(),
        message: message.into(),
        ..RowError::default()
    }
}

/// Creates the error of a part that is larger than its limit.
pub fn too_large(what: &str, bytes: u64, key: &'static str, limit: u64) -> RowError<'static> {
    let [size, most] = show_sizes_apart(bytes, limit);
    let message = format!("the {what} has {size}, and `limits.{key}` is {most}");
    failure(ErrorClass::Limit, key, message)
}

/// Appends `end` to an error's message.
pub(crate) fn with_end(error: RowError<'static>, end: &str) -> RowError<'static> {
    RowError { message: (error.message.0.into_owned() + end).into(), ..error }
}

/// Returns the last lines of standard error. `None` if it is empty.
pub fn stderr_tail(stderr: &str) -> Option<Text<'static>> {
    let text = stderr.trim_end();
    if text.is_empty() {
        return None;
    }
    let lines = text.rmatch_indices('\n').map(|(index, _)| index + 1);
    let start = lines.take(SHOWN_STDERR_LINES).nth(SHOWN_STDERR_LINES - 1).unwrap_or(0);
    let most = text.ceil_char_boundary(text.len().saturating_sub(SHOWN_STDERR_BYTES));
    let cut = if most > start { "…" } else { "" };
    Some(format!("{cut}{}", &text[start.max(most)..]).into())
}

/// Adds the first characters of malformed data to an error.
pub(crate) fn with_excerpt(
    error: RowError<'static>,
    bytes: &[u8],
    redactor: Option<&Arc<Redactor>>,
) -> RowError<'static> {
    if bytes.is_empty() {
        return with_end(error, "; it is empty");
    }
    let redacted = redactor.and_then(|redactor| redactor.bytes(bytes));
    let bytes = redacted.as_deref().unwrap_or(bytes);
    let first = &bytes[..bytes.len().min(4 * SHOWN_CHARACTERS)];
    let text = String::from_utf8_lossy(first);
    let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let cut = if shown.len() < bytes.len() { "…" } else { "" };
    RowError { excerpt: Some(format!("{}{cut}", visible_line(&shown)).into()), ..error }
}

/// Cuts a text like [`cut`], after redacting its first `MAX_SEARCHED` bytes.
pub(crate) fn cut_redacted(
    most: usize,
    value: impl fmt::Display,
    redactor: Option<&Arc<Redactor>>,
) -> String {
    let Some(redactor) = redactor else {
        return cut(most, value);
    };
    let mut text = cut(MAX_SEARCHED, value);
    redactor.text(&mut text);
    cut(most, text)
}

/// Writes at most `most` bytes of `value`, then `…` if it is longer. A guest's names may have any
/// length, so the rest is never written.
pub fn cut(most: usize, value: impl fmt::Display) -> String {
    struct Cut {
        text: String,
        most: usize,
    }
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.most - self.text.len();
            if text.len() <= room {
                self.text.push_str(text);
                return Ok(());
            }
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
            Err(fmt::Error)
        }
    }
    let text = String::new();
    let mut cut = Cut { text, most };
    match fmt::write(&mut cut, format_args!("{value}")) {
        Ok(()) => cut.text,
        Err(fmt::Error) => cut.text + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, failure, stderr_tail, with_excerpt};

    #[test]
    fn error_has_last_lines_of_stderr() {
        let tail = |stderr: &str| stderr_tail(stderr).map(|text| text.to_string());
        assert_eq!(tail(" \n"), None);
        assert_eq!(tail("one\n").as_deref(), Some("one"));
        let lines: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(tail(&lines.join("\n")), Some(lines[8..].join("\n")));
        assert!(tail(&"ä".repeat(5_000)).unwrap().len() < 2_100);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut(3, "abc"), "abc");
        assert_eq!(cut(3, "abä"), "ab…");
        let text = |bytes: &[u8]| with_excerpt(failure(None, "c", "m"), bytes, None).to_string();
        assert_eq!(text(b""), "m; it is empty");
        assert_eq!(text(b"\x1b["), "m; it starts with `\\u{1b}[`");
        assert!(text(&[b'x'; 200]).ends_with("x…`"));
    }
}
