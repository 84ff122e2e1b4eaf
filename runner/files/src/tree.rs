//! [`TreeReader`]: reads everything in a folder, within bounds.
//!
//! Folders are opened by handle, and links are not followed.

use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::{path::Path, vec};

use runner_model::Digest;
use runner_model::tree::MAX_PATH_BYTES;
use runner_model::units::{grouped, show_size};
use runner_model::visible::{cut, visible_line};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat, fstat, readlinkat, statat};
use rustix::io::Errno;

use crate::hash::hash;
use crate::known::{DigestCache, FileStamp, KnownDigests};
use crate::open::{identity, open_folder, open_regular_at};

/// Maximum number of bytes of all paths in a folder. Those of 50,000 folders in each other would have 2.5 GB.
const MAX_PATHS: usize = 32 << 20;
/// Characters of a path in a message.
const SHOWN_PATH: usize = 200;

/// Reads folders.
#[derive(Clone, Copy)]
pub struct TreeReader<'a> {
    /// The digests of files that were read before.
    pub cache: Option<&'a dyn DigestCache>,
    /// Maximum number of files, folders and links.
    pub most_entries: usize,
    /// Maximum number of bytes of all files.
    pub most_bytes: u64,
}

/// The content of an entry of a folder.
#[derive(Debug)]
pub enum Content {
    File {
        sha256: Digest,
        bytes: u64,
        /// Permission bits.
        mode: u32,
    },
    /// The target of a symbolic link.
    Link(Vec<u8>),
    Folder,
    /// A pipe, socket or device.
    Special,
    /// Nothing could be read, or the entry was replaced meanwhile. For a folder, this follows the entry [`Self::Folder`].
    Unreadable(io::Error),
}

/// The error of a folder that exceeds a bound. Contains the end of a sentence after "has".
#[derive(Debug)]
pub struct TooLarge(pub String);

/// A folder that is being read.
struct Walk<'a> {
    reader: TreeReader<'a>,
    known: KnownDigests,
    entries: usize,
    bytes: u64,
    /// Bytes of all paths.
    paths: usize,
    /// Entries with their level.
    read: Vec<(usize, Vec<u8>, Content)>,
}

/// Reason why an entry has no content.
enum Stop {
    TooLarge(TooLarge),
    Failed(io::Error),
}

/// A folder whose entries are being read, or one above it.
struct Level {
    /// Device and inode number, to recognize it on the way up.
    identity: (u64, u64),
    path: Vec<u8>,
    /// The names that come next.
    names: vec::IntoIter<CString>,
}

impl TreeReader<'_> {
    /// Reads all entries below a folder: level by level, with sorted names. Each has its path in the folder, which is empty for the
    /// folder itself. Leaves out the folders for whose path `is_left_out` returns true.
    pub fn read(
        self,
        folder: &Path,
        mut is_left_out: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<(Vec<u8>, Content)>, TooLarge> {
        let known = KnownDigests::load(self.cache, folder);
        let mut walk =
            Walk { reader: self, known, entries: 0, bytes: 0, paths: 0, read: Vec::new() };
        let root = match open_folder(CWD, folder) {
            Ok(root) => root,
            Err(error) => return Ok(vec![(Vec::new(), Content::Unreadable(error.into()))]),
        };
        let mut levels = Vec::new();
        let Some(mut current) = walk.enter(&root, c".", Vec::new(), &mut levels)? else {
            return Ok(walk.sorted());
        };
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                if let Some(above) = levels.last_mut() {
                    match above.open(&current, &root) {
                        Ok(opened) => current = opened,
                        Err(error) => {
                            above.names = Vec::new().into_iter();
                            walk.fail(above.path.clone(), error.into());
                        }
                    }
                }
                continue;
            };
            let separator = if level.path.is_empty() { &b""[..] } else { b"/" };
            let path = [&level.path, separator, name.as_bytes()].concat();
            let content = match walk.content(&current, &name, &path) {
                Ok(Content::Folder) if is_left_out(&path) => continue,
                Ok(content) => content,
                Err(Stop::TooLarge(error)) => return Err(error),
                Err(Stop::Failed(error)) => Content::Unreadable(error),
            };
            let is_folder = matches!(content, Content::Folder);
            walk.read.push((depth(&path), path.clone(), content));
            if is_folder && let Some(inner) = walk.enter(&current, &name, path, &mut levels)? {
                current = inner;
            }
        }
        if let Some(cache) = self.cache {
            walk.known.keep(cache, folder);
        }
        Ok(walk.sorted())
    }
}

impl Level {
    /// Opens the folder again from an inner one.
    fn open(&self, inner: &OwnedFd, root: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        match open_folder(inner, c"..") {
            Ok(opened) if identity(&opened)? == self.identity => Ok(opened),
            // The inner one was moved, or its entries may only be listed.
            _ => {
                let mut parts =
                    self.path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
                parts.try_fold(open_folder(root, c".")?, open_folder)
            }
        }
    }
}

impl Walk<'_> {
    /// Opens a folder, and adds a level with its sorted names. If that fails, adds the error as a result.
    fn enter(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        path: Vec<u8>,
        levels: &mut Vec<Level>,
    ) -> Result<Option<OwnedFd>, TooLarge> {
        let listed = self.list(above, name);
        match listed.and_then(|(opened, names)| Ok((identity(&opened)?, opened, names))) {
            Ok((identity, opened, names)) => {
                levels.push(Level { identity, path, names: names.into_iter() });
                Ok(Some(opened))
            }
            Err(Stop::TooLarge(error)) => Err(error),
            Err(Stop::Failed(error)) => {
                self.fail(path, error);
                Ok(None)
            }
        }
    }

    /// Adds the error of opening or listing a folder, in the place of its entries.
    fn fail(&mut self, path: Vec<u8>, error: io::Error) {
        self.read.push((depth(&path) + 1, path, Content::Unreadable(error)));
    }

    /// Returns all entries, level by level. The digests of stored runs have this order.
    fn sorted(mut self) -> Vec<(Vec<u8>, Content)> {
        self.read.sort_by(|(level, path, _), (other_level, other, _)| {
            level.cmp(other_level).then_with(|| names(path).cmp(names(other)))
        });
        self.read.into_iter().map(|(_, path, content)| (path, content)).collect()
    }

    fn list(&mut self, above: &OwnedFd, name: &CStr) -> Result<(OwnedFd, Vec<CString>), Stop> {
        let folder = open_folder(above, name)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
                self.entries += 1;
            }
            if self.entries > self.reader.most_entries {
                let most = grouped(self.reader.most_entries as u64);
                return Err(Stop::too_large(format!("more than {most} files, folders and links")));
            }
        }
        names.sort_unstable();
        Ok((folder, names))
    }

    /// Reads an entry of an open folder. `path` is its path in the whole folder.
    fn content(&mut self, folder: &OwnedFd, name: &CString, path: &[u8]) -> Result<Content, Stop> {
        if path.len() >= MAX_PATH_BYTES {
            return Err(io::Error::other("its path has more than 4,095 bytes: move it up").into());
        }
        self.paths += path.len();
        if self.paths > MAX_PATHS {
            let most = show_size(MAX_PATHS as u64);
            let path = visible_line(&cut(&String::from_utf8_lossy(path), SHOWN_PATH)).into_owned();
            return Err(Stop::too_large(format!(
                "paths of more than {most} together, such as `{path}`: put fewer folders into each other"
            )));
        }
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Ok(Content::Folder),
            FileType::Symlink => {
                Ok(Content::Link(readlinkat(folder, name, Vec::new())?.into_bytes()))
            }
            FileType::RegularFile => self.file(folder, name, &found),
            _ => Ok(Content::Special),
        }
    }

    fn file(&mut self, folder: &OwnedFd, name: &CString, found: &Stat) -> Result<Content, Stop> {
        let content = |sha256, bytes, found: &Stat| {
            Ok(Content::File { sha256, bytes, mode: found.st_mode & 0o777 })
        };
        let stamp = FileStamp::of(found);
        if let Some(sha256) = self.known.find(stamp) {
            self.count(stamp.bytes())?;
            return content(sha256, stamp.bytes(), found);
        }
        let (file, found) = match open_regular_at(folder, name) {
            // Another program has put a pipe in its place.
            Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(Content::Special),
            opened => opened?,
        };
        let stamp = FileStamp::of(&found);
        let left = self.reader.most_bytes - self.bytes;
        if stamp.bytes() > left {
            self.count(stamp.bytes())?;
        }
        // It may grow meanwhile.
        let (sha256, bytes) = hash((&file).take(left.saturating_add(1)), io::sink())?;
        self.count(bytes)?;
        if FileStamp::of(&fstat(&file)?) == stamp {
            self.known.add(&file, stamp, sha256);
        }
        content(sha256, bytes, &found)
    }

    fn count(&mut self, bytes: u64) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.reader.most_bytes {
            let most = show_size(self.reader.most_bytes);
            return Err(Stop::too_large(format!("files of more than {most} together")));
        }
        Ok(())
    }
}

impl Stop {
    fn too_large(bound: String) -> Self {
        Self::TooLarge(TooLarge(bound))
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

fn depth(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, Mode, mkdirat};

    use super::{Content, MAX_PATHS, TooLarge, TreeReader};
    use crate::{empty, open_folder};

    /// Reads a folder with `chains` chains of `depth` folders in each other, below folders that have numbers.
    fn read_deep(
        chains: usize,
        depth: usize,
        name: &str,
    ) -> Result<Vec<(Vec<u8>, Content)>, TooLarge> {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for chain in 0..chains {
            let mut parent = open_folder(CWD, folder.path()).unwrap();
            let number = chain.to_string();
            for name in [&*number].into_iter().chain(vec![name; depth]) {
                mkdirat(&parent, name, Mode::RWXU).unwrap();
                parent = open_folder(&parent, name).unwrap();
            }
        }
        let reader = TreeReader { cache: None, most_entries: usize::MAX, most_bytes: u64::MAX };
        let read = reader.read(folder.path(), |_| false);
        // The standard library removes no folders of this depth.
        empty(open_folder(CWD, folder.path()).unwrap(), &[]).unwrap();
        read
    }

    #[test]
    fn entries_are_in_the_order_of_their_levels() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "a-b", "c", "a/b", "a/z", "a-b/a", "a/b/x", "a-b/a/x"];
        for path in ["a/b/x", "a-b/a/x"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for path in ["c", "a/z"] {
            fs::write(folder.path().join(path), "").unwrap();
        }
        let reader = TreeReader { cache: None, most_entries: 8, most_bytes: 0 };
        let read = reader.read(folder.path(), |_| false).unwrap();
        let read: Vec<_> = read.iter().map(|(path, _)| str::from_utf8(path).unwrap()).collect();
        assert_eq!(read, paths);
    }

    #[test]
    fn moved_folder_leads_out_of_no_tree() {
        let outer = tempfile::tempdir().unwrap();
        let path = |name: &str| outer.path().join(name);
        fs::create_dir_all(path("tree/a/b/c")).unwrap();
        fs::create_dir(path("tree/d")).unwrap();
        fs::write(path("secret"), "").unwrap();
        let reader = TreeReader { cache: None, most_entries: 8, most_bytes: 0 };
        let read = reader.read(&path("tree"), |inner| {
            if inner == b"a/b/c" {
                fs::rename(path("tree/a"), path("moved")).unwrap();
            }
            false
        });
        let read = read.unwrap();
        let read: Vec<_> = read.iter().map(|(path, _)| str::from_utf8(path).unwrap()).collect();
        assert_eq!(read, ["a", "d", "a/b", "a/b/c"]);
    }

    #[test]
    fn deep_folders_have_a_bound() {
        let read = read_deep(1, 3_000, "d").unwrap();
        assert_eq!(read.len(), 2_049);
        let (path, Content::Unreadable(error)) = read.last().unwrap() else { panic!() };
        assert_eq!(path.len(), 4_097);
        assert_eq!(error.to_string(), "its path has more than 4,095 bytes: move it up");
    }

    #[test]
    fn paths_of_all_entries_have_a_bound() {
        let name = "d".repeat(200);
        // Each chain has 42 KB of paths.
        let TooLarge(bound) = read_deep(MAX_PATHS / 42_000 + 1, 20, &name).unwrap_err();
        let shown = "paths of more than 32 MiB together, such as `";
        assert!(bound.starts_with(shown) && bound.len() < 400, "{bound}");
    }
}
