//! [`CsvQuotes`]: which quotes of a CSV file are not closed.

use std::io::{self, Read};

/// Follows the quotes of a CSV file while that is read. To the parser all that is behind one that is not closed is text, to the
/// end of the file, and so the records in it were never there.
pub(super) struct CsvQuotes<R> {
    file: R,
    place: CsvPlace,
    /// How many bytes were read.
    bytes: u64,
    /// Which line that is in, from 1.
    line: u64,
    /// The line of the latest quote that was opened.
    opened: u64,
    /// The first line where something is behind a closing quote.
    behind: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CsvPlace {
    CellBegin,
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell, which ends the cell or is the first of two.
    AtQuote,
}

impl<R> CsvQuotes<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            file,
            place: CsvPlace::CellBegin,
            bytes: 0,
            line: 1,
            opened: 0,
            behind: None,
        }
    }

    /// What is wrong with them, once all was read, and in which line.
    pub(super) fn problem(&self) -> Option<(u64, &'static str)> {
        match self.behind {
            Some(line) => Some((line, "something stands behind a closing quote")),
            None if self.place == CsvPlace::Quoted => {
                Some((self.opened, "this quote is not closed"))
            }
            None => None,
        }
    }

    fn take(&mut self, byte: u8) {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        let is_mark = usize::try_from(self.bytes).is_ok_and(|at| MARK.get(at) == Some(&byte));
        self.bytes += 1;
        self.place = match (self.place, byte) {
            (CsvPlace::CellBegin, _) if is_mark => CsvPlace::CellBegin,
            (CsvPlace::CellBegin, b'"') => {
                self.opened = self.line;
                CsvPlace::Quoted
            }
            (CsvPlace::Quoted, b'"') => CsvPlace::AtQuote,
            (CsvPlace::Quoted, _) | (CsvPlace::AtQuote, b'"') => CsvPlace::Quoted,
            (_, b',' | b'\n' | b'\r') => CsvPlace::CellBegin,
            (CsvPlace::AtQuote, _) => {
                self.behind = self.behind.or(Some(self.line));
                CsvPlace::Plain
            }
            (CsvPlace::CellBegin | CsvPlace::Plain, _) => CsvPlace::Plain,
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for CsvQuotes<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(to)?;
        to[..read].iter().for_each(|byte| self.take(*byte));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::CsvQuotes;

    fn problem(text: &str) -> Option<(u64, &'static str)> {
        let mut quotes = CsvQuotes::new(text.as_bytes());
        quotes.read_to_string(&mut String::new()).unwrap();
        quotes.problem()
    }

    #[test]
    fn a_quote_is_closed_behind_its_cell() {
        for text in [
            "",
            "id,a\nt1,\"x\"\n",
            "\u{feff}\"id\",a\r\nt1,\"x \"\"y\"\" z\"\r\n",
            "id,a\nt1,5\" disk\n",
            "id,a\nt1,\"two\nlines\"",
            "id,a\n\"\",\"\"\"\"\n",
        ] {
            assert_eq!(problem(text), None, "{text:?}");
        }
        let open = "this quote is not closed";
        assert_eq!(problem("id,a\nt1,x\nt2,\"y\nt3,z\n"), Some((3, open)));
        assert_eq!(problem("\"id,a\nt1,x\n"), Some((1, open)));
        assert_eq!(problem("\u{feff}\"id,a\nt1,x\n"), Some((1, open)));
        assert_eq!(problem("id\n\"a\"\"\n"), Some((2, open)));
        let behind = "something stands behind a closing quote";
        assert_eq!(problem("id,a\nt1,\"x\"junk\nt2,\"y\n"), Some((2, behind)));
    }
}
