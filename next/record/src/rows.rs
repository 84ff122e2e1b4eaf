//! Reads the lines of `index.jsonl`, in blocks and in bounded memory whatever is in the file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, panic::resume_unwind, thread};

use runner_model::row::{BadLine, MAX_ROW, RowHead, RowRef, read_head, read_line};

/// Bytes of a line, what the coordinator adds included. Longer ones are garbage and are not kept in memory.
pub(crate) const MAX_LINE: usize = MAX_ROW + (64 << 10);
const BLOCK: usize = 1 << 20;
/// Fewer bytes are parsed before another thread has begun.
const WORTH_A_THREAD: usize = 128 << 10;

/// A line of `index.jsonl` as it is read.
#[derive(Debug)]
pub enum ReadLine<'a, R = RowRef<'a>> {
    /// A row, and its bytes without the line break.
    Row(R, &'a [u8]),
    /// A line that is damaged or no row; its trial runs again.
    Damaged(BadLine),
    /// The last line lacks its line break, and is no whole row.
    Torn(Range<u64>),
}

/// How much of each row is read.
pub(crate) trait Part: 'static {
    /// What it is read as.
    type Row<'a>: Send;
    fn read(line: &[u8]) -> Result<Self::Row<'_>, BadLine>;
}

/// All of it.
pub(crate) struct Whole;

impl Part for Whole {
    type Row<'a> = RowRef<'a>;

    fn read(line: &[u8]) -> Result<RowRef<'_>, BadLine> {
        read_line(line)
    }
}

/// What folds need.
pub(crate) struct Head;

impl Part for Head {
    type Row<'a> = RowHead;

    fn read(line: &[u8]) -> Result<RowHead, BadLine> {
        read_head(line)
    }
}

/// Takes lines with their first bytes.
pub(crate) type Each<'e, P> = dyn for<'a> FnMut(u64, ReadLine<'a, <P as Part>::Row<'a>>) + 'e;

/// Calls `each` for every line that begins at byte `from` or behind it, in order, with its first byte. Returns where the last
/// line begins if it lacks its line break, else where the next one will.
pub(crate) fn read<P: Part>(file: &File, mut from: u64, each: &mut Each<'_, P>) -> io::Result<u64> {
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
            each(from, parse::<P>(&begun));
            begun.clear();
            from = at - (length - first - 1) as u64;
            whole = &whole[first + 1..];
        }
        let rest = length - end - 1;
        let (lines, rest) = whole.split_at(whole.len() - rest);
        read_lines::<P>(lines, from, each);
        from += lines.len() as u64;
        add(&mut begun, rest);
    }
    match parse::<P>(&begun) {
        _ if at == from => {}
        ReadLine::Damaged(_) => each(from, ReadLine::Torn(from..at)),
        row => each(from, row),
    }
    Ok(from)
}

/// Reads whole lines. Parsing takes most of the time, so another thread parses half of them.
fn read_lines<P: Part>(lines: &[u8], from: u64, each: &mut Each<'_, P>) {
    let half = lines.len() / 2;
    let half = lines[half..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |end| half + end + 1);
    if lines.len() < WORTH_A_THREAD {
        each_line::<P>(lines, from, each);
        return;
    }
    let (first, second) = lines.split_at(half);
    let second_from = from + half as u64;
    thread::scope(|scope| {
        let parse_second = || {
            let mut parsed = Vec::with_capacity(second.len() / 300);
            each_line::<P>(second, second_from, &mut |from, line| {
                parsed.push((from, line));
            });
            parsed
        };
        let parsed = thread::Builder::new().spawn_scoped(scope, parse_second);
        each_line::<P>(first, from, each);
        match parsed.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed.into_iter().for_each(|(from, line)| each(from, line)),
            Ok(Err(panic)) => resume_unwind(panic),
            // Without another thread this one does it.
            Err(_) => each_line::<P>(second, second_from, each),
        }
    });
}

fn each_line<'a, P: Part>(
    lines: &'a [u8],
    mut from: u64,
    each: &mut dyn FnMut(u64, ReadLine<'a, P::Row<'a>>),
) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        each(from, parse::<P>(line.strip_suffix(b"\n").unwrap_or(line)));
        from += line.len() as u64;
    }
}

/// Adds to the beginning of a line, and of one that is too long no more than shows that it is.
fn add(begun: &mut Vec<u8>, piece: &[u8]) {
    let room = (MAX_LINE + 1).saturating_sub(begun.len());
    begun.extend_from_slice(&piece[..piece.len().min(room)]);
}

fn parse<P: Part>(line: &[u8]) -> ReadLine<'_, P::Row<'_>> {
    if line.len() > MAX_LINE {
        return ReadLine::Damaged(BadLine::Shape(format!("longer than {MAX_LINE} bytes")));
    }
    match P::read(line) {
        Ok(row) => ReadLine::Row(row, line),
        Err(problem) => ReadLine::Damaged(problem),
    }
}

#[cfg(test)]
#[path = "tests/rows.rs"]
mod tests;
