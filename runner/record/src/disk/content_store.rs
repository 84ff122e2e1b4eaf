//! [`ContentStore`]: a folder of files named by the SHA-256 of their content, `<aa>/<sha256>`. The store of a results
//! root and the artifacts of a run are such folders. [`CheckedFile`] reads large content of it.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::{fs::File, time::Duration};

use runner_files::hash;
use runner_model::Digest;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use sha2::{Digest as _, Sha256};

use crate::disk::beneath::{Dir, Reader};
use crate::disk::fault::{self, Place};
use crate::disk::lock::{Held, lock_within};
use crate::{RecordError, disk::durable::Unsynced, disk::layout::ROOT_LOCK};

const PATIENCE: Duration = Duration::from_secs(10);
/// Remedy for damaged content of a results root.
pub(crate) const OF_STORE: &str = ": remove it, and the next `exec` stores it again";

#[derive(Clone, Debug)]
pub(crate) struct ContentStore(pub Dir);

impl ContentStore {
    /// Keeps an unnamed file under its digest, and returns the parts to sync before the entry is relied on. An existing
    /// entry is read whole, and replaced if it is damaged, which is the second value.
    ///
    /// A loss of power before the sync is harmless, because an entry is compared with its digest before use.
    pub(crate) fn keep(
        &self,
        draft: File,
        digest: &Digest,
    ) -> Result<([Unsynced; 3], bool), RecordError> {
        if let Some(kept) = self.keep_existing(digest)? {
            return Ok((kept, false));
        }
        let (shelf, name) = self.shelf(digest)?;
        fault::pass(Place::StoreKeep).map_err(|source| shelf.error("write", &name, source))?;
        let is_replaced = shelf.stat(&name)?.is_some();
        shelf.place(&draft, &name)?;
        Ok((self.unsynced(draft, shelf, name), is_replaced))
    }

    /// Keeps an existing entry, and returns the parts to sync, because the process that made it may have died before its sync.
    /// `None` if the entry is missing or damaged.
    pub(crate) fn keep_existing(
        &self,
        digest: &Digest,
    ) -> Result<Option<[Unsynced; 3]>, RecordError> {
        let (shelf, name) = self.shelf(digest)?;
        let entry = shelf.read(&name).ok().filter(|entry| {
            // `prune` removes entries that were not touched for a day.
            is_whole(entry, digest).unwrap_or(false) && touch(entry).is_ok()
        });
        Ok(entry.map(|entry| self.unsynced(entry, shelf, name)))
    }

    fn unsynced(&self, entry: File, shelf: Dir, name: String) -> [Unsynced; 3] {
        let path = shelf.path().join(name);
        [Unsynced::Content(entry, path), Unsynced::Names(shelf), Unsynced::Names(self.0.clone())]
    }

    /// Opens content, after comparing it with the digest. `remedy` is the end of the message about damaged content.
    pub(crate) fn open(&self, digest: &Digest, remedy: &str) -> Result<File, RecordError> {
        let entry = self.0.read(&digest.path())?;
        self.check(entry, digest, remedy)
    }

    /// Returns an unnamed copy of an entry.
    pub(crate) fn copy(&self, entry: &File, digest: &Digest) -> Result<File, RecordError> {
        let mut copy = self.0.unnamed()?;
        io::copy(&mut Reader { file: entry, at: 0 }, &mut copy)
            .map_err(|source| self.0.error("copy", &digest.path(), source))?;
        self.check(copy, digest, OF_STORE)
    }

    fn check(&self, entry: File, digest: &Digest, remedy: &str) -> Result<File, RecordError> {
        let damaged = || io::Error::other(format!("its bytes do not match its name{remedy}"));
        is_whole(&entry, digest)
            .and_then(|is_whole| is_whole.then_some(entry).ok_or_else(damaged))
            .map_err(|source| self.0.error("use", &digest.path(), source))
    }

    /// Locks the store: exclusively to remove entries, shared to add some.
    pub(crate) fn lock(&self, is_alone: bool) -> Result<Held, RecordError> {
        let failed = self.0.failure("take", ROOT_LOCK);
        let file = self.0.write(ROOT_LOCK)?;
        if lock_within(&file, is_alone, PATIENCE, failed)? {
            return Ok(Held(file));
        }
        Err(failed(io::Error::other("another `runner` holds it; end that and try again")))
    }

    fn shelf(&self, digest: &Digest) -> Result<(Dir, String), RecordError> {
        let name = digest.to_string();
        Ok((self.0.dir_or_create(&name[..2])?, name))
    }
}

/// A file that is compared with its digest while it is read, for copies to other programs: [`ContentStore::open`] would read it
/// twice. Reading its end fails if the digests differ.
#[derive(Debug)]
pub struct CheckedFile {
    file: io::Take<File>,
    digest: Digest,
    hash: Sha256,
}

impl CheckedFile {
    pub(crate) fn new(file: File, digest: Digest) -> Self {
        Self { file: file.take(u64::MAX), digest, hash: Sha256::new() }
    }

    /// Reads a part of a file, whose digest is `digest`.
    pub(crate) fn part(mut file: File, at: u64, bytes: u64, digest: Digest) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if at.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(io::Error::other(format!(
                "it has {length} bytes, fewer than in the list of changes"
            )));
        }
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file: file.take(bytes), digest, hash: Sha256::new() })
    }

    /// Returns the file without the comparison.
    pub fn unchecked(&self) -> &File {
        self.file.get_ref()
    }
}

impl io::Read for CheckedFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(bytes)?;
        self.hash.update(&bytes[..length]);
        if length == 0 && Digest(self.hash.clone().finalize().into()) != self.digest {
            return Err(io::Error::other("its bytes do not match its name"));
        }
        Ok(length)
    }
}

fn touch(entry: &File) -> rustix::io::Result<()> {
    let [last_access, last_modification] = [Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }; 2];
    let times = Timestamps { last_access, last_modification };
    rustix::fs::futimens(entry, &times)
}

fn is_whole(file: &File, digest: &Digest) -> io::Result<bool> {
    Ok(hash(Reader { file, at: 0 }, io::sink())?.0 == *digest)
}
