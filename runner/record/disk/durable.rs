//! Writing files so that they survive a loss of power.

use std::{
    fs::{self, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::Path,
    thread,
};

use fs_err::{File, OpenOptions};
use tempfile::NamedTempFile;

use super::{modes, regular};
use crate::record::failpoint;

/// How the names of temporary files begin.
pub(in crate::record) const TEMPORARY: &str = ".new-";

/// Replaces `path` with `bytes` so that a reader finds the old or the new content, whole; `step` says on what occasion.
pub(in crate::record) fn replace(path: &Path, bytes: &[u8], step: &str) -> io::Result<()> {
    let written = Replacement::write(path, bytes, step)?;
    written.content().sync()?;
    written.rename()?;
    sync_directory(parent(path)?)?;
    failpoint::pass(step, "synced")
}

/// The same; `meanwhile` is called as soon as readers find the new content, while the disk makes sure of its name.
pub(in crate::record) fn replace_and(
    path: &Path,
    bytes: &[u8],
    step: &str,
    meanwhile: impl FnOnce(),
) -> io::Result<()> {
    let written = Replacement::write(path, bytes, step)?;
    written.content().sync()?;
    written.rename()?;
    while_synced(&[Unsynced::Names(parent(path)?)], meanwhile).1?;
    failpoint::pass(step, "synced")
}

/// New content that has been written and does not replace the old one yet.
pub(in crate::record) struct Replacement<'a> {
    file: NamedTempFile,
    path: &'a Path,
    step: &'a str,
}

impl<'a> Replacement<'a> {
    /// Writes what is to be at `path`; `step` says on what occasion.
    pub(in crate::record) fn write(
        path: &'a Path,
        bytes: &[u8],
        step: &'a str,
    ) -> io::Result<Self> {
        failpoint::pass(step, "begin")?;
        let mut file = temporary(parent(path)?)?;
        file.write_all(bytes)?;
        failpoint::pass(step, "written")?;
        Ok(Self { file, path, step })
    }

    /// What must be durable before it replaces anything.
    pub(in crate::record) fn content(&self) -> Unsynced<'_> {
        Unsynced::Content(self.file.as_file(), self.file.path())
    }

    /// Replaces the old content for readers of today; the directory is the caller's to sync.
    pub(in crate::record) fn rename(self) -> io::Result<()> {
        self.file.persist(self.path)?;
        failpoint::pass(self.step, "renamed")
    }
}

/// What a loss of power may take.
#[derive(Clone, Copy)]
pub(in crate::record) enum Unsynced<'a> {
    /// What has been written into a file, which has this path.
    Content(&'a fs::File, &'a Path),
    /// The names in a directory.
    Names(&'a Path),
}

impl Unsynced<'_> {
    fn sync(self) -> io::Result<()> {
        match self {
            Self::Content(file, path) => {
                file.sync_all()?;
                failpoint::file_synced(path)
            }
            Self::Names(directory) => sync_directory(directory),
        }
    }
}

/// Makes all of it durable, at once: a disk takes hardly longer for several than for one of them.
pub(in crate::record) fn sync_together(parts: &[Unsynced<'_>]) -> io::Result<()> {
    let Some((last, others)) = parts.split_last() else {
        return Ok(());
    };
    let (synced, others_synced) = while_synced(others, || last.sync());
    synced.and(others_synced)
}

/// Makes all of it durable, each part from a thread of its own, while something else is done.
fn while_synced<T>(parts: &[Unsynced<'_>], meanwhile: impl FnOnce() -> T) -> (T, io::Result<()>) {
    thread::scope(|scope| {
        let syncing: Vec<_> = parts
            .iter()
            .map(|part| thread::Builder::new().spawn_scoped(scope, || part.sync()))
            .collect();
        let done = meanwhile();
        let synced = syncing
            .into_iter()
            .zip(parts)
            .map(|(thread, part)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // Where no more threads are to be had, they follow each other.
                Err(_) => part.sync(),
            });
        // All of them, whatever becomes of the first.
        let synced: Vec<_> = synced.collect();
        (done, synced.into_iter().collect())
    })
}

/// Replaces `path` for readers of today: a loss of power may bring the old content back.
pub(in crate::record) fn replace_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(parent(path)?)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Removes a file that may be missing.
pub(in crate::record) fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file; it and its directory are the caller's to sync.
pub(in crate::record) fn write(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = open_new(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Writes a file with the content that `write` writes, and syncs it; its directory is the caller's to sync.
pub(in crate::record) fn create_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = open_new(path)?;
    write(&mut file)?;
    sync(&file)
}

fn open_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    regular::open_to_write(modes::set(&mut options, path), path)
}

/// Makes the content of a file durable, and its length.
pub(in crate::record) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    failpoint::file_synced(file.path())
}

/// Makes the entries of a directory durable.
pub(in crate::record) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    failpoint::directory_synced(path)
}

/// Makes durable that a file has its name.
pub(in crate::record) fn sync_parent(path: &Path) -> io::Result<()> {
    sync_directory(parent(path)?)
}

/// Opens a file without a lasting name, with the mode of a file in its directory.
///
/// It is locked for as long as its writer lives; so what a dead process has left is told from what is in use.
pub(in crate::record) fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(modes::file_mode(directory)))
            .tempfile_in(directory)?;
        let locked = file.as_file().try_lock();
        // Before it was locked, a sweep may have taken it for left over. Where there are no locks, none is swept.
        if !matches!(locked, Err(TryLockError::WouldBlock)) && file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files in a directory whose writers have died. What cannot be removed is left for the next time.
pub(in crate::record) fn sweep(directory: &Path) {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_temporary = name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_temporary
            && is_file
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
            && let Err(error) = remove(&entry.path())
        {
            tracing::debug!("cannot remove what a dead process has left: {error}");
        }
    }
}

/// Syncs a temporary file and gives it its name; the directory is the caller's to sync.
pub(in crate::record) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    failpoint::file_synced(file.path())?;
    file.persist(path)?;
    Ok(())
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a directory"))
}
