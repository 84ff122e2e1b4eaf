//! Writing files so that they survive a loss of power.

use std::{
    fs::{Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use fs_err::{File, OpenOptions};
use tempfile::NamedTempFile;

use super::modes;
use crate::record::failpoint;

/// How the names of temporary files begin.
pub(in crate::record) const TEMPORARY: &str = ".new-";

/// Replaces `path` with `bytes` so that a reader finds the old or the new content, whole; `step` says on what occasion.
pub(in crate::record) fn replace(path: &Path, bytes: &[u8], step: &str) -> io::Result<()> {
    let directory = parent(path)?;
    failpoint::pass(step, "begin")?;
    let mut file = temporary(directory)?;
    file.write_all(bytes)?;
    failpoint::pass(step, "written")?;
    persist(file, path)?;
    failpoint::pass(step, "renamed")?;
    sync_directory(directory)?;
    failpoint::pass(step, "synced")
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

/// Writes a file and syncs it; its directory is the caller's to sync.
pub(in crate::record) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_with(path, |file| file.write_all(bytes))
}

/// The same, with the content that `write` writes.
pub(in crate::record) fn create_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = modes::set(&mut options, path).open(path)?;
    write(&mut file)?;
    sync(&file)
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
