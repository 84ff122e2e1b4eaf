//! Repairs the end of the rows before the next one is appended: a process may have died in the middle of a write.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
};

use runner_model::row::read_line;

use crate::{RecordError, RunDir, fault, rows::MAX_LINE, run::ROWS};

const BLOCK: u64 = 64 << 10;

/// What a repair found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// The number of the last row; 0 without rows.
    pub(crate) last_seq: u64,
    /// What was moved aside, for people.
    pub(crate) moved: Option<String>,
}

/// Moves everything behind the last whole row to `index.torn-<session>`, and gives that row its line break if it lacks only
/// that. Bad lines before it stay: they are counted, and their trials run again.
///
/// Once it has succeeded all rows are on disk: the process that wrote them may have died before they were, and what they say
/// is about to be believed. Doing it again changes nothing.
pub(crate) fn repair(run: &RunDir, session: u32) -> Result<Repaired, RecordError> {
    let file = run.dir.write(ROWS)?;
    let failed = |source| run.dir.error("repair", ROWS, source);
    let length = file.metadata().map_err(failed)?.len();
    let last = last_row(&file, length).map_err(failed)?;
    let mut moved = None;
    if last.end < length {
        let torn = format!("index.torn-{session}");
        move_aside(run, &file, last.end..length, &torn)?;
        file.set_len(last.end).map_err(failed)?;
        moved = Some(format!(
            "the last {} bytes of the rows were no whole row and were moved to {}; their trials run again",
            length - last.end,
            run.dir.path().join(torn).display()
        ));
    }
    if last.lacks_line_break {
        file.write_all_at(b"\n", length).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    fault::synced(ROWS, &file);
    run.dir.sync()?;
    Ok(Repaired {
        last_seq: last.seq,
        moved,
    })
}

/// Appends bytes of the rows to the file of what was torn. A repair that was interrupted finds them there already.
fn move_aside(
    run: &RunDir,
    rows: &File,
    torn: std::ops::Range<u64>,
    name: &str,
) -> Result<(), RecordError> {
    let mut target = run.dir.append(name)?;
    let failed = |source| run.dir.error("write", name, source);
    let length = torn.end - torn.start;
    let there = target.metadata().map_err(failed)?.len();
    let is_there = there
        .checked_sub(length)
        .map_or(Ok(false), |at| {
            is_equal(rows, torn.start, &target, at, length)
        })
        .map_err(failed)?;
    if !is_there {
        copy(rows, torn, &mut target).map_err(failed)?;
    }
    target.sync_all().map_err(failed)?;
    run.dir.sync()
}

fn copy(rows: &File, torn: std::ops::Range<u64>, target: &mut File) -> io::Result<()> {
    for from in torn.clone().step_by(BLOCK as usize) {
        let mut block = vec![0; BLOCK.min(torn.end - from) as usize];
        rows.read_exact_at(&mut block, from)?;
        target.write_all(&block)?;
    }
    Ok(())
}

fn is_equal(one: &File, from: u64, other: &File, at: u64, length: u64) -> io::Result<bool> {
    for offset in (0..length).step_by(BLOCK as usize) {
        let size = BLOCK.min(length - offset) as usize;
        let mut blocks = [vec![0; size], vec![0; size]];
        one.read_exact_at(&mut blocks[0], from + offset)?;
        other.read_exact_at(&mut blocks[1], at + offset)?;
        if blocks[0] != blocks[1] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The last line that is a row.
#[derive(Default)]
struct LastRow {
    /// Where it ends, with its line break.
    end: u64,
    lacks_line_break: bool,
    seq: u64,
}

/// Looks for it from the end, in bytes: what is there may be no text at all.
fn last_row(file: &File, length: u64) -> io::Result<LastRow> {
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
    };
    let mut end = length;
    loop {
        let start = window.line_start(end)?;
        let lacks_line_break = end == length;
        if end - start <= MAX_LINE as u64 {
            let mut line = vec![0; (end - start) as usize];
            file.read_exact_at(&mut line, start)?;
            if let Ok(row) = read_line(line.strip_suffix(b"\r").unwrap_or(&line)) {
                return Ok(LastRow {
                    end: end + u64::from(!lacks_line_break),
                    lacks_line_break,
                    seq: row.seq.unwrap_or(0),
                });
            }
        }
        match start.checked_sub(1) {
            Some(before) => end = before,
            None => return Ok(LastRow::default()),
        }
    }
}

/// A piece of a file that moves towards its beginning.
struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Where the line begins whose bytes end before `end`.
    fn line_start(&mut self, mut end: u64) -> io::Result<u64> {
        while end > 0 {
            if !(self.start < end && end <= self.start + self.bytes.len() as u64) {
                self.start = end.saturating_sub(BLOCK);
                self.bytes.resize((end - self.start) as usize, 0);
                self.file.read_exact_at(&mut self.bytes, self.start)?;
            }
            let before = &self.bytes[..(end - self.start) as usize];
            if let Some(at) = before.iter().rposition(|byte| *byte == b'\n') {
                return Ok(self.start + at as u64 + 1);
            }
            end = self.start;
        }
        Ok(0)
    }
}

#[cfg(test)]
#[path = "tests/repair.rs"]
mod tests;
