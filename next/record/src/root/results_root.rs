//! [`ResultsRoot`]: the folder of all runs and of the contents that they share.

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc::Receiver},
    time::Duration,
};

use runner_model::Digest;

use crate::{
    RecordError,
    disk::{
        beneath::Dir,
        content_store::ContentStore,
        durable::{Unsynced, sync_together},
        layout::STORE,
    },
};

/// How long the end of a root waits until what it has noted is in the list.
const PATIENCE: Duration = Duration::from_millis(50);

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct ResultsRoot(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Absent where the root is missing.
    dir: Option<Dir>,
    /// What was kept in the store and may not be on disk.
    unsynced: Mutex<Vec<Unsynced>>,
    /// Hangs up when the last manifest that was noted is in the list.
    noted: Mutex<Option<Receiver<()>>>,
    /// Holds its lock as long as it is open.
    lock: OnceLock<File>,
}

impl ResultsRoot {
    /// Opens the results root for a command that will write; makes it (mode 0700) where it is missing.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Ok(Self::new(path, Some(Dir::open_or_make(path)?)))
    }

    /// Opens a results root for a command that reads; makes nothing. A missing root is an empty one.
    pub fn existing(path: &Path) -> Result<Self, RecordError> {
        match Dir::open(path) {
            Ok(dir) => Ok(Self::new(path, Some(dir))),
            Err(error) if error.is_missing() => Ok(Self::new(path, None)),
            Err(error) => Err(error),
        }
    }

    fn new(path: &Path, dir: Option<Dir>) -> Self {
        Self(Arc::new(Root {
            path: path.to_owned(),
            dir,
            unsynced: Mutex::default(),
            noted: Mutex::default(),
            lock: OnceLock::new(),
        }))
    }

    /// Its path, as given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file of its lock, once it is held.
    pub(crate) fn lock(&self) -> &OnceLock<File> {
        &self.0.lock
    }

    /// Its folder; absent where the root is missing.
    pub(crate) fn dir(&self) -> Option<&Dir> {
        self.0.dir.as_ref()
    }

    /// Its folder, for a command that writes.
    pub(crate) fn own_dir(&self) -> Result<&Dir, RecordError> {
        let missing = || RecordError::io("open the folder", &self.0.path, ErrorKind::NotFound);
        self.dir().ok_or_else(missing)
    }

    /// Makes an empty file in the store's folder that [`Self::keep`] can name, and that is gone if the process dies.
    pub fn draft(&self) -> Result<File, RecordError> {
        self.store()?.0.unnamed()
    }

    /// Keeps a draft under its digest. An entry that is there already is read whole and used if it is undamaged. The entry
    /// is on disk once a run is created or a session opened: they sync everything side by side.
    pub fn keep(&self, draft: File, digest: &Digest) -> Result<(), RecordError> {
        let store = self.store()?;
        let _lock = store.lock(false)?;
        let kept = store.keep(draft, digest)?;
        let unsynced = self.0.unsynced.lock();
        unsynced.unwrap_or_else(PoisonError::into_inner).extend(kept);
        Ok(())
    }

    /// Keeps bytes under their digest, as [`Self::keep`] does.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        let digest = runner_model::digest(bytes);
        self.keep(self.store()?.0.unnamed_with(bytes)?, &digest)?;
        Ok(digest)
    }

    /// Opens a content of the store, after its bytes were compared with the digest.
    pub fn content(&self, digest: &Digest) -> Result<File, RecordError> {
        ContentStore(self.own_dir()?.dir(STORE)?).open(digest)
    }

    fn store(&self) -> Result<ContentStore, RecordError> {
        Ok(ContentStore(self.own_dir()?.dir_or_make(STORE)?))
    }

    /// Sets what the end of the root waits for: a receiver that hangs up.
    pub(crate) fn wait_at_end(&self, done: Receiver<()>) {
        *self.0.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    }

    /// Syncs what was kept in the store, and other things at once.
    pub(crate) fn sync_with(&self, others: Vec<Unsynced>) -> Result<(), RecordError> {
        let unsynced = self.0.unsynced.lock();
        let mut parts = std::mem::take(&mut *unsynced.unwrap_or_else(PoisonError::into_inner));
        parts.extend(others);
        sync_together(parts)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let noted = self.noted.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = noted {
            let _ = noted.recv_timeout(PATIENCE);
        }
    }
}
