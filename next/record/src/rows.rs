//! Reads the lines of `index.jsonl`, in blocks and in bounded memory whatever is in the file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use runner_model::row::{BadLine, MAX_ROW, RowRef, read_line};

/// Bytes of a line, what the coordinator adds included. Longer ones are garbage and are not kept in memory.
pub(crate) const MAX_LINE: usize = MAX_ROW + (64 << 10);
const BLOCK: usize = 256 << 10;

/// A line of `index.jsonl` as it is read.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is never stored"
)]
pub enum ReadLine<'a> {
    /// A row, and its bytes without the line break.
    Row(RowRef<'a>, &'a [u8]),
    /// A line that is damaged or no row; its trial runs again.
    Damaged(BadLine),
    /// The last line lacks its line break, and is no whole row.
    Torn(Range<u64>),
}

/// Calls `each` for every line that begins at byte `from` or behind it, in order, with its first byte. Returns where the last
/// line begins if it lacks its line break, else where the next one will.
pub(crate) fn read(
    file: &File,
    mut from: u64,
    each: &mut dyn FnMut(u64, ReadLine<'_>),
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    // What earlier blocks have of the line; it begins at `from`.
    let (mut begun, mut at) = (Vec::new(), from);
    loop {
        let length = match file.read_at(&mut block, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            break;
        }
        for piece in block[..length].split_inclusive(|byte| *byte == b'\n') {
            at += piece.len() as u64;
            match piece.strip_suffix(b"\n") {
                Some(line) if begun.is_empty() => each(from, parse(line)),
                Some(line) => {
                    add(&mut begun, line);
                    each(from, parse(&begun));
                }
                None => {
                    add(&mut begun, piece);
                    continue;
                }
            }
            begun.clear();
            from = at;
        }
    }
    match parse(&begun) {
        _ if at == from => {}
        ReadLine::Damaged(_) => each(from, ReadLine::Torn(from..at)),
        row => each(from, row),
    }
    Ok(from)
}

/// Adds to the beginning of a line, and of one that is too long no more than shows that it is.
fn add(begun: &mut Vec<u8>, piece: &[u8]) {
    let room = (MAX_LINE + 1).saturating_sub(begun.len());
    begun.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn parse(line: &[u8]) -> ReadLine<'_> {
    if line.len() > MAX_LINE {
        return ReadLine::Damaged(BadLine::Shape(format!("longer than {MAX_LINE} bytes")));
    }
    match read_line(line) {
        Ok(row) => ReadLine::Row(row, line),
        Err(problem) => ReadLine::Damaged(problem),
    }
}

#[cfg(test)]
#[path = "tests/rows.rs"]
mod tests;
