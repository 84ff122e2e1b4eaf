//! CSV: where records end, and their cells.
//!
//! A parser that takes a quote which is never closed reads the rest of the file as one cell and tells nobody. So quotes are
//! followed byte by byte here, and every mistake has its place.

use std::{borrow::Cow, ops::Range};

/// Follows the quotes of a file from its beginning.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Quotes {
    #[default]
    CellStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell, which ends the cell or is the first of two.
    AtQuote,
}

impl Quotes {
    /// Takes a byte; tells whether it ends a record.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
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

/// A cell: where it stands in its record, and its text.
pub(crate) type Cell<'a> = (Range<usize>, Cow<'a, str>);

/// The cells of a record without its line break, or what is wrong and where.
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
                let text = &inside[..close];
                let text = match text.contains('"') {
                    true => text.replace("\"\"", "\"").into(),
                    false => Cow::from(text),
                };
                let length = close + 2;
                if !matches!(cell.as_bytes().get(length), None | Some(b',')) {
                    return Err((start + length, "something stands behind a closing quote"));
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

/// Where the quote stands that closes a cell. Two quotes are one that is meant.
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

    use super::{Quotes, cells};

    fn texts(record: &str) -> Result<Vec<String>, (usize, &'static str)> {
        let cells = cells(record)?;
        Ok(cells.into_iter().map(|(_, text)| text.into_owned()).collect())
    }

    #[test]
    fn a_quote_is_closed_behind_its_cell() {
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
        let behind = "something stands behind a closing quote";
        assert_eq!(texts("t1,\"x\"junk"), Err((6, behind)));
    }

    #[test]
    fn records_end_outside_of_quotes() {
        for (text, record) in [
            ("a,b\nc", "a,b\n"),
            ("\"a\nb\",c\r\nd", "\"a\nb\",c\r\n"),
            ("5\" disk\nd", "5\" disk\n"),
            ("\"a\"junk\"\nb", "\"a\"junk\"\n"),
        ] {
            let mut quotes = Quotes::default();
            let end = text.bytes().position(|byte| quotes.take(byte)).unwrap();
            assert_eq!(&text[..=end], record);
        }
        let mut quotes = Quotes::default();
        assert!(!"a,\"b\nc\n".bytes().any(|byte| quotes.take(byte)));
    }

    /// A record as RFC 4180 writes it, with quotes only around cells that need them.
    fn written(record: &[String]) -> String {
        let cell = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            // An empty line would be no record.
            false if cell.is_empty() && record.len() == 1 => "\"\"".to_owned(),
            false => cell.clone(),
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
            let mut quotes = Quotes::default();
            let found = bytes.split_inclusive(|byte| quotes.take(*byte));
            let found = found.map(|record| {
                let record = std::str::from_utf8(record).unwrap();
                texts(record.strip_suffix('\n').unwrap()).unwrap()
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), records);
        }
    }
}
