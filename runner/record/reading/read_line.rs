//! [`read_line`]: one line of whatever is in a file of rows.

use std::io::{self, BufRead, Read as _};

use crate::record::format::line::{self, MAX_LINE_BYTES};

/// A line that was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct ReadLine {
    pub(in crate::record) end: LineEnd,
    /// How many bytes of the file it is, with its line end.
    pub(in crate::record) bytes: u64,
}

/// What a line ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum LineEnd {
    Newline,
    File,
}

/// Reads a line without its line end, which may be a foreign one; of one that is too long, no more than shows that it is.
pub(in crate::record) fn read_line(
    file: &mut impl BufRead,
    line: &mut Vec<u8>,
) -> io::Result<ReadLine> {
    line.clear();
    let read = read_to_newline(file, line)?;
    line.truncate(line::without_return(line).len());
    Ok(read)
}

fn read_to_newline(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<ReadLine> {
    const MOST: u64 = MAX_LINE_BYTES as u64 + 1;
    let mut piece = file.by_ref().take(MOST).read_until(b'\n', line)? as u64;
    let mut bytes = piece;
    let mut is_whole = line.pop_if(|last| *last == b'\n').is_some();
    // What is too long is passed over in pieces.
    while !is_whole && piece == MOST {
        let mut more = Vec::new();
        piece = file.by_ref().take(MOST).read_until(b'\n', &mut more)? as u64;
        bytes += piece;
        is_whole = more.ends_with(b"\n");
    }
    let end = match is_whole {
        true => LineEnd::Newline,
        false => LineEnd::File,
    };
    Ok(ReadLine { end, bytes })
}
