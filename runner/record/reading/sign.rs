//! When a process that has died was last seen alive.

use std::{io, path::Path};

use jiff::{SignedDuration, Timestamp};

use super::row_files::RowFiles;
use crate::record::{
    disk::layout::RunDir,
    format::{line::MAX_LINE_BYTES, row::Row},
};

/// The newest sign of life of the session that was opened at `opened`: the end of the last row, and when the manifest,
/// `inflight` and `runner.log` were last written. Never before the opening, and never later than `now` unless that is.
///
/// What cannot be read gives no sign.
pub(in crate::record) fn last(dir: &RunDir, opened: Timestamp, now: Timestamp) -> Timestamp {
    let written = [dir.manifest(), dir.inflight(), dir.log()];
    let written = written.iter().filter_map(|path| modified(path));
    let signs = written.chain(end_of_last_row(dir));
    let last = signs.map(to_millisecond).filter(|sign| *sign <= now).max();
    last.map_or(opened, |last| last.max(opened))
}

/// As everything in a manifest.
fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

fn modified(path: &Path) -> Option<Timestamp> {
    let modified = fs_err::metadata(path).ok()?.modified().ok()?;
    Timestamp::try_from(modified).ok()
}

/// When the attempt ended whose row is the last one that can be read.
fn end_of_last_row(dir: &RunDir) -> Option<Timestamp> {
    let bytes = tail(dir).ok()?;
    let row = bytes
        .rsplit(|byte| *byte == b'\n')
        .find_map(|line| Row::decode(line).ok())?;
    let took = SignedDuration::try_from_secs_f64(row.duration_ms / 1e3).ok()?;
    row.started_at.checked_add(took).ok()
}

/// The end of the rows: a whole line at least, and what a crash may have left behind it.
fn tail(dir: &RunDir) -> io::Result<Vec<u8>> {
    const MOST: usize = 2 * MAX_LINE_BYTES;
    let files = RowFiles::open(dir)?;
    let length = files.length()?;
    let count = usize::try_from(length).unwrap_or(MOST).min(MOST);
    let mut bytes = vec![0; count];
    files.read_exact_at(&mut bytes, length - count as u64)?;
    Ok(bytes)
}
