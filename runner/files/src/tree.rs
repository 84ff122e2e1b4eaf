//! [`TreeReader`]: reads everything in a folder, within bounds.
//!
//! Folders are opened by handle, and links are not followed.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::{ffi::CString, fs::File, path::Path};

use runner_model::Digest;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::hash::hash;
use crate::known::{DigestCache, FileStamp, KnownDigests};
use crate::open::open_folder;

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

/// The error of a folder that exceeds a bound.
#[derive(Debug)]
pub struct TooLarge;

/// A folder that is being read.
struct Walk<'a> {
    reader: TreeReader<'a>,
    known: KnownDigests,
    entries: usize,
    bytes: u64,
}

/// Reason why an entry has no content.
enum Stop {
    TooLarge,
    Failed(io::Error),
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
        let mut walk = Walk { reader: self, known, entries: 0, bytes: 0 };
        let root = match open_folder(CWD, folder) {
            Ok(root) => root,
            Err(error) => return Ok(vec![(Vec::new(), Content::Unreadable(error.into()))]),
        };
        let mut read = Vec::new();
        let mut folders = VecDeque::from([Vec::new()]);
        while let Some(above) = folders.pop_front() {
            let (opened, names) = match walk.list(&root, &above) {
                Ok(listed) => listed,
                Err(Stop::TooLarge) => return Err(TooLarge),
                Err(Stop::Failed(error)) => {
                    read.push((above, Content::Unreadable(error)));
                    continue;
                }
            };
            for name in names {
                let separator = if above.is_empty() { &b""[..] } else { b"/" };
                let path = [&above, separator, name.as_bytes()].concat();
                let content = match walk.content(&opened, &name) {
                    Ok(Content::Folder) if is_left_out(&path) => continue,
                    Ok(content) => content,
                    Err(Stop::TooLarge) => return Err(TooLarge),
                    Err(Stop::Failed(error)) => Content::Unreadable(error),
                };
                if matches!(content, Content::Folder) {
                    folders.push_back(path.clone());
                }
                read.push((path, content));
            }
        }
        if let Some(cache) = self.cache {
            walk.known.keep(cache, folder);
        }
        Ok(read)
    }
}

impl Walk<'_> {
    /// Opens the folder at a relative path. Returns its sorted names, too.
    fn list(&mut self, root: &OwnedFd, path: &[u8]) -> Result<(OwnedFd, Vec<CString>), Stop> {
        let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let folder = parts.try_fold(open_folder(root, ".")?, open_folder)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
                self.entries += 1;
            }
            if self.entries > self.reader.most_entries {
                return Err(Stop::TooLarge);
            }
        }
        names.sort_unstable();
        Ok((folder, names))
    }

    fn content(&mut self, folder: &OwnedFd, name: &CString) -> Result<Content, Stop> {
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Ok(Content::Folder),
            FileType::Symlink => {
                Ok(Content::Link(readlinkat(folder, name, Vec::new())?.into_bytes()))
            }
            FileType::RegularFile => {
                let (sha256, bytes) = self.file(folder, name, FileStamp::of(&found))?;
                Ok(Content::File { sha256, bytes, mode: found.st_mode & 0o777 })
            }
            _ => Ok(Content::Special),
        }
    }

    fn file(
        &mut self,
        folder: &OwnedFd,
        name: &CString,
        stamp: FileStamp,
    ) -> Result<(Digest, u64), Stop> {
        let bytes = stamp.bytes();
        if let Some(sha256) = self.known.find(stamp) {
            self.count(bytes)?;
            return Ok((sha256, bytes));
        }
        if self.bytes.saturating_add(bytes) > self.reader.most_bytes {
            return Err(Stop::TooLarge);
        }
        // Another program may have put a pipe in its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(folder, name, flags, Mode::empty())?);
        // It may grow meanwhile.
        let most = (self.reader.most_bytes - self.bytes).saturating_add(1);
        let (sha256, bytes) = hash((&file).take(most), io::sink())?;
        self.count(bytes)?;
        if FileStamp::of(&fstat(&file)?) == stamp {
            self.known.add(stamp, sha256);
        }
        Ok((sha256, bytes))
    }

    fn count(&mut self, bytes: u64) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.reader.most_bytes { Err(Stop::TooLarge) } else { Ok(()) }
    }
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
