//! What concerns a run's files is said on the screen and in the run's own `runner.log`, whoever does it.

use std::io::{self, Write as _};

use fs_err::{File, OpenOptions};
use jiff::Timestamp;

use crate::{
    model::visible_line,
    record::disk::{layout::RunDir, modes, regular},
};

/// Opens the log, not from its start: an earlier session may have written into it.
pub(in crate::record) fn open(dir: &RunDir) -> io::Result<File> {
    let (path, mut options) = (dir.log(), OpenOptions::new());
    options.append(true).create(true);
    regular::open_to_write(modes::set(&mut options, &path), &path)
}

/// Warns, and leaves a line in the run's log. That a log cannot be written keeps nobody from working.
pub(in crate::record) fn warn(dir: &RunDir, text: &str, now: Timestamp) {
    let name = dir.path().file_name().unwrap_or_default();
    tracing::warn!("run `{}`: {text}", name.display());
    let line = format!("{now:.6}  WARN runner::record: {}\n", visible_line(text));
    if let Err(error) = open(dir).and_then(|mut log| log.write_all(line.as_bytes())) {
        tracing::debug!("cannot write a run's log: {error}");
    }
}
