//! What a run's `notifications.jsonl` says.

use std::{io, path::Path};

use crate::record::{
    disk::{layout::RunDir, regular},
    format::notification::NotificationLine,
};

/// What was done about telling of a run's end, in order; a line that cannot be read is left out.
///
/// # Errors
///
/// Fails if the file is there and cannot be read.
pub fn notified(dir: &Path) -> io::Result<Vec<NotificationLine>> {
    let lines = lines(&RunDir::new(dir))?.into_iter();
    Ok(lines.filter_map(Result::ok).collect())
}

/// The numbers of the lines that are none, from 1; the last one may be torn.
pub(in crate::record) fn damaged_lines(run: &RunDir) -> io::Result<Vec<u64>> {
    let lines = lines(run)?;
    let last = lines.len();
    let damaged = (1..).zip(&lines).filter(|(_, line)| line.is_err());
    let numbers = damaged.map(|(number, _)| number);
    Ok(numbers.filter(|number| *number != last as u64).collect())
}

type NotificationLines = Vec<Result<NotificationLine, serde_json::Error>>;

fn lines(run: &RunDir) -> io::Result<NotificationLines> {
    let bytes = match regular::read(&run.notifications()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_slice).collect())
}
