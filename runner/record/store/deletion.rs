//! The only place that removes directories: those of runs that go, and what an interrupted creation left.

use std::{io, path::Path};

use crate::record::disk::{durable, layout::RunDir, lock::Lock};

/// Removes what is left of a creation that failed.
pub(in crate::record) fn remove_failed_creation(dir: &RunDir) -> io::Result<()> {
    fs_err::remove_dir_all(dir.path())
}

/// Removes the write-ahead log of a database whose file is to be replaced.
pub(in crate::record) fn remove_database_logs(database: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut log = database.as_os_str().to_owned();
        log.push(suffix);
        durable::remove(Path::new(&log))?;
    }
    Ok(())
}

/// Removes a directory that holds no run.
///
/// Its lock goes only then, so that nobody takes another one meanwhile, and last what tells that all of it is to go.
pub(in crate::record) fn remove_directory(dir: &RunDir, lock: Lock) -> io::Result<()> {
    remove_content(dir)?;
    durable::remove(&dir.lock())?;
    durable::remove(&dir.deleted())?;
    let removed = fs_err::remove_dir(dir.path());
    drop(lock);
    match removed {
        // Somebody begins a run in it.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what is in a directory that holds no run, but for its lock and what tells that it was deleted.
fn remove_content(dir: &RunDir) -> io::Result<()> {
    let kept = [dir.lock(), dir.deleted()];
    for entry in fs_err::read_dir(dir.path())? {
        let path = entry?.path();
        if kept.contains(&path) {
            continue;
        }
        if fs_err::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            fs_err::remove_dir_all(&path)?;
        } else {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Ends what somebody has begun who died while they deleted a run. The caller holds the lock, which stays.
pub(in crate::record) fn finish_deletion(dir: &RunDir) -> io::Result<()> {
    remove_content(dir)?;
    durable::remove(&dir.deleted())
}
