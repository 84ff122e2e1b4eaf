//! [`ResultsRoot`]: the folder of all runs and of the contents that they share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fs::File, io::ErrorKind};

use runner_model::Digest;

use super::database::{ListThread, Listed};
use crate::disk::content_store::{ContentStore, OF_STORE};
use crate::disk::durable::{Unsynced, sync_together};
use crate::disk::layout::{MANIFEST, ROWS, STORE};
use crate::{RecordError, disk::beneath::Dir, disk::permissions::of_own_folder};

/// Contents in the store, with their folders, that may be unsynced.
const MAX_UNSYNCED: usize = 3 * 64;

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct ResultsRoot(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Empty while the root is missing.
    dir: OnceLock<Dir>,
    /// Contents in the store that may not be synced.
    unsynced: Mutex<Vec<Unsynced>>,
    replaced: Mutex<Vec<Digest>>,
    /// Started with the first manifest that this process writes.
    list: Mutex<Option<ListThread>>,
    /// The root's lock, held while the file is open.
    lock: OnceLock<File>,
}

impl ResultsRoot {
    /// Opens the results root for writing, and creates it if it is missing. Refuses the folder of a run, with which `prune` would
    /// delete the runs in it.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let dir = Dir::open_or_create(path, of_own_folder())?;
        if dir.stat(MANIFEST)?.is_some() && dir.stat(ROWS)?.is_some() {
            return Err(
                dir.refuse("", "the folder of a run cannot have runs in it; choose another")
            );
        }
        Ok(Self::new(path, Some(dir)))
    }

    /// Opens the results root for reading. A missing one has no runs.
    pub fn existing(path: &Path) -> Result<Self, RecordError> {
        match Dir::open(path) {
            Ok(dir) => Ok(Self::new(path, Some(dir))),
            Err(error) if error.is_missing() => Ok(Self::new(path, None)),
            Err(error) => Err(error),
        }
    }

    /// Returns the results root in an open folder.
    pub(crate) fn of(dir: &Dir) -> Self {
        Self::new(dir.path(), Some(dir.clone()))
    }

    fn new(path: &Path, dir: Option<Dir>) -> Self {
        Self(Arc::new(Root {
            path: path.to_owned(),
            dir: dir.map(OnceLock::from).unwrap_or_default(),
            unsynced: Mutex::default(),
            replaced: Mutex::default(),
            list: Mutex::default(),
            lock: OnceLock::new(),
        }))
    }

    /// Returns the path as given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns whether the path leads to another folder than the one that was opened.
    pub fn is_another_folder(&self) -> bool {
        Dir::open(self.path())
            .is_ok_and(|found| self.dir().is_none_or(|own| !own.stamp.is_same_file(&found.stamp)))
    }

    /// Returns the file of the root's lock, once it is held.
    pub(crate) fn lock(&self) -> &OnceLock<File> {
        &self.0.lock
    }

    /// Returns the folder. A server that creates nothing may have started before it.
    pub(crate) fn dir(&self) -> Option<&Dir> {
        let Root { dir, path, .. } = &*self.0;
        if dir.get().is_none()
            && let Ok(found) = Dir::open(path)
        {
            let _ = dir.set(found);
        }
        dir.get()
    }

    /// Returns the folder. Fails if the root is missing.
    pub(crate) fn own_dir(&self) -> Result<&Dir, RecordError> {
        self.dir()
            .ok_or_else(|| RecordError::io("open the folder", &self.0.path, ErrorKind::NotFound))
    }

    /// Creates an unnamed file for [`Self::keep`], which vanishes if the process dies.
    pub fn draft(&self) -> Result<File, RecordError> {
        self.store()?.0.unnamed()
    }

    /// Keeps a draft under its digest, or uses an undamaged entry that exists. Creating a run or opening a session
    /// syncs the entry.
    pub fn keep(&self, draft: File, digest: &Digest) -> Result<(), RecordError> {
        let store = self.store()?;
        let _lock = store.lock(false)?;
        let (kept, is_replaced) = store.keep(draft, digest)?;
        if is_replaced {
            self.replaced().push(*digest);
        }
        self.add_unsynced(kept)
    }

    /// Keeps an undamaged entry that exists. Returns `false` without one.
    pub fn keep_existing(&self, digest: &Digest) -> Result<bool, RecordError> {
        let store = self.store()?;
        let _lock = store.lock(false)?;
        let kept = store.keep_existing(digest)?;
        kept.map_or(Ok(false), |kept| self.add_unsynced(kept).map(|()| true))
    }

    fn add_unsynced(&self, kept: [Unsynced; 3]) -> Result<(), RecordError> {
        let mut unsynced = self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.extend(kept);
        // Each part is an open file, and the base of a workspace has up to 100,000.
        let is_full = unsynced.len() >= MAX_UNSYNCED;
        drop(unsynced);
        if is_full { self.sync_with(Vec::new()) } else { Ok(()) }
    }

    /// Returns the damaged entries that [`Self::keep`] has replaced. The caller may remove them.
    pub fn replaced(&self) -> MutexGuard<'_, Vec<Digest>> {
        self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps bytes under their digest, as [`Self::keep`] does.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        let digest = runner_model::digest(bytes);
        self.keep(self.store()?.0.unnamed_with(bytes)?, &digest)?;
        Ok(digest)
    }

    /// Opens content of the store without comparing it with the digest.
    pub fn unchecked_content(&self, digest: &Digest) -> Result<File, RecordError> {
        self.own_dir()?.dir(STORE)?.read(&digest.path())
    }

    /// Opens content of the store, after comparing it with the digest.
    pub fn content(&self, digest: &Digest) -> Result<File, RecordError> {
        ContentStore(self.own_dir()?.dir(STORE)?).open(digest, OF_STORE)
    }

    fn store(&self) -> Result<ContentStore, RecordError> {
        Ok(ContentStore(self.own_dir()?.dir_or_create(STORE)?))
    }

    /// Updates the list by a manifest that is about to be named. Until then its file's stamp differs from that of the run,
    /// so that readers ignore the entry.
    pub(crate) fn list_early(&self, id: &str, listed: Listed) {
        if let Some(dir) = self.dir() {
            let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.get_or_insert_with(|| ListThread::start(dir.clone())).send(id.to_owned(), listed);
        }
    }

    /// Syncs the kept contents and other parts at once.
    pub(crate) fn sync_with(&self, others: Vec<Unsynced>) -> Result<(), RecordError> {
        let unsynced = self.0.unsynced.lock();
        let mut parts = std::mem::take(&mut *unsynced.unwrap_or_else(PoisonError::into_inner));
        parts.extend(others);
        sync_together(parts)
    }
}
