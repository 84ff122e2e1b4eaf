//! [`FolderReader`]: digests of the content of granted folders, with a cache of the digests of files.
//!
//! A digest covers what guests can see and that decides their outputs: names, kinds, bytes, and the texts of symbolic links.
//! Links are not followed. Times, owners and permissions are left out.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{ffi::CString, fs::File, time::SystemTime};

use runner_model::provider::{FolderContent, MountedFolder, PreparedProvider};
use runner_model::{Digest, digest, grants::FsMode, units::grouped, visible::shown_path};
use runner_record::PluginCache;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use sha2::{Digest as _, Sha256};

/// Prefix of the hashed bytes. A change of the recipe needs a new number.
const RECIPE: &[u8] = b"runner-folder-1\0";
/// Start of a cache entry.
const MAGIC: &[u8] = b"runner-files-1\0\0";
/// Files, folders and links of a folder whose content is read.
const MOST_FILES: usize = 50_000;
/// Bytes of all files of such a folder.
const MOST_BYTES: u64 = 1 << 30;
/// Nanoseconds after a change in which a file can change again and keep its time, on any file system.
const RACY: i64 = 2_000_000_000;
/// Bytes of a record in a cache entry: a stamp and a digest.
const RECORD: usize = 5 * 8 + 32;
/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// Reads the content of granted folders.
pub struct FolderReader<'a> {
    cache: &'a PluginCache,
    most_files: usize,
    most_bytes: u64,
}

/// The state of a file as of its last change. Any write changes the last of these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FileStamp([u64; 5]);

/// The content of a file, link or other entry of a folder.
enum EntryContent {
    File(Digest),
    Link(Vec<u8>),
    Folder,
    /// A pipe, socket or device, which guests cannot open.
    Special,
    /// The runner may not read it, so guests cannot either.
    Unreadable,
}

/// A folder that is being read.
struct Walk<'a> {
    reader: &'a FolderReader<'a>,
    known: HashMap<FileStamp, Digest>,
    /// The digests that the next reader may use.
    kept: HashMap<FileStamp, Digest>,
    started: i64,
    files: usize,
    bytes: u64,
}

/// Reason why a folder has no digest.
enum NoDigest {
    TooLarge,
    /// It is the results root.
    Results,
    Io(io::Error),
}

impl<'a> FolderReader<'a> {
    pub fn new(cache: &'a PluginCache) -> Self {
        Self { cache, most_files: MOST_FILES, most_bytes: MOST_BYTES }
    }

    /// Sets the contents of the read-only folders of providers. The results root is left out, because each run changes it.
    /// Returns notices about folders that are too large or cannot be read.
    pub fn read_all(
        &self,
        providers: &mut [PreparedProvider],
        results: Option<&Path>,
    ) -> Vec<String> {
        let results = results.and_then(place);
        let mut notices = Vec::new();
        for PreparedProvider { provider, mounts, .. } in providers {
            let folders = mounts.iter_mut().filter(|folder| folder.mode == FsMode::ReadOnly);
            for folder in folders {
                let inside = results.as_ref().and_then(|root| root.strip_prefix(&folder.host).ok());
                let without = inside.and_then(Path::to_str).map(ToOwned::to_owned);
                let read = match without.as_deref() {
                    Some("") => Err(NoDigest::Results),
                    without => self.digest(folder, without),
                };
                folder.content = None;
                let why = match read {
                    Ok(sha256) => {
                        folder.content = Some(FolderContent { sha256, without });
                        continue;
                    }
                    Err(NoDigest::TooLarge) => {
                        let files = grouped(self.most_files as u64);
                        let gib = self.most_bytes >> 30;
                        format!("has more than {files} files or {gib} GiB")
                    }
                    Err(NoDigest::Results) => "is the results root".to_owned(),
                    Err(NoDigest::Io(error)) => format!("cannot be read: {error}"),
                };
                notices.push(format!(
                    "the folder `{}`, granted to `{}` as `{}`, {why}: fingerprints leave it out, so a change of its files is not noticed",
                    folder.host, provider.name, folder.guest
                ));
            }
        }
        notices
    }

    /// Returns the folders whose content is no longer that of their mounts, each as a noun with the provider.
    pub fn changed(&self, providers: &[PreparedProvider]) -> Vec<String> {
        let mut changed = Vec::new();
        for PreparedProvider { provider, mounts, .. } in providers {
            for folder in mounts {
                let Some(content) = &folder.content else { continue };
                let read = self.digest(folder, content.without.as_deref());
                if !read.is_ok_and(|sha256| sha256 == content.sha256) {
                    let host = shown_path(Path::new(&folder.host));
                    let guest = &folder.guest;
                    let table = provider.table();
                    changed
                        .push(format!("folder {host}, `{guest}` of `{table}.{}`", provider.name));
                }
            }
        }
        changed
    }

    /// Returns the digest of a folder's content. Leaves out the folder at the relative path `without`.
    fn digest(&self, folder: &MountedFolder, without: Option<&str>) -> Result<Digest, NoDigest> {
        let root = open_folder(CWD, folder.host.as_bytes())?;
        let name = format!("{}.files", digest(folder.host.as_bytes()));
        let known =
            self.cache.read(&name).and_then(|entry| parse_entry(&entry)).unwrap_or_default();
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut walk = Walk {
            reader: self,
            known,
            kept: HashMap::new(),
            started: started.map_or(0, |since| since.as_nanos() as i64),
            files: 0,
            bytes: 0,
        };
        let sha256 = walk.folder(&root, without.map(str::as_bytes))?;
        if walk.kept != walk.known {
            // Without the entry, the next reader reads the files.
            let _ = self.keep(&walk.kept, &name);
        }
        Ok(sha256)
    }

    fn keep(&self, kept: &HashMap<FileStamp, Digest>, name: &str) -> io::Result<()> {
        let mut entry = MAGIC.to_vec();
        for (FileStamp(numbers), digest) in kept {
            entry.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            entry.extend(digest.0);
        }
        entry.extend(digest(&entry).0);
        let mut draft = self.cache.draft().map_err(io::Error::other)?;
        draft.write_all(&entry)?;
        self.cache.keep(draft, name).map_err(io::Error::other)
    }
}

/// Returns the real path of the results root or, if it is missing, of the first folder that will be created for it.
fn place(root: &Path) -> Option<PathBuf> {
    let root = std::path::absolute(root).ok()?;
    let mut missing = None;
    for folder in root.ancestors() {
        match folder.canonicalize() {
            Ok(real) => return Some(missing.map_or(real.clone(), |name| real.join(name))),
            Err(_) => missing = folder.file_name(),
        }
    }
    None
}

/// Parses a cache entry. `None` if it is damaged.
fn parse_entry(entry: &[u8]) -> Option<HashMap<FileStamp, Digest>> {
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

impl Walk<'_> {
    fn folder(&mut self, root: &OwnedFd, without: Option<&[u8]>) -> Result<Digest, NoDigest> {
        let mut state = Sha256::new_with_prefix(RECIPE);
        let mut folders = VecDeque::from([Vec::new()]);
        while let Some(path) = folders.pop_front() {
            let Some(folder) = readable(open_below(root, &path))? else {
                add(&mut state, &path, &EntryContent::Unreadable);
                continue;
            };
            for name in self.names(&folder)? {
                let mut inner = path.clone();
                inner.extend(if path.is_empty() { &b""[..] } else { b"/" });
                inner.extend(name.as_bytes());
                if without == Some(&*inner) {
                    continue;
                }
                let content = self.entry(&folder, &name)?;
                add(&mut state, &inner, &content);
                if matches!(content, EntryContent::Folder) {
                    folders.push_back(inner);
                }
            }
        }
        Ok(Digest(state.finalize().into()))
    }

    /// Returns the sorted names in a folder.
    fn names(&mut self, folder: &OwnedFd) -> Result<Vec<CString>, NoDigest> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
                self.files += 1;
            }
            if self.files > self.reader.most_files {
                return Err(NoDigest::TooLarge);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn entry(&mut self, folder: &OwnedFd, name: &CString) -> Result<EntryContent, NoDigest> {
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let Some(found) = readable(found)? else { return Ok(EntryContent::Unreadable) };
        Ok(match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => EntryContent::Folder,
            FileType::Symlink => match readable(readlinkat(folder, name, Vec::new()))? {
                Some(target) => EntryContent::Link(target.into_bytes()),
                None => EntryContent::Unreadable,
            },
            FileType::RegularFile => self.file(folder, name, FileStamp::of(&found))?,
            _ => EntryContent::Special,
        })
    }

    fn file(
        &mut self,
        folder: &OwnedFd,
        name: &CString,
        stamp: FileStamp,
    ) -> Result<EntryContent, NoDigest> {
        if let Some(sha256) = self.known.get(&stamp) {
            self.kept.insert(stamp, *sha256);
            let sha256 = *sha256;
            self.count(stamp.size())?;
            return Ok(EntryContent::File(sha256));
        }
        if self.bytes.saturating_add(stamp.size()) > self.reader.most_bytes {
            return Err(NoDigest::TooLarge);
        }
        // Another program may have put a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Some(file) = readable(openat(folder, name, flags, Mode::empty()))? else {
            return Ok(EntryContent::Unreadable);
        };
        let mut file = File::from(file);
        let mut state = Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => {
                    self.count(read as u64)?;
                    state.update(&piece[..read]);
                }
            }
        }
        let sha256 = Digest(state.finalize().into());
        let is_same = FileStamp::of(&fstat(&file)?) == stamp;
        if is_same && stamp.changed() < self.started - RACY {
            self.kept.insert(stamp, sha256);
        }
        Ok(EntryContent::File(sha256))
    }

    fn count(&mut self, bytes: u64) -> Result<(), NoDigest> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.reader.most_bytes { Err(NoDigest::TooLarge) } else { Ok(()) }
    }
}

impl FileStamp {
    fn of(found: &Stat) -> Self {
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

    fn size(self) -> u64 {
        self.0[2]
    }

    /// Returns the newer one of its times, in nanoseconds since 1970. Programs can set only the first.
    fn changed(self) -> i64 {
        (self.0[3] as i64).max(self.0[4] as i64)
    }
}

/// Adds an entry with the lengths of its parts, so that different folders never have the same bytes.
fn add(state: &mut Sha256, path: &[u8], content: &EntryContent) {
    let (kind, content) = match content {
        EntryContent::File(digest) => (b'f', &digest.0[..]),
        EntryContent::Link(target) => (b'l', &target[..]),
        EntryContent::Folder => (b'd', &[][..]),
        EntryContent::Special => (b's', &[][..]),
        EntryContent::Unreadable => (b'u', &[][..]),
    };
    state.update([kind]);
    for part in [path, content] {
        state.update((part.len() as u64).to_le_bytes());
        state.update(part);
    }
}

/// Opens a folder. Fails if its last part is a symbolic link.
fn open_folder(at: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Opens the folder at a relative path, without following links.
fn open_below(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    parts.try_fold(open_folder(root, b".")?, open_folder)
}

/// Returns `None` if the runner may not read an entry, or if it was replaced meanwhile.
fn readable<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    use rustix::io::Errno;
    match result {
        Ok(found) => Ok(Some(found)),
        Err(
            Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<io::Error> for NoDigest {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for NoDigest {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

#[cfg(test)]
#[path = "../tests/folder_content.rs"]
mod tests;
