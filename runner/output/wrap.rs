//! Lines of text on a screen: broken between words, never inside one, so that names and paths can be copied.

use std::{borrow::Cow, io::IsTerminal, os::fd::AsFd};

use rustix::termios::tcgetwinsize;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm, core::display_width};

/// How many characters a line of a terminal has room for; `None` for what is no terminal, or does not know.
pub(super) fn columns(stream: impl AsFd + IsTerminal) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let columns = usize::from(tcgetwinsize(stream).ok()?.ws_col);
    (columns > 0).then_some(columns)
}

/// Breaks the lines that are longer than `width`; what follows is below the beginning of its line, and a little further
/// right.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width else {
        return text.into();
    };
    if text.lines().all(|line| display_width(line) <= width) {
        return text.into();
    }
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let indent = " ".repeat((indent + 2).min(width / 2));
        let options = Options::new(width)
            .subsequent_indent(&indent)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .wrap_algorithm(WrapAlgorithm::FirstFit)
            .break_words(false);
        lines.extend(
            textwrap::wrap(line, options)
                .into_iter()
                .map(Cow::into_owned),
        );
    }
    lines.join("\n").into()
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_break_between_words_alone_and_colours_have_no_width() {
        let check = |text: &str, shown: &str| assert_eq!(wrapped(text, Some(12)), shown);
        check("short\n", "short\n");
        check("one two three four", "one two\n  three four");
        check("  one two three", "  one two\n    three");
        check(
            "see /a/very-long/path here",
            "see\n  /a/very-long/path\n  here",
        );
        check(
            "\u{1b}[31mone two three\u{1b}[39m!",
            "\u{1b}[31mone two\n  three\u{1b}[39m!",
        );
        check(
            "\u{1b}[31mtwelve\u{1b}[39m chars",
            "\u{1b}[31mtwelve\u{1b}[39m chars",
        );
        assert_eq!(wrapped("one two three four", None), "one two three four");
    }
}
