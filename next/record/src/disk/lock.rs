//! [`Lock`]: the file that shows which process owns a run. Only the lock shows that a run is alive: no pid, age or clock
//! decides anything.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    thread,
    time::{Duration, Instant, SystemTime},
};

use runner_model::Time;
use rustix::fs::FallocateFlags;

use crate::{
    RecordError,
    disk::{
        beneath::{Dir, Stamp, random},
        fault::{self, Place},
    },
};

pub(crate) const LOCK: &str = "lock";
/// Probing readers hold a lock for an instant, so an owner tries for this long.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes that the file takes while it is held. They are given back before a session's last manifest, which then has room
/// on a full disk.
const RESERVE: u64 = 64 << 10;

/// A lock that is held until this is dropped. The file stays.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Held,
    /// Where it is.
    pub(crate) stamp: Stamp,
    text: String,
    /// A random text by which requests name this holder.
    pub(crate) token: String,
}

/// The process that holds a lock, by what it wrote there; numbers and texts may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its number; 0 if unknown.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    pub(crate) token: String,
}

impl Lock {
    /// Takes the lock of a run, and makes its file where it is missing.
    pub(crate) fn take(dir: &Dir, run: &str) -> Result<Self, RecordError> {
        let lock = try_for(PATIENCE, PAUSE, || {
            let failed = |source| dir.error("take", LOCK, source);
            fault::pass(Place::Lock).map_err(failed)?;
            let file = dir.write(LOCK)?;
            if !try_lock(&file, true).map_err(failed)? {
                return Ok(None);
            }
            let stamp = Stamp::of(&file).map_err(failed)?;
            // The process that had it may have removed it with the run.
            let found = dir.stat(LOCK)?;
            let is_there = found.is_some_and(|found| found.is_place_of(&stamp));
            Ok(is_there.then(|| Self::hold(file, stamp)))
        });
        lock?.ok_or_else(|| {
            let Holder { pid, host, .. } = read_holder(dir);
            let run = run.to_owned();
            RecordError::Held { run, pid, host }
        })
    }

    /// Writes down who holds it. On a full disk that fails and is no failure: a dead run must be swept all the same.
    fn hold(file: File, stamp: Stamp) -> Self {
        let token = format!("{:016x}{:016x}", random(), random());
        let text = format!(
            "pid {}\nhost {}\nsince {}\ntoken {token}\n",
            std::process::id(),
            host(),
            Time::from(SystemTime::now()),
        );
        let lock = Self { file: Held(file), stamp, text, token };
        lock.release_reserve();
        let _ = rustix::fs::fallocate(&lock.file.0, FallocateFlags::empty(), 0, RESERVE);
        lock
    }

    /// Gives the bytes back that the file holds ready for the last manifest.
    pub(crate) fn release_reserve(&self) {
        let Held(file) = &self.file;
        let _ = file.set_len(0).and_then(|()| file.write_all_at(self.text.as_bytes(), 0));
    }
}

/// A file whose lock is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Held(pub(crate) File);

impl Drop for Held {
    fn drop(&mut self) {
        // A child that is just being started may still have the file open.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of a file, or says that other processes have it.
pub(crate) fn try_lock(file: &File, is_alone: bool) -> io::Result<bool> {
    let taken = if is_alone { file.try_lock() } else { file.try_lock_shared() };
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Tries something until it comes to something, with a pause between tries; none if it has not in this time.
pub(crate) fn try_for<T>(
    patience: Duration,
    pause: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>, RecordError>,
) -> Result<Option<T>, RecordError> {
    let give_up = Instant::now() + patience;
    loop {
        let came = attempt()?;
        if came.is_some() || Instant::now() >= give_up {
            return Ok(came);
        }
        thread::sleep(pause);
    }
}

/// Fails if the lock was removed or replaced: then it keeps no other process out.
pub(crate) fn check(dir: &Dir, lock: &Stamp) -> Result<(), RecordError> {
    match dir.stat(LOCK)? {
        Some(found) if found.is_place_of(lock) => Ok(()),
        // What cannot be written any more is a matter of the disk.
        _ => Err(dir.error(
            "write into the run of",
            LOCK,
            io::Error::other(
                "another program has removed or replaced the lock, so nothing more is written; `runner resume` continues the run",
            ),
        )),
    }
}

/// Tells whether a process holds the lock of a run. A lock that cannot be asked is held, because no process may be taken for
/// dead without proof; a missing one is free, and so is what is no file, which no process can have taken.
pub(crate) fn is_held(dir: &Dir) -> bool {
    match dir.read(LOCK) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) if error.is_missing() => false,
        Err(_) => !matches!(dir.stat(LOCK), Ok(Some(found)) if !found.is_file),
    }
}

/// This machine's name.
pub(crate) fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// The user's name, for people.
pub(crate) fn user() -> String {
    let named = ["LOGNAME", "USER"].map(std::env::var);
    let mut named = named.into_iter().flatten().filter(|name| !name.is_empty());
    named.next().unwrap_or_else(|| {
        let number = rustix::process::geteuid().as_raw();
        format!("uid {number}")
    })
}

/// The process that holds a run's lock; none if no process does.
pub(crate) fn holder(dir: &Dir) -> Option<Holder> {
    is_held(dir).then(|| read_holder(dir))
}

fn read_holder(dir: &Dir) -> Holder {
    let text = dir.read_all(LOCK, RESERVE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    };
    Holder {
        pid: value("pid").and_then(|pid| pid.parse().ok()).unwrap_or(0),
        host: value("host").unwrap_or_default(),
        token: value("token").unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "tests/lock.rs"]
mod tests;
