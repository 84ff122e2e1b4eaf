//! [`KnownDigests`]: digests of files by their stamps, so that files that have not changed are not read again.
//!
//! A stamp is trusted if the file system sets the time of each change by the clock of this machine. So these changes are not noticed:
//!
//! * writes by `mmap` to a page that was already changed and is not yet on disk. On a `tmpfs`, such a page never is;
//! * writes within two seconds of a change by another machine, whose clock is late;
//! * writes past the file system, such as to the disk below it, and while the clock is set back.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::{fmt, fs::File, path::Path, time::SystemTime};

use runner_model::{Digest, digest};
use rustix::fs::{Stat, fstatfs};

/// Start of an entry.
const MAGIC: &[u8] = b"runner-files-2\0\0";
/// Nanoseconds after a change in which a file can change again and keep its time. FAT has the coarsest times, of two seconds.
const RACY: i64 = 2_000_000_000;
/// Bytes of a record in an entry: a stamp and a digest.
const RECORD: usize = 5 * 8 + 32;

/// Types of file systems whose files can change and keep their stamps. FAT and exFAT do not store the time of the last change. The
/// others are images that are written as a whole: two of them often have equal times and inode numbers.
const UNTRUSTED: [u64; 7] = [
    0x4d44,      // FAT
    0x2011_bab0, // exFAT
    0x7371_7368, // SquashFS
    0xe0f5_e1e2, // EROFS
    0x9660,      // ISO 9660
    0x28cd_3d45, // cramfs
    0x7275,      // romfs
];

/// A cache of entries that only this user can change, with one for each folder whose files were read.
pub trait DigestCache: fmt::Debug + Send + Sync {
    /// Returns the entry of this name. `None` if it is missing or belongs to another user.
    fn read(&self, name: &str) -> Option<Vec<u8>>;

    /// Writes an entry, if that is possible. Without it, the files are read again.
    fn keep(&self, name: &str, entry: &[u8]);
}

/// The state of a file as of its last change: device, inode number, bytes, and the times of the last modification and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileStamp([u64; 5]);

/// The digests of the files of a folder.
pub(crate) struct KnownDigests {
    known: HashMap<FileStamp, Digest>,
    /// The digests that the next reader may use.
    kept: HashMap<FileStamp, Digest>,
    /// Start of the reading, in nanoseconds since 1970.
    started: i64,
}

impl KnownDigests {
    /// Reads the entry of a folder. If it is damaged, no digest is known.
    pub(crate) fn load(cache: Option<&dyn DigestCache>, folder: &Path) -> Self {
        let entry = cache.and_then(|cache| cache.read(&name(folder)));
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            known: entry.and_then(|entry| parse(&entry)).unwrap_or_default(),
            kept: HashMap::new(),
            started: started.map_or(0, |since| since.as_nanos() as i64),
        }
    }

    /// Returns the digest of a file that has not changed.
    pub(crate) fn find(&mut self, stamp: FileStamp) -> Option<Digest> {
        let sha256 = *self.known.get(&stamp)?;
        self.kept.insert(stamp, sha256);
        Some(sha256)
    }

    /// Adds a file that was read. Does nothing if it may change and keep its stamp: it is read again each time.
    pub(crate) fn add(&mut self, file: &File, stamp: FileStamp, sha256: Digest) {
        let is_trusted =
            || fstatfs(file).is_ok_and(|found| !UNTRUSTED.contains(&(found.f_type as u64)));
        if stamp.changed() < self.started - RACY && is_trusted() {
            self.kept.insert(stamp, sha256);
        }
    }

    /// Writes the entry of a folder if the digests have changed.
    pub(crate) fn keep(&self, cache: &dyn DigestCache, folder: &Path) {
        if self.kept == self.known {
            return;
        }
        let mut entry = MAGIC.to_vec();
        for (FileStamp(numbers), sha256) in &self.kept {
            entry.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            entry.extend(sha256.0);
        }
        entry.extend(digest(&entry).0);
        cache.keep(&name(folder), &entry);
    }
}

/// Returns the name of a folder's entry.
fn name(folder: &Path) -> String {
    format!("{}.files", digest(folder.as_os_str().as_bytes()))
}

/// Parses an entry. `None` if it is damaged.
fn parse(entry: &[u8]) -> Option<HashMap<FileStamp, Digest>> {
    let (records, sum) = entry.split_at_checked(entry.len().checked_sub(32)?)?;
    if digest(records).0 != sum {
        return None;
    }
    let (records, rest) = records.strip_prefix(MAGIC)?.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return None;
    }
    records
        .iter()
        .map(|record| {
            let (numbers, sha256) = record.split_at(RECORD - 32);
            let mut stamp = [0; 5];
            for (number, bytes) in stamp.iter_mut().zip(numbers.as_chunks().0) {
                *number = u64::from_le_bytes(*bytes);
            }
            Some((FileStamp(stamp), Digest(sha256.try_into().ok()?)))
        })
        .collect()
}

impl FileStamp {
    pub(crate) fn of(found: &Stat) -> Self {
        let nanoseconds =
            |seconds: i64, rest: u64| seconds.wrapping_mul(1_000_000_000).wrapping_add(rest as i64);
        Self([
            found.st_dev,
            found.st_ino,
            found.st_size as u64,
            nanoseconds(found.st_mtime, found.st_mtime_nsec) as u64,
            nanoseconds(found.st_ctime, found.st_ctime_nsec) as u64,
        ])
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0[2]
    }

    /// Returns the newer of both times, in nanoseconds since 1970. Programs can set the time of modification to any value, and the
    /// other one only by the clock.
    fn changed(self) -> i64 {
        (self.0[3] as i64).max(self.0[4] as i64)
    }
}
