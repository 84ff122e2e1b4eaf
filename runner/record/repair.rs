//! Repairing the tail of `index.jsonl` before the next row is appended.

use std::{
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use fs_err::{File, OpenOptions};

use super::{
    RecordError, durable, failpoint,
    layout::RunDir,
    row::{self, MAX_LINE_BYTES},
};

const BLOCK_BYTES: usize = 64 * 1024;

/// Moves everything after the last good line aside, and gives that line its newline if it lacks it. Bad lines before it
/// stay: whoever reads rows counts them.
///
/// Gives the number of the last row, 0 if there is none. Once it has succeeded, doing it again changes nothing.
pub(super) fn repair(dir: &RunDir, session: u32) -> Result<u64, RecordError> {
    repair_index(dir, session).map_err(RecordError::io("repair the file of rows"))
}

fn repair_index(dir: &RunDir, session: u32) -> io::Result<u64> {
    let mut index = open(dir)?;
    let length = index.metadata()?.len();
    let last = last_good_line(index.file(), length)?;
    if last.end < length {
        failpoint::pass("repair", "begin")?;
        move_aside(index.file(), last.end..length, &dir.torn(session))?;
        failpoint::pass("repair", "moved")?;
        index.set_len(last.end)?;
        failpoint::pass("repair", "truncated")?;
        index.sync_all()?;
        failpoint::pass("repair", "synced")?;
    }
    if last.lacks_newline {
        failpoint::pass("repair", "newline")?;
        index.write_all(b"\n")?;
        index.sync_all()?;
    }
    Ok(last.seq)
}

/// Opens for appending; a file that somebody has removed is made anew.
fn open(dir: &RunDir) -> io::Result<File> {
    let path = dir.index();
    let open = |create| {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(&path)
    };
    match open(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let index = open(true)?;
            durable::sync_directory(dir.path())?;
            Ok(index)
        }
        opened => opened,
    }
}

/// Adds bytes to the file of what was torn. A repair that was interrupted after this finds them there already.
fn move_aside(index: &std::fs::File, torn: std::ops::Range<u64>, path: &Path) -> io::Result<()> {
    let length = usize::try_from(torn.end - torn.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    index.read_exact_at(&mut bytes, torn.start)?;
    let mut moved = match fs_err::read(path) {
        Ok(moved) => moved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if moved.ends_with(&bytes) {
        return Ok(());
    }
    moved.extend_from_slice(&bytes);
    durable::replace(path, &moved, "repair.aside")
}

/// The last line that gives a row.
struct LastLine {
    /// Where it ends, with its newline if it has one.
    end: u64,
    lacks_newline: bool,
    seq: u64,
}

/// Looks for it from the end, in bytes: what is there may be no text at all.
fn last_good_line(index: &std::fs::File, length: u64) -> io::Result<LastLine> {
    let mut window = Window::new(index);
    let mut line = Vec::new();
    let mut end = length;
    loop {
        let start = window.line_start(end)?;
        if end - start < MAX_LINE_BYTES as u64 {
            line.resize((end - start) as usize, 0);
            index.read_exact_at(&mut line, start)?;
            if let Ok(brief) = row::decode_brief(&line) {
                let lacks_newline = end == length;
                return Ok(LastLine {
                    end: if lacks_newline { end } else { end + 1 },
                    lacks_newline,
                    seq: brief.seq,
                });
            }
        }
        if start == 0 {
            return Ok(LastLine {
                end: 0,
                lacks_newline: false,
                seq: 0,
            });
        }
        end = start - 1;
    }
}

/// A piece of a file that moves towards its beginning.
struct Window<'a> {
    file: &'a std::fs::File,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a std::fs::File) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Where the line begins whose bytes end before `end`.
    fn line_start(&mut self, mut end: u64) -> io::Result<u64> {
        while end > 0 {
            if !(self.start < end && end <= self.start + self.bytes.len() as u64) {
                self.load(end)?;
            }
            let before = &self.bytes[..(end - self.start) as usize];
            if let Some(newline) = before.iter().rposition(|byte| *byte == b'\n') {
                return Ok(self.start + newline as u64 + 1);
            }
            end = self.start;
        }
        Ok(0)
    }

    /// Loads what lies before `end`.
    fn load(&mut self, end: u64) -> io::Result<()> {
        self.start = end.saturating_sub(BLOCK_BYTES as u64);
        self.bytes.resize((end - self.start) as usize, 0);
        self.file.read_exact_at(&mut self.bytes, self.start)
    }
}
