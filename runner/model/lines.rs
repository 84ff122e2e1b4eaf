//! Lines of text in memory.

use std::{io::BufRead as _, iter};

/// The lines of a text, each with its newline, if it has one. They are found as the standard library finds them in a file, a
/// dozen bytes at once: `split_inclusive` looks at each byte by itself.
pub fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    iter::from_fn(move || {
        let mut behind = rest;
        let bytes = behind.skip_until(b'\n').expect("memory can be read");
        let line = &rest[..bytes];
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::lines_of;

    #[test]
    fn lines_are_those_of_the_standard_library() {
        for text in ["", "\n", "a", "a\n", "\n\na\r\nbc\n\n", "é\nx"] {
            let text = text.as_bytes();
            assert!(
                lines_of(text).eq(text.split_inclusive(|byte| *byte == b'\n')),
                "{text:?}"
            );
        }
    }
}
