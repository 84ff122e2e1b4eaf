//! Repairs the end of the rows before more are appended, because a process may have died while writing.

use std::io::{self, Read as _};
use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, path::Path};

use runner_model::{units::plural, visible::shown_path};

use crate::disk::{beneath::Reader, fault, layout::ROWS};
use crate::rows::line_reader::{self, ReadLine};
use crate::{RecordError, RunDir};

/// Bytes before the end in which the last row nearly always starts.
const NEAR: u64 = 4 << 20;

/// The result of a repair.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// Greatest number of the rows near the end; 0 without rows.
    pub(crate) last_seq: u64,
    /// Notice for people about bytes that were moved.
    pub(crate) moved: Option<String>,
}

/// Moves all bytes after the last whole row to `index.torn-<session>`, and completes a row that lacks only its line
/// break. Damaged lines before it stay: they are counted, and their trials run again.
///
/// Syncs the rows: the process that wrote them may have died before its sync, and they are counted from now on. A
/// second repair changes nothing.
pub(crate) fn repair(run: &RunDir, session: u32) -> Result<Repaired, RecordError> {
    let file = run.dir.write(ROWS)?;
    let failed = run.dir.failure("repair", ROWS);
    let length = file.metadata().map_err(failed)?.len();
    let last = last_row(&file, length).map_err(failed)?;
    let mut moved = None;
    if last.end < length {
        let torn = format!("index.torn-{session}");
        move_aside(run, &file, last.end..length, &torn)?;
        file.set_len(last.end).map_err(failed)?;
        moved = Some(format!(
            "the incomplete last row ({}) was moved to {}; trials without a result run again",
            plural(length - last.end, "byte", "bytes"),
            shown_path(&run.dir.path().join(torn))
        ));
    }
    if last.lacks_line_break {
        file.write_all_at(b"\n", length).map_err(failed)?;
    }
    fault::sync_data(Path::new(ROWS), &file).map_err(failed)?;
    run.dir.sync()?;
    Ok(Repaired { last_seq: last.seq, moved })
}

/// Appends torn bytes to a separate file. After an interrupted repair the file has them twice.
fn move_aside(run: &RunDir, rows: &File, torn: Range<u64>, name: &str) -> Result<(), RecordError> {
    let mut target = run.dir.append(name)?;
    let failed = run.dir.failure("write", name);
    let mut bytes = Reader { file: rows, at: torn.start }.take(torn.end - torn.start);
    io::copy(&mut bytes, &mut target).map_err(failed)?;
    target.sync_all().map_err(failed)?;
    run.dir.sync()
}

/// The last line that is a row.
#[derive(Default)]
struct LastRow {
    /// End of the line, with its line break.
    end: u64,
    lacks_line_break: bool,
    /// The greatest number of a row.
    seq: u64,
}

/// Searches near the end, and all lines only if no row is there.
fn last_row(file: &File, length: u64) -> io::Result<LastRow> {
    let near = length.saturating_sub(NEAR);
    // The rest of the line that starts before `near` has no valid checksum.
    let found = last_row_behind(file, near, length)?;
    if found.end > 0 || near == 0 {
        return Ok(found);
    }
    last_row_behind(file, 0, length)
}

fn last_row_behind(file: &File, from: u64, length: u64) -> io::Result<LastRow> {
    let mut last = LastRow::default();
    let mut is_last_line = false;
    let end = line_reader::read(file, from, |_| (), &mut |at, (line, _)| {
        if is_last_line {
            last.end = at;
        }
        is_last_line = false;
        if let ReadLine::Row(row, _) = line {
            is_last_line = true;
            // A program may have sorted the rows.
            last.seq = row.seq.max(last.seq);
        }
    })?;
    if is_last_line {
        last.end = length;
        last.lacks_line_break = end < length;
    }
    Ok(last)
}

#[cfg(test)]
#[path = "tests/repair.rs"]
mod tests;
