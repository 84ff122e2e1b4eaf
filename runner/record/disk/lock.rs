//! Locks: who is alive, and who must wait.

use std::{
    fmt,
    fs::{Metadata, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fs_err::{File, OpenOptions};
use jiff::Timestamp;

use super::{layout::RunDir, modes, regular, stamp};
use crate::{model::MachineShare, record::error::RecordError};

/// Probing readers hold a run's lock for an instant, so whoever needs it tries for this long.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(in crate::record) struct Lock {
    file: File,
    token: Option<String>,
}

/// Where an open file is, for as long as nobody removes or replaces it there.
///
/// A lock that was removed keeps nobody out: whoever comes next makes another one.
#[derive(Clone, Debug)]
pub(in crate::record) struct FilePlace {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FilePlace {
    /// Where an open file was opened.
    pub(in crate::record) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::new(file.path(), &file.metadata()?))
    }

    /// Where a file is that somebody else opens.
    pub(in crate::record) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path, &std::fs::metadata(path)?))
    }

    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Fails if another file is there, or none.
    pub(in crate::record) fn check(&self) -> Result<(), RecordError> {
        let found = std::fs::metadata(&self.path);
        match found {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            _ => Err(RecordError::Lost {
                path: self.path.clone(),
            }),
        }
    }
}

/// Who holds a lock, as far as that is written in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: Option<u32>,
    /// Its host.
    pub host: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What tells this holding from every other.
    pub token: Option<String>,
    /// How much of the machine it works with.
    pub share: Option<MachineShare>,
}

impl Lock {
    /// Takes a lock alone, and only then writes into it who has it. One that is missing is made.
    pub(in crate::record) fn own(path: &Path, now: Timestamp) -> Result<Self, RecordError> {
        Self::own_with(path, now, open)
    }

    /// The same for the lock of a run that exists. Where there is no run any more no lock is made: it would be left over.
    pub(in crate::record) fn own_run(dir: &RunDir, now: Timestamp) -> Result<Self, RecordError> {
        Self::own_with(&dir.lock(), now, |path| match open_existing(path) {
            Err(RecordError::Gone { .. }) if !stamp::is_gone(dir) => open(path),
            opened => opened,
        })
    }

    fn own_with(
        path: &Path,
        now: Timestamp,
        open: impl Fn(&Path) -> Result<File, RecordError>,
    ) -> Result<Self, RecordError> {
        loop {
            let mut file = open(path)?;
            hold(&mut file, path, File::try_lock)?;
            // Whoever had it before may have removed it with all that it was for.
            let spot = FilePlace::of(&file).map_err(RecordError::io("look at a lock"))?;
            if spot.check().is_ok() {
                return Ok(Self::owned(file, now));
            }
        }
    }

    /// Where the lock is.
    pub(in crate::record) fn spot(&self) -> io::Result<FilePlace> {
        FilePlace::of(&self.file)
    }

    /// Takes a lock beside others who share it.
    pub(in crate::record) fn share(path: &Path) -> Result<Self, RecordError> {
        let mut file = open(path)?;
        hold(&mut file, path, File::try_lock_shared)?;
        Ok(Self { file, token: None })
    }

    /// Opens a lock that is to be taken alone by [`Lock::try_alone`]; until then it keeps nobody out.
    pub(in crate::record) fn intended(path: &Path) -> Result<Self, RecordError> {
        let file = open(path)?;
        Ok(Self { file, token: None })
    }

    /// Takes a lock that was opened for it, unless somebody else has it.
    pub(in crate::record) fn try_alone(&self, now: Timestamp) -> Result<bool, RecordError> {
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(source)) => return Err(RecordError::io("take a lock")(source)),
        }
        if let Err(error) = write_owner(&self.file, now, "") {
            tracing::warn!("cannot write down who holds a lock: {error}");
        }
        Ok(true)
    }

    /// What tells this holding from every other; absent if it could not be written down.
    pub(in crate::record) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Says how much of the machine its owner works with, for as long as the lock is held.
    pub(in crate::record) fn tell_share(&self, share: MachineShare) -> io::Result<()> {
        let MachineShare { cores, memory } = share;
        let end = self.file.metadata()?.len();
        let line = format!("share {cores} {memory}\n");
        self.file.file().write_all_at(line.as_bytes(), end)
    }

    /// Takes a lock that others share, alone.
    pub(in crate::record) fn exclude(
        path: &Path,
        busy: Busy,
        now: Timestamp,
    ) -> Result<Self, RecordError> {
        let mut file = open(path)?;
        match busy {
            Busy::Wait => file.lock().map_err(RecordError::io("take a lock"))?,
            // Those who share it write nothing into it, so its text is about nobody.
            Busy::Refuse => hold(&mut file, path, File::try_lock).map_err(RecordError::unnamed)?,
        }
        Ok(Self::owned(file, now))
    }

    fn owned(file: File, now: Timestamp) -> Self {
        let token = uuid::Uuid::new_v4().simple().to_string();
        // A courtesy too: on a full disk a run must be swept all the same.
        let written = write_owner(&file, now, &token)
            .inspect_err(|error| tracing::warn!("cannot write down who holds a lock: {error}"));
        Self {
            file,
            token: written.ok().map(|()| token),
        }
    }
}

/// What to do where a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Wait for as long as it takes.
    Wait,
    /// Give up.
    Refuse,
}

/// Tells whether somebody owns the lock, without keeping it for longer than the question takes.
///
/// A lock that cannot be asked counts as held: nobody may be taken for dead without proof. A missing one is free.
pub(in crate::record) fn is_held(path: &Path) -> bool {
    match regular::open(path) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        // Nobody has taken what is no file: it was put there.
        Err(_) => fs_err::symlink_metadata(path).map_or(true, |found| found.is_file()),
    }
}

/// Refuses a lock that somebody owns, and takes none. Readers who probe it are waited for.
pub(in crate::record) fn refuse_held(path: &Path) -> Result<(), RecordError> {
    match regular::open(path) {
        Ok(mut file) => hold(&mut file, path, File::try_lock_shared),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RecordError::io("open a lock")(error)),
    }
}

/// Tells who owns a lock, without waiting; `None` if nobody does.
///
/// A holder that has just taken it has perhaps not written down who it is, and what is read may be about the one before.
pub(in crate::record) fn holder(path: &Path) -> Option<Holder> {
    is_held(path).then(|| {
        let text = regular::read(path).unwrap_or_default();
        Holder::parse(&String::from_utf8_lossy(&text))
    })
}

impl Holder {
    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        Self {
            pid: value("pid").and_then(|pid| pid.parse().ok()),
            host: value("host"),
            since: value("since").and_then(|since| since.parse().ok()),
            token: value("token"),
            share: value("share").and_then(|share| {
                let (cores, memory) = share.split_once(' ')?;
                Some(MachineShare {
                    cores: cores.parse().ok()?,
                    memory: memory.parse().ok()?,
                })
            }),
        }
    }
}

/// `pid 7, host h, since 2026-11-20T04:39:12.123Z`, as far as it is known.
impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [
            self.pid.map(|pid| format!("pid {pid}")),
            self.host.as_ref().map(|host| format!("host {host}")),
            self.since.map(|since| format!("since {since:.3}")),
        ];
        let known: Vec<_> = known.into_iter().flatten().collect();
        formatter.write_str(&known.join(", "))
    }
}

/// Opens without truncating: the text belongs to whoever holds the lock.
fn open(path: &Path) -> Result<File, RecordError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    regular::open_to_write(modes::set(&mut options, path), path)
        .map_err(|error| not_opened(path, error))
}

fn open_existing(path: &Path) -> Result<File, RecordError> {
    regular::open_to_write(OpenOptions::new().read(true).write(true), path)
        .map_err(|error| not_opened(path, error))
}

fn not_opened(path: &Path, error: io::Error) -> RecordError {
    match error.kind() {
        io::ErrorKind::NotFound => RecordError::Gone {
            run: path.parent().unwrap_or(path).to_owned(),
        },
        _ => RecordError::io("open a lock")(error),
    }
}

fn hold(
    file: &mut File,
    path: &Path,
    attempt: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<(), RecordError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match attempt(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(source)) => {
                return Err(RecordError::io("take a lock")(source));
            }
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(held(file, path)),
        }
    }
}

fn held(file: &mut File, path: &Path) -> RecordError {
    let mut text = String::new();
    // The text is a courtesy: the message is true without it.
    if file.read_to_string(&mut text).is_err() {
        text.clear();
    }
    RecordError::Held {
        path: PathBuf::from(path),
        text,
    }
}

fn write_owner(file: &File, now: Timestamp, token: &str) -> io::Result<()> {
    let system = rustix::system::uname();
    let text = format!(
        "pid {}\nhost {}\nsince {now:.3}\ntoken {token}\n",
        std::process::id(),
        system.nodename().to_string_lossy()
    );
    file.set_len(0)?;
    file.file().write_all_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use jiff::Timestamp;

    use super::{Lock, PATIENCE, PAUSE, holder, is_held};
    use crate::record::RecordError;

    #[test]
    fn an_owned_lock_is_held_and_names_its_owner_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!is_held(&path));

        let lock = Lock::own(&path, Timestamp::UNIX_EPOCH).unwrap();
        assert!(is_held(&path));
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("pid {}\nhost ", std::process::id())));
        let token = format!("token {}\n", lock.token().unwrap());
        assert!(text.ends_with(&format!("since 1970-01-01T00:00:00.000Z\n{token}")));
        let known = holder(&path).unwrap();
        assert_eq!(known.pid, Some(std::process::id()));
        assert_eq!(known.token.as_deref(), lock.token());
        assert!(
            known
                .to_string()
                .ends_with("since 1970-01-01T00:00:00.000Z")
        );
        let error = Lock::own(&path, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(matches!(error, RecordError::Held { .. }), "{error}");
        assert!(error.to_string().contains("pid "), "{error}");

        drop(lock);
        // A process that another test is just about to start holds all files of this one for an instant.
        let give_up = Instant::now() + PATIENCE;
        while is_held(&path) && Instant::now() < give_up {
            thread::sleep(PAUSE);
        }
        assert!(!is_held(&path));
        Lock::own(&path, Timestamp::UNIX_EPOCH).unwrap();
    }
}
