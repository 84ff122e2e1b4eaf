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

/// Where a fault can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before and in the middle of a write of rows.
    RowsWrite,
    /// The same of logs.
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
    if let Some(path) = std::env::var_os("RUNNER_SYNCED") {
        use std::io::Write as _;
        let length = file.metadata().map_or(0, |about| about.len());
        let notes = File::options().create(true).append(true).open(path);
        let _ = notes.and_then(|mut notes| writeln!(notes, "{name} {length}"));
    }
    #[cfg(not(debug_assertions))]
    let _ = (name, file);
}

/// The time of day, as much later or earlier as the file says that `RUNNER_TEST_CLOCK` names: a number of milliseconds.
pub(crate) fn time_of_day() -> SystemTime {
    let now = SystemTime::now();
    #[cfg(debug_assertions)]
    if let Some(path) = std::env::var_os("RUNNER_TEST_CLOCK") {
        let file = File::options().read(true).open(path);
        let text = file.and_then(io::read_to_string).unwrap_or_default();
        let later: i64 = text.trim().parse().unwrap_or(0);
        let step = Duration::from_millis(later.unsigned_abs());
        return if later < 0 { now - step } else { now + step };
    }
    now
}

/// How often commands that go on for long look for dead runs: once a minute, or as many milliseconds as
/// `RUNNER_TEST_SWEEP_MS` says.
pub fn sweep_every() -> Duration {
    #[cfg(debug_assertions)]
    if let Ok(text) = std::env::var("RUNNER_TEST_SWEEP_MS") {
        return Duration::from_millis(text.parse().unwrap_or(0));
    }
    Duration::from_secs(60)
}

#[cfg(not(debug_assertions))]
fn write(_: Place, bytes: &[u8], write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
    write(bytes)
}

#[cfg(debug_assertions)]
fn write(place: Place, bytes: &[u8], write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let half = &bytes[..bytes.len() / 2];
    match injected::at(place) {
        None => write(bytes),
        Some(injected::Action::Error) => Err(io::Error::other("injected by RUNNER_FAULT")),
        Some(injected::Action::Full) => Err(rustix::io::Errno::NOSPC.into()),
        Some(injected::Action::Partial) => {
            write(half)?;
            Err(rustix::io::Errno::NOSPC.into())
        }
        Some(injected::Action::Panic) => panic!("injected by RUNNER_FAULT"),
        Some(injected::Action::Kill) => {
            write(half)?;
            let process = rustix::process::getpid();
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

#[cfg(debug_assertions)]
pub(crate) mod injected {
    //! What `RUNNER_FAULT` asks for.

    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::Place;

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Action {
        Error,
        Full,
        Partial,
        Panic,
        Kill,
    }

    #[derive(Debug)]
    pub(crate) struct Fault {
        place: Place,
        action: Action,
        /// Passages that are left before it takes effect.
        left: AtomicU32,
    }

    pub(super) fn at(place: Place) -> Option<Action> {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        #[cfg(test)]
        if let Some(action) = crate::tests::fault_at(place) {
            return Some(action);
        }
        let fault = FAULT.get_or_init(|| {
            let text = std::env::var("RUNNER_FAULT").ok()?;
            let fault = Fault::parse(&text);
            Some(fault.unwrap_or_else(|| panic!("RUNNER_FAULT={text} names no place or action")))
        });
        fault.as_ref()?.passed(place)
    }

    impl Fault {
        pub(crate) fn parse(text: &str) -> Option<Self> {
            let mut parts = text.split(':');
            let place = match parts.next()? {
                "rows-write" => Place::RowsWrite,
                "logs-write" => Place::LogsWrite,
                "rows-sync" => Place::RowsSync,
                "manifest-write" => Place::ManifestWrite,
                "manifest-rename" => Place::ManifestRename,
                "store-keep" => Place::StoreKeep,
                "lock" => Place::Lock,
                _ => return None,
            };
            let action = match parts.next()? {
                "error" => Action::Error,
                "full" => Action::Full,
                "partial" => Action::Partial,
                "panic" => Action::Panic,
                "kill" => Action::Kill,
                _ => return None,
            };
            let count = parts.next().map_or(Some(1), |count| count.parse().ok())?;
            let left = AtomicU32::new(count);
            Some(Self {
                place,
                action,
                left,
            })
        }

        pub(crate) fn passed(&self, place: Place) -> Option<Action> {
            if place != self.place {
                return None;
            }
            let count = |left: u32| Some(left.saturating_sub(1));
            let left = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
            (left.unwrap_or(0) <= 1).then_some(self.action)
        }
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
