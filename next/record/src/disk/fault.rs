//! Failpoints: where tests make a write or sync fail or kill the process. Release builds have none.
//!
//! `RUNNER_FAULT=place:action[:count]` takes effect at the `count`th passage of the place (the first if it is not given) and
//! at every later one. Actions: `error`, `full` (no space), `partial` (half of the bytes are written, then no space), `panic` and
//! `kill` (half of the bytes are written, then SIGKILL).

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    time::{Duration, SystemTime},
};

use runner_model::Time;

/// Only debug builds have it.
#[cfg(debug_assertions)]
#[path = "tests/injected.rs"]
pub(crate) mod injected;

/// Where a fault can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before and in the middle of a write of rows.
    RowsWrite,
    /// Before and in the middle of a write of logs.
    LogsWrite,
    /// Before rows are synced.
    RowsSync,
    /// Before a manifest is written under its temporary name.
    ManifestWrite,
    /// Before it gets its name.
    ManifestRename,
    /// Before a content gets its name in the store, or an artifact in its run.
    StoreKeep,
    /// Before a lock is taken.
    Lock,
}

/// Passes a place.
pub(crate) fn pass(place: Place) -> io::Result<()> {
    write(place, &[], |_| Ok(()))
}

/// Writes bytes at an offset.
pub(crate) fn write_at(place: Place, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    write(place, bytes, |bytes| file.write_all_at(bytes, at))
}

/// Notes that a file of a run was synced, with its length, in the file that `RUNNER_SYNCED` names: so a test can take away
/// what a loss of power would.
pub(crate) fn synced(name: &str, file: &File) {
    #[cfg(debug_assertions)]
    injected::synced(name, file);
    #[cfg(not(debug_assertions))]
    let _ = (name, file);
}

/// Returns the time of day. `RUNNER_TEST_CLOCK` names a file with milliseconds to add.
///
/// The clock may be set at any moment: nothing is decided by it, and durations come from it only without another clock.
pub fn now() -> Time {
    let now = Time::from(SystemTime::now());
    #[cfg(debug_assertions)]
    let now = Time::from_millis(now.as_millis() + injected::later());
    now
}

/// How often commands that go on for long look for dead runs: once a minute, or as many milliseconds as
/// `RUNNER_TEST_SWEEP_MS` says.
pub fn sweep_every() -> Duration {
    #[cfg(debug_assertions)]
    if let Some(time) = injected::sweep_every() {
        return time;
    }
    Duration::from_secs(60)
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

/// The faults of the calling thread, for a thread that it starts: tests run side by side, and each has its own.
#[cfg(not(test))]
pub(crate) fn inherit() {}

/// Takes over what [`inherit`] gave.
#[cfg(not(test))]
pub(crate) fn adopt((): ()) {}

#[cfg(test)]
pub(crate) use crate::tests::{adopt, inherit};
