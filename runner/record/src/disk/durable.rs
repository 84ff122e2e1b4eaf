//! Syncs files and folders in parallel, to wait for the disk only once.

use std::path::{Path, PathBuf};
use std::{fs::File, panic::resume_unwind, thread};

use crate::RecordError;
use crate::disk::{beneath::Dir, fault};

/// A part of the disk that may not be synced.
#[derive(Debug)]
pub(crate) enum Unsynced {
    /// Content of a file, with its path.
    Content(File, PathBuf),
    /// Names in a folder.
    Names(Dir),
}

impl Unsynced {
    fn path(&self) -> &Path {
        match self {
            Self::Content(_, path) => path,
            Self::Names(dir) => dir.path(),
        }
    }

    fn sync(&self) -> Result<(), RecordError> {
        match self {
            Self::Content(file, path) => {
                fault::sync_data(path, file).map_err(|source| RecordError::io("sync", path, source))
            }
            Self::Names(dir) => dir.sync(),
        }
    }
}

/// Threads that sync at the same time.
const MAX_SYNCS: usize = 64;

/// Syncs all parts. The disk takes as long for many at once as for one.
pub(crate) fn sync_together(mut parts: Vec<Unsynced>) -> Result<(), RecordError> {
    parts.sort_by(|one, other| one.path().cmp(other.path()));
    parts.dedup_by(|one, other| one.path() == other.path());
    parts.chunks(MAX_SYNCS).try_for_each(|parts| {
        thread::scope(|scope| {
            let first = &parts[0];
            let others = &parts[1..];
            let threads = others
                .iter()
                .map(|part| thread::Builder::new().spawn_scoped(scope, || part.sync()));
            let threads: Vec<_> = threads.collect();
            let mut result = first.sync();
            for (part, thread) in others.iter().zip(threads) {
                // Without a thread, for example at the limit of processes, this one does its work.
                let synced = thread.map_or_else(
                    |_| part.sync(),
                    |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                );
                result = result.and(synced);
            }
            result
        })
    })
}
