//! Reads the lines of `index.jsonl`, in blocks and in bounded memory whatever is in the file.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _},
    os::unix::fs::FileExt as _,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
};

use runner_model::row::{BadLine, MAX_ROW, RowHead, read_head};

/// Bytes of a line, what the coordinator adds included. Longer ones are garbage and are not kept in memory.
pub(crate) const MAX_LINE: usize = MAX_ROW + (64 << 10);
const BLOCK: usize = 4 << 20;
/// Bytes that a thread parses before it looks at what the other one has done. Fewer are not worth a thread.
const PIECE: usize = 32 << 10;

/// A line of `index.jsonl` as it is read.
#[derive(Debug)]
pub enum ReadLine<'a> {
    /// What folds need of a row, and its bytes without the line break.
    Row(RowHead, &'a [u8]),
    /// A line that is damaged or no row; its trial runs again.
    Damaged(BadLine),
    /// The last line lacks its line break, and is no whole row.
    Torn,
}

/// Takes lines with their first bytes.
pub(crate) type Each<'e> = dyn for<'a> FnMut(u64, ReadLine<'a>) + 'e;

/// Calls `each` for every line that begins at byte `from` or behind it, in order, with its first byte. Returns where the last
/// line begins if it lacks its line break, else where the next one will.
pub(crate) fn read(file: &File, mut from: u64, each: &mut Each<'_>) -> io::Result<u64> {
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
        let mut whole = &block[..length];
        at += length as u64;
        let Some(end) = whole.iter().rposition(|byte| *byte == b'\n') else {
            add(&mut begun, whole);
            continue;
        };
        if !begun.is_empty() {
            let first = whole.iter().position(|byte| *byte == b'\n').unwrap_or(end);
            add(&mut begun, &whole[..first]);
            each(from, parse(&begun));
            begun.clear();
            from = at - (length - first - 1) as u64;
            whole = &whole[first + 1..];
        }
        let rest = length - end - 1;
        let (lines, rest) = whole.split_at(whole.len() - rest);
        read_lines(lines, from, each);
        from += lines.len() as u64;
        add(&mut begun, rest);
    }
    match parse(&begun) {
        _ if at == from => {}
        ReadLine::Damaged(_) => each(from, ReadLine::Torn),
        row => each(from, row),
    }
    Ok(from)
}

/// Reads whole lines. Parsing takes most of the time, so another thread parses some of them, and this one takes all.
fn read_lines(lines: &[u8], from: u64, each: &mut Each<'_>) {
    let pieces = pieces(lines, from);
    if let [(from, lines)] = pieces.as_slice() {
        each_line(lines, *from, each);
        return;
    }
    let next = AtomicUsize::new(0);
    let parse_next = || {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let (from, lines) = pieces.get(place)?;
        let mut parsed = Vec::with_capacity(PIECE / 256);
        each_line(lines, *from, &mut |from, line| parsed.push((from, line)));
        Some((place, parsed))
    };
    let (sender, others) = channel();
    thread::scope(|scope| {
        let parse_some = move || {
            while let Some(parsed) = parse_next() {
                let _ = sender.send(parsed);
            }
        };
        // Without another thread this one parses all.
        let _ = thread::Builder::new().spawn_scoped(scope, parse_some);
        let mut waiting = HashMap::new();
        for place in 0..pieces.len() {
            let parsed = loop {
                waiting.extend(others.try_iter());
                if let Some(parsed) = waiting.remove(&place) {
                    break parsed;
                }
                // The other thread hangs up only when it panics, which the scope passes on.
                match parse_next().or_else(|| others.recv().ok()) {
                    Some((place, parsed)) => waiting.insert(place, parsed),
                    None => return,
                };
            };
            for (from, line) in parsed {
                each(from, line);
            }
        }
    });
}

/// Splits whole lines into pieces of whole lines, each with its first byte.
fn pieces(mut lines: &[u8], mut from: u64) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    loop {
        let rest = lines.get(PIECE..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (piece, behind) = lines.split_at(end.map_or(lines.len(), |end| PIECE + end + 1));
        pieces.push((from, piece));
        if behind.is_empty() {
            return pieces;
        }
        from += piece.len() as u64;
        lines = behind;
    }
}

fn each_line<'a>(mut lines: &'a [u8], mut from: u64, each: &mut dyn FnMut(u64, ReadLine<'a>)) {
    let mut rest = lines;
    while let Ok(length @ 1..) = rest.skip_until(b'\n') {
        let line = &lines[..length];
        each(from, parse(line.strip_suffix(b"\n").unwrap_or(line)));
        from += length as u64;
        lines = rest;
    }
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
    // An editor or a file's way over other systems may have given lines another end.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match read_head(line) {
        Ok(row) => ReadLine::Row(row, line),
        Err(problem) => ReadLine::Damaged(problem),
    }
}

#[cfg(test)]
#[path = "tests/rows.rs"]
mod tests;
