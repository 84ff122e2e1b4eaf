//! Lines of text in memory.

use std::iter;

use memchr::memchr;

/// The lines of a text, each with its newline, if it has one.
pub fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    iter::from_fn(move || {
        let length = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (line, behind) = rest.split_at(length);
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
