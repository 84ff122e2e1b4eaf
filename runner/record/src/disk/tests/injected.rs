//! Faults and clocks from the environment of a debug build, such as `RUNNER_FAULT`.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    io::Errno,
    process::{Signal, getpid, kill_process},
};

use super::Place;

/// Appends the name and length of a synced file to the file that `RUNNER_SYNCED` names.
pub(crate) fn synced(path: &Path, file: &File) {
    if let Some(noted) = env::var_os("RUNNER_SYNCED") {
        let length = file.metadata().map_or(0, |about| about.len());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let notes = File::options().create(true).append(true).open(noted);
        // Several threads sync at the same time, so a note is one write.
        let note = format!("{name} {length}\n");
        let _ = notes.and_then(|mut notes| notes.write_all(note.as_bytes()));
    }
}

/// Returns the milliseconds to add to the time of day.
pub(crate) fn later() -> i64 {
    let Some(path) = env::var_os("RUNNER_TEST_CLOCK") else {
        return 0;
    };
    let file = File::options().read(true).open(path);
    let text = file.and_then(io::read_to_string).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Writes bytes, or fails as requested at this place.
pub(crate) fn write(
    place: Place,
    bytes: &[u8],
    write: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let half = &bytes[..bytes.len() / 2];
    match at(place) {
        None => write(bytes),
        Some(Action::Error) => Err(io::Error::other("injected by RUNNER_FAULT")),
        Some(Action::Full) => Err(Errno::NOSPC.into()),
        Some(Action::Partial) => {
            write(half)?;
            Err(Errno::NOSPC.into())
        }
        Some(Action::Stop) => {
            let _ = kill_process(getpid(), Signal::STOP);
            write(bytes)
        }
        Some(Action::Panic) => panic!("injected by RUNNER_FAULT"),
        Some(Action::Kill) => {
            write(half)?;
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Error,
    Full,
    Partial,
    Stop,
    Panic,
    Kill,
}

#[derive(Debug)]
pub(crate) struct Fault {
    place: Place,
    action: Action,
    /// Passages before it takes effect.
    left: AtomicU32,
}

fn at(place: Place) -> Option<Action> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    #[cfg(test)]
    if let Some(action) = crate::tests::fault_at(place) {
        return Some(action);
    }
    let fault = FAULT.get_or_init(|| {
        let text = env::var("RUNNER_FAULT").ok()?;
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
            "calls-write" => Place::CallsWrite,
            "rows-sync" => Place::RowsSync,
            "manifest-write" => Place::ManifestWrite,
            "manifest-rename" => Place::ManifestRename,
            "store-keep" => Place::StoreKeep,
            "user-file-rename" => Place::UserFileRename,
            "lock" => Place::Lock,
            "queue-write" => Place::QueueWrite,
            "queue-move" => Place::QueueMove,
            "queue-taken" => Place::QueueTaken,
            "queue-started" => Place::QueueStarted,
            _ => return None,
        };
        let action = match parts.next()? {
            "error" => Action::Error,
            "full" => Action::Full,
            "partial" => Action::Partial,
            "stop" => Action::Stop,
            "panic" => Action::Panic,
            "kill" => Action::Kill,
            _ => return None,
        };
        let count = parts.next().map_or(Some(1), |count| count.parse().ok())?;
        let left = AtomicU32::new(count);
        Some(Self { place, action, left })
    }

    pub(crate) fn passed(&self, place: Place) -> Option<Action> {
        if place != self.place {
            return None;
        }
        let count = |left: u32| Some(left.saturating_sub(1));
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        (left.unwrap_or(0) <= 1).then_some(self.action)
    }
}
