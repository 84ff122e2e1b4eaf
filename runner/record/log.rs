//! What concerns a run's files is said on the screen and in the run's own `runner.log`, whoever does it.

use std::io::Write as _;

use fs_err::OpenOptions;
use jiff::Timestamp;

use super::layout::RunDir;

/// Warns, and leaves a line in the run's log. That a log cannot be written keeps nobody from working.
pub(super) fn tell(dir: &RunDir, text: &str, now: Timestamp) {
    let name = dir.path().file_name().unwrap_or_default();
    tracing::warn!("run `{}`: {text}", name.display());
    let line = format!("{now:.6}  WARN runner::record: {text}\n");
    let log = OpenOptions::new().append(true).create(true).open(dir.log());
    if let Err(error) = log.and_then(|mut log| log.write_all(line.as_bytes())) {
        tracing::debug!("cannot write a run's log: {error}");
    }
}
