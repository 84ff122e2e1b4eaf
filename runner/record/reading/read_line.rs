//! [`read_line`]: one line of whatever is in a file of rows.

use std::io::{self, BufRead};

use memchr::memchr;

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
    const MOST: usize = MAX_LINE_BYTES + 1;
    let mut piece = read_piece(file, line, MOST)?;
    let mut bytes = piece as u64;
    let mut is_whole = line.pop_if(|last| *last == b'\n').is_some();
    // What is too long is passed over in pieces.
    while !is_whole && piece == MOST {
        let mut more = Vec::new();
        piece = read_piece(file, &mut more, MOST)?;
        bytes += piece as u64;
        is_whole = more.ends_with(b"\n");
    }
    let end = match is_whole {
        true => LineEnd::Newline,
        false => LineEnd::File,
    };
    Ok(ReadLine { end, bytes })
}

/// Reads up to a newline, or at most so many bytes; how many there were.
// As `read_until` does, which looks for the newline in twice the time.
fn read_piece(file: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let mut read = 0;
    loop {
        let bytes = match file.fill_buf() {
            Ok(bytes) => &bytes[..bytes.len().min(most - read)],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let newline = memchr(b'\n', bytes);
        let taken = newline.map_or(bytes.len(), |place| place + 1);
        line.extend_from_slice(&bytes[..taken]);
        file.consume(taken);
        read += taken;
        if newline.is_some() || taken == 0 || read == most {
            return Ok(read);
        }
    }
}
