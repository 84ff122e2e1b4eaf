//! Splits CSV into records and cells.
//!
//! Most parsers accept an unclosed quote and read the rest of the file as one cell. This one follows quotes byte by byte and
//! reports such a quote with its place.

use std::{borrow::Cow, ops::Range};

/// Position relative to the quotes of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum QuoteState {
    #[default]
    CellStart,
    Plain,
    Quoted,
    /// After a quote in a quoted cell, which ends the cell or is the first of two.
    AtQuote,
}

impl QuoteState {
    /// Moves past a byte. Returns whether it ends a record.
    pub(crate) fn advance(&mut self, byte: u8) -> bool {
        *self = match (*self, byte) {
            (Self::CellStart, b'"') | (Self::AtQuote, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::AtQuote,
            (Self::Quoted, _) => Self::Quoted,
            (_, b',' | b'\n') => Self::CellStart,
            _ => Self::Plain,
        };
        byte == b'\n' && *self == Self::CellStart
    }
}

/// A cell: its range in the record, and its text.
pub(crate) type Cell<'a> = (Range<usize>, Cow<'a, str>);

/// Splits a record without its line break into cells.
///
/// # Errors
///
/// The position and the message of a mistake in quotes.
pub(crate) fn cells(record: &str) -> Result<Vec<Cell<'_>>, (usize, &'static str)> {
    let mut cells = Vec::new();
    let mut start = 0;
    loop {
        let cell = &record[start..];
        let length = match cell.strip_prefix('"') {
            None => {
                let length = cell.find(',').unwrap_or(cell.len());
                cells.push((start..start + length, Cow::from(&cell[..length])));
                length
            }
            Some(inside) => {
                let close = closing_quote(inside).ok_or((start, "this quote is not closed"))?;
                let mut text = Cow::from(&inside[..close]);
                if text.contains('"') {
                    text = text.replace("\"\"", "\"").into();
                }
                let length = close + 2;
                if !matches!(cell.as_bytes().get(length), None | Some(b',')) {
                    return Err((start + length, "there is text after a closing quote"));
                }
                cells.push((start..start + length, text));
                length
            }
        };
        start += length + 1;
        if start > record.len() {
            return Ok(cells);
        }
    }
}

/// Returns the position of the quote that closes a cell. Two quotes in a row are part of its text.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += inside[at..].find('"')?;
        if inside.as_bytes().get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{QuoteState, cells};

    fn texts(record: &str) -> Result<Vec<String>, (usize, &'static str)> {
        let cells = cells(record)?;
        Ok(cells.into_iter().map(|(_, text)| text.into_owned()).collect())
    }

    #[test]
    fn quotes_close_at_end_of_cell() {
        for (record, expected) in [
            ("", &[""][..]),
            ("a,b", &["a", "b"]),
            ("t1,\"x \"\"y\"\" z\"", &["t1", "x \"y\" z"]),
            ("t1,5\" disk,", &["t1", "5\" disk", ""]),
            ("\"two\nlines, one cell\",b", &["two\nlines, one cell", "b"]),
            ("\"\",\"\"\"\"", &["", "\""]),
        ] {
            assert_eq!(texts(record).unwrap(), expected, "{record:?}");
        }
        let open = "this quote is not closed";
        assert_eq!(texts("t2,\"y\nt3,z"), Err((3, open)));
        assert_eq!(texts("\"a\"\""), Err((0, open)));
        let after = "there is text after a closing quote";
        assert_eq!(texts("t1,\"x\"junk"), Err((6, after)));
    }

    #[test]
    fn records_end_outside_of_quotes() {
        for (text, record) in [
            ("a,b\nc", "a,b\n"),
            ("\"a\nb\",c\r\nd", "\"a\nb\",c\r\n"),
            ("5\" disk\nd", "5\" disk\n"),
            ("\"a\"junk\"\nb", "\"a\"junk\"\n"),
        ] {
            let mut quotes = QuoteState::default();
            let end = text.bytes().position(|byte| quotes.advance(byte)).unwrap();
            assert_eq!(&text[..=end], record);
        }
        let mut quotes = QuoteState::default();
        assert!(!"a,\"b\nc\n".bytes().any(|byte| quotes.advance(byte)));
    }

    /// Writes a record as RFC 4180 does, with quotes only around cells that need them.
    fn written(record: &[String]) -> String {
        let cell = |cell: &String| {
            // An empty line is not a record.
            let is_empty_line = cell.is_empty() && record.len() == 1;
            if is_empty_line || cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        record.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
    }

    proptest! {
        #[test]
        fn written_records_are_read_back(
            records in prop::collection::vec(prop::collection::vec("[a ,\"\n\r\u{20ac}]{0,6}", 1..4), 1..6),
        ) {
            let written = records.iter().map(|record| written(record)).collect::<String>();
            let bytes = written.into_bytes();
            let mut quotes = QuoteState::default();
            let read = bytes.split_inclusive(|byte| quotes.advance(*byte)).map(|record| {
                let record = std::str::from_utf8(record).unwrap();
                texts(record.strip_suffix('\n').unwrap()).unwrap()
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), records);
        }
    }
}
