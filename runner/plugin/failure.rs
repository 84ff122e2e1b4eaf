//! The errors of attempts, and the ends of their messages.

use crate::model::{AttemptError, ErrorClass, quoted_text};

const SHOWN_STDERR_LINES: usize = 8;
const SHOWN_STDERR_BYTES: usize = 2_000;
const SHOWN_CHARACTERS: usize = 100;

/// An error of a class, with a code and a message.
pub(super) fn failure(
    class: ErrorClass,
    code: impl Into<String>,
    message: impl Into<String>,
) -> AttemptError {
    AttemptError {
        class: Some(class),
        code: code.into(),
        message: message.into(),
        retry_after: None,
        fault: None,
    }
}

/// The last lines of standard error, as the end of a message; empty if there is nothing.
pub(super) fn stderr_tail(stderr: &str) -> String {
    let text = stderr.trim_end();
    if text.is_empty() {
        return String::new();
    }
    let lines = text.rmatch_indices('\n').map(|(index, _)| index + 1);
    let start = lines
        .take(SHOWN_STDERR_LINES)
        .nth(SHOWN_STDERR_LINES - 1)
        .unwrap_or(0);
    let most = text.ceil_char_boundary(text.len().saturating_sub(SHOWN_STDERR_BYTES));
    let cut = if most > start { "…" } else { "" };
    format!(
        "; its standard error ends with:\n{cut}{}",
        &text[start.max(most)..]
    )
}

/// The first characters of something that is not what it should be, as the end of a message.
pub(super) fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "; it is empty".to_owned();
    }
    let first = &bytes[..bytes.len().min(4 * SHOWN_CHARACTERS)];
    let text = String::from_utf8_lossy(first);
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < bytes.len() {
        shown.push('…');
    }
    format!("; it begins with {}", quoted_text(&shown))
}

#[cfg(test)]
mod tests {
    use super::stderr_tail;

    #[test]
    fn a_message_ends_with_the_last_lines_of_stderr() {
        assert_eq!(stderr_tail(" \n"), "");
        assert_eq!(stderr_tail("one\n"), "; its standard error ends with:\none");
        let lines: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(
            stderr_tail(&lines.join("\n")),
            "; its standard error ends with:\n12\n13\n14\n15\n16\n17\n18\n19"
        );
        assert!(stderr_tail(&"ä".repeat(5_000)).len() < 2_100);
    }
}
