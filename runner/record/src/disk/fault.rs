//! Failpoints: places where tests make a write or sync fail, or kill the process. Release builds have no failpoints.
//!
//! `RUNNER_FAULT=place:action[:count]` takes effect from the `count`th passage of the place on (default 1). Actions:
//! `error`, `full` (no space), `partial` (half of the bytes are written, then no space), `stop` (SIGSTOP), `panic` and
//! `kill` (half of the bytes are written, then SIGKILL).

use std::time::{Duration, SystemTime};
use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use runner_model::{Time, test_duration};

/// Exists in debug builds only.
#[cfg(debug_assertions)]
#[path = "tests/injected.rs"]
pub(crate) mod injected;

/// A place that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before a write of rows, and in the middle of it.
    RowsWrite,
    /// Before a write of logs, and in the middle of it.
    LogsWrite,
    /// Before a write of calls, and in the middle of it.
    CallsWrite,
    /// Before rows are synced.
    RowsSync,
    /// Before a manifest is written under its temporary name.
    ManifestWrite,
    /// Before a manifest is renamed.
    ManifestRename,
    /// Before an entry of the store or an artifact gets its name.
    StoreKeep,
    /// Before an accepted file replaces a file of the user.
    UserFileRename,
    /// Before a lock is taken.
    Lock,
    /// Before a request of the queue is written.
    QueueWrite,
    /// After a request was written into another folder of the queue, and before it is removed from the old one.
    QueueMove,
    /// After a request was taken, and before its process is started.
    QueueTaken,
    /// After the run of a request exists, and before the request is removed.
    QueueStarted,
}

pub(crate) fn pass(place: Place) -> io::Result<()> {
    write(place, &[], |_| Ok(()))
}

/// Writes bytes at an offset.
pub(crate) fn write_at(place: Place, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    write(place, bytes, |bytes| file.write_all_at(bytes, at))
}

/// Syncs the content of a file. Then appends its name and length to the file that `RUNNER_SYNCED` names. Tests remove the
/// bytes that a loss of power would.
pub(crate) fn sync_data(path: &Path, file: &File) -> io::Result<()> {
    file.sync_data()?;
    #[cfg(debug_assertions)]
    injected::synced(path, file);
    #[cfg(not(debug_assertions))]
    let _ = path;
    Ok(())
}

/// Returns the time of day. `RUNNER_TEST_CLOCK` names a file with milliseconds to add.
///
/// The clock may be set at any moment. No decision may depend on it. Measure durations with another clock where
/// possible.
pub fn now() -> Time {
    let now = Time::from(SystemTime::now());
    #[cfg(debug_assertions)]
    let now = Time::from_millis(now.as_millis() + injected::later());
    now
}

/// Returns the interval at which long commands sweep dead runs: a minute, or `RUNNER_TEST_SWEEP_MS`.
pub fn sweep_every() -> Duration {
    test_duration("RUNNER_TEST_SWEEP_MS", Duration::from_secs(60))
}

fn write(place: Place, bytes: &[u8], write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return injected::write(place, bytes, write);
    #[cfg(not(debug_assertions))]
    {
        let _ = place;
        write(bytes)
    }
}

/// Returns the faults of the calling thread for a thread that it starts. Tests run in parallel, each with its own
/// faults.
#[cfg(not(test))]
pub(crate) fn inherit() {}

/// Sets the faults that [`inherit`] returned.
#[cfg(not(test))]
pub(crate) fn adopt((): ()) {}

#[cfg(test)]
pub(crate) use crate::tests::{adopt, inherit};
