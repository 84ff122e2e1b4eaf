//! Reads the lines of `index.jsonl` in blocks. Memory is bounded for any content of the file.

use std::io::{self, BufRead as _};
use std::{fs::File, os::unix::fs::FileExt as _, panic::resume_unwind, thread};

use runner_model::row::{BadLine, MAX_ROW, RowHead, read_head};

/// Longest line, with the coordinator's keys. The rest of a longer one is not kept in memory.
pub(crate) const MAX_LINE: usize = MAX_ROW + (64 << 10);
/// Bytes that are read at once. Parsed lines take up to a hundred times as much memory.
const BLOCK: usize = 256 << 10;
/// A thread costs more than parsing fewer bytes.
const PIECE: usize = 32 << 10;

/// A line of `index.jsonl`.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all lines are rows, and a box would cost each an allocation"
)]
pub enum ReadLine<'a> {
    /// A row as far as folds need it, and its bytes without the line break.
    Row(RowHead, &'a [u8]),
    /// A line that is not a row. Its trial runs again.
    Damaged(BadLine),
    /// A last line without a line break that is not a complete row.
    Torn,
}

/// Receives lines, each with its first byte.
pub(crate) type Each<'e, T> = dyn for<'a> FnMut(u64, ParsedLine<'a, T>) + 'e;

/// A line, and the result of `look` if it is a row.
pub(crate) type ParsedLine<'a, T> = (ReadLine<'a>, Option<T>);

/// Calls `each` for every line from byte `from` on, in order, with its first byte. Returns the start of a last line
/// without a line break, or else the end. `look` runs on several threads.
pub(crate) fn read<T: Send>(
    file: &File,
    mut from: u64,
    look: fn(&[u8]) -> T,
    each: &mut Each<'_, T>,
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    // The start of the line at `from`, from earlier blocks.
    let mut partial = Vec::new();
    let mut at = from;
    loop {
        let length = match file.read_at(&mut block, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            break;
        }
        let mut whole = &block[..length];
        at += length as u64;
        let Some(end) = whole.iter().rposition(|byte| *byte == b'\n') else {
            add(&mut partial, whole);
            continue;
        };
        if !partial.is_empty() {
            let first = whole.iter().position(|byte| *byte == b'\n').unwrap_or(end);
            add(&mut partial, &whole[..first]);
            each(from, parse(&partial, look));
            partial.clear();
            from = at - (length - first - 1) as u64;
            whole = &whole[first + 1..];
        }
        let rest = length - end - 1;
        let (lines, rest) = whole.split_at(whole.len() - rest);
        read_lines(lines, from, look, each);
        from += lines.len() as u64;
        add(&mut partial, rest);
    }
    match parse(&partial, look) {
        _ if at == from => {}
        (ReadLine::Damaged(_), _) => each(from, (ReadLine::Torn, None)),
        row => each(from, row),
    }
    Ok(from)
}

/// Reads whole lines. Parsing takes most of the time, so a second thread parses half of them.
fn read_lines<T: Send>(lines: &[u8], from: u64, look: fn(&[u8]) -> T, each: &mut Each<'_, T>) {
    let own = lines.len() / 2;
    let end = lines[own..].iter().position(|byte| *byte == b'\n');
    let own = end.map_or(lines.len(), |end| own + end + 1);
    let ((first, second), middle) = (lines.split_at(own), from + own as u64);
    if second.len() < PIECE {
        each_line(first, from, look, each);
        each_line(second, middle, look, each);
        return;
    }
    thread::scope(|scope| {
        let parse = || {
            let mut parsed = Vec::with_capacity(second.len() / 256);
            each_line(second, middle, look, &mut |from, line| {
                parsed.push((from, line));
            });
            parsed
        };
        let thread = thread::Builder::new().spawn_scoped(scope, parse);
        each_line(first, from, look, each);
        // The thread could not be started.
        let parsed = thread.map_or_else(
            |_| parse(),
            |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
        );
        for (from, line) in parsed {
            each(from, line);
        }
    });
}

fn each_line<'a, T>(
    mut lines: &'a [u8],
    mut from: u64,
    look: fn(&[u8]) -> T,
    each: &mut dyn FnMut(u64, ParsedLine<'a, T>),
) {
    let mut rest = lines;
    while let Ok(length @ 1..) = rest.skip_until(b'\n') {
        let line = &lines[..length];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        each(from, parse(line, look));
        from += length as u64;
        lines = rest;
    }
}

/// Reads a line of JSON, without its line break, up to 1 GiB. Returns its bytes in the file, 0 at the end, and whether it has a line
/// break. JSON has no control characters, so a line that has one is emptied at once: the hole of a sparse file takes no place on the
/// disk, and would take memory.
pub(crate) fn read_json_line(
    reader: &mut impl io::BufRead,
    line: &mut Vec<u8>,
) -> io::Result<(u64, bool)> {
    const MOST: usize = 1 << 30;
    line.clear();
    let (mut bytes, mut is_json) = (0, true);
    loop {
        let block = reader.fill_buf()?;
        let end = block.iter().position(|byte| *byte == b'\n');
        let piece = &block[..end.unwrap_or(block.len())];
        // Without an early exit, the compiler compares many bytes at once.
        let has_control = piece.iter().fold(false, |found, byte| found | (*byte < b' '));
        is_json &= !has_control && line.len() + piece.len() <= MOST;
        if is_json {
            line.extend_from_slice(piece);
        } else {
            *line = Vec::new();
        }
        let used = piece.len() + usize::from(end.is_some());
        reader.consume(used);
        bytes += used as u64;
        if end.is_some() || used == 0 {
            return Ok((bytes, end.is_some()));
        }
    }
}

/// Appends to the start of a line. Keeps one byte more than the bound, so that [`parse`] can refuse the line.
fn add(partial: &mut Vec<u8>, piece: &[u8]) {
    let room = (MAX_LINE + 1).saturating_sub(partial.len());
    partial.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn parse<T>(line: &[u8], look: fn(&[u8]) -> T) -> ParsedLine<'_, T> {
    if line.len() > MAX_LINE {
        let problem = format!("longer than {MAX_LINE} bytes");
        return (ReadLine::Damaged(BadLine::Shape(problem)), None);
    }
    // An editor or a transfer between systems may have changed the line ends.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match read_head(line) {
        Ok(row) => (ReadLine::Row(row, line), Some(look(line))),
        Err(problem) => (ReadLine::Damaged(problem), None),
    }
}

#[cfg(test)]
#[path = "tests/line_reader.rs"]
mod tests;
