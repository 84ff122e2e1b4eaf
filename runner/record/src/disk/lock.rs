//! [`Lock`]: the file that shows which process owns a run. A run is alive only if its lock is held. Pids, ages and
//! clocks are not used.

use std::fs::{File, TryLockError};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use std::{io, io::Read as _, os::unix::fs::FileExt as _, thread};

use runner_model::Time;
use rustix::time::{ClockId, clock_gettime};
use rustix::{fs::FallocateFlags, io::Errno};

use crate::disk::beneath::{Dir, Stamp, random};
use crate::disk::fault::{self, Place};
use crate::{Holder, RecordError, disk::owner::user_name};

pub(crate) const LOCK: &str = "lock";
/// Readers that probe hold the lock for an instant, and a killed process until its memory is freed, so an owner retries.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// Pause between two attempts to lock a file that processes have only for a moment.
const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// Bytes that the lock file takes while it is held, in addition to those of a manifest. They are released before a session's
/// last manifest, so a full disk has room for it.
const RESERVE: u64 = 64 << 10;

/// A lock that is held until this is dropped. The file stays.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Held,
    /// Identity of the lock file.
    pub(crate) stamp: Stamp,
    text: String,
    /// Random text that names this holder in requests.
    pub(crate) token: String,
}

impl Lock {
    /// Takes the lock of a run, and creates its file if it is missing.
    pub(crate) fn take(dir: &Dir, run: &str) -> Result<Self, RecordError> {
        let lock = retry_for(PATIENCE, PAUSE, || {
            let failed = dir.failure("take", LOCK);
            fault::pass(Place::Lock).map_err(failed)?;
            let file = dir.write(LOCK)?;
            if !try_lock(&file, true).map_err(failed)? {
                return Ok(None);
            }
            let stamp = Stamp::of(&file).map_err(failed)?;
            // The previous holder may have removed the file with the run.
            let found = dir.stat(LOCK)?;
            let is_there = found.is_some_and(|found| found.is_same_file(&stamp));
            Ok(is_there.then(|| Self::hold(file, stamp)))
        });
        lock?.ok_or_else(|| RecordError::held(run, dir.path(), read_holder(dir)))
    }

    /// Writes the holder into the file. A full disk is not an error, because dead runs must be swept on it, too.
    fn hold(file: File, stamp: Stamp) -> Self {
        let token = format!("{}{:016x}", process_token(), random());
        let text = format!(
            "pid {}\nhost {}\nsince {}\ntoken {token}\n",
            std::process::id(),
            host(),
            Time::from(SystemTime::now()),
        );
        let lock = Self { file: Held(file), stamp, text, token };
        lock.release_reserve();
        let _ = lock.reserve(0);
        lock
    }

    /// Reserves the bytes for a manifest that is `bytes` long now.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let Held(file) = &self.file;
        // A stop signal interrupts it on a tmpfs.
        match rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(file, FallocateFlags::empty(), 0, RESERVE + bytes)
        }) {
            // Not all file systems can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            reserved => Ok(reserved?),
        }
    }

    /// Releases the bytes that are reserved for the last manifest.
    pub(crate) fn release_reserve(&self) {
        let Held(file) = &self.file;
        let _ = file.set_len(0).and_then(|()| file.write_all_at(self.text.as_bytes(), 0));
    }
}

/// A file that is unlocked when this is dropped.
#[derive(Debug)]
pub(crate) struct Held(pub(crate) File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file would not unlock it while a child that is just starting has it, too.
        let _ = self.0.unlock();
    }
}

/// Locks a file. Returns `false` if another process has the lock.
pub(crate) fn try_lock(file: &File, is_alone: bool) -> io::Result<bool> {
    let taken = if is_alone { file.try_lock() } else { file.try_lock_shared() };
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Locks a file. Returns `false` if another process still has the lock after `patience`.
pub(crate) fn lock_within(
    file: &File,
    is_alone: bool,
    patience: Duration,
    failed: impl Fn(io::Error) -> RecordError,
) -> Result<bool, RecordError> {
    Ok(retry_for(patience, LOCK_PAUSE, || {
        Ok(try_lock(file, is_alone).map_err(&failed)?.then_some(()))
    })?
    .is_some())
}

/// Repeats `attempt` until it returns a value. `None` if it has not after `patience`.
pub(crate) fn retry_for<T>(
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

/// Fails if the lock file was removed or replaced, because other processes can then lock the new one.
pub(crate) fn check(dir: &Dir, lock: &Stamp) -> Result<(), RecordError> {
    match dir.stat(LOCK)? {
        Some(found) if found.is_same_file(lock) => Ok(()),
        // The caller treats this as a fault of the disk: the owner must write nothing further.
        _ => Err(dir.error(
            "write into the run of",
            LOCK,
            io::Error::other(
                "another program has removed or replaced the lock, or removed the run, so nothing more is written; `resume` continues a run that is still there",
            ),
        )),
    }
}

/// Returns whether a process holds the lock of a run. A lock that cannot be probed counts as held, because no process
/// may be declared dead without proof. A missing lock is free, and so is an entry that is not a file.
pub(crate) fn is_held(dir: &Dir) -> bool {
    match dir.read(LOCK) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) if error.is_missing() => false,
        Err(_) => !matches!(dir.stat(LOCK), Ok(Some(found)) if !found.is_file),
    }
}

/// Returns the name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the name of the user, for people.
pub(crate) fn user() -> String {
    let named = ["LOGNAME", "USER"].map(std::env::var);
    named.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_else(|| {
        let number = rustix::process::geteuid().as_raw();
        user_name(number).unwrap_or_else(|| format!("uid {number}"))
    })
}

/// Returns the start of the tokens of this process.
fn process_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| format!("{:016x}", random()))
}

/// Returns the process that holds the lock of a run.
pub(crate) fn holder(dir: &Dir) -> Option<Holder> {
    is_held(dir).then(|| read_holder(dir))
}

impl Holder {
    /// Returns whether this process holds the lock. The number of a process is not unique among containers.
    pub(crate) fn is_this_process(&self) -> bool {
        self.token.starts_with(process_token())
    }

    /// Returns whether the process is suspended, as by Ctrl-Z: it answers only when it continues.
    pub fn is_suspended(&self) -> bool {
        let fields = (self.pid != 0 && self.host == host()).then(|| stat(self.pid)).flatten();
        fields.is_some_and(|fields| fields.starts_with('T'))
    }
}

fn read_holder(dir: &Dir) -> Holder {
    let mut text = Vec::new();
    if let Ok(file) = dir.read(LOCK) {
        let _ = file.take(RESERVE).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    };
    let mut holder = Holder {
        pid: value("pid").and_then(|pid| pid.parse().ok()).unwrap_or(0),
        host: value("host").unwrap_or_default(),
        since: value("since").and_then(|since| Time::parse(&since)),
        token: value("token").unwrap_or_default(),
    };
    // Another program may have locked the file of a dead process, whose number may have a new process by now.
    if holder.host == host()
        && started(holder.pid).is_none_or(|started| Some(started) > holder.since)
    {
        (holder.pid, holder.since) = (0, None);
    }
    holder
}

/// Returns the start of a process on this machine, rounded down to a second. `None` if it has ended or is not visible.
fn started(pid: u32) -> Option<Time> {
    // In hundredths of a second after the boot.
    let start: u64 = stat(pid)?.split(' ').nth(19)?.parse().ok()?;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let age = since_boot.saturating_sub(Duration::from_millis(start * 10)) + Duration::from_secs(1);
    SystemTime::now().checked_sub(age).map(Time::from)
}

/// Returns the fields about a process from its state on.
fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses.
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

#[cfg(test)]
#[path = "tests/lock.rs"]
mod tests;
