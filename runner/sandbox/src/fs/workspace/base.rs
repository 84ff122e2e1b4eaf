//! [`Base`]: a worker's copy of the folder that workspaces start as.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use runner_files::open_folder;
use runner_model::Digest;
use runner_model::tree::check_path;
use runner_model::workspace::{EntryKind, TreeEntry};
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat, openat};

use crate::fs::quota::shorten_path;

/// Permission bits that are kept of a file.
pub(super) const PERMISSIONS: u32 = 0o777;
/// The owner can always read a file, to copy it for a guest.
pub(super) const OWNER_READS: u32 = 0o400;

/// The changes that an attempt has left in its workspace, and the files that take the place of some of it.
#[derive(Debug)]
pub struct Overlay {
    /// The lines of `workspace.jsonl`.
    pub changes: Vec<u8>,
    /// The path of `workspace.contents`. `None` if no file was added or changed.
    pub contents: Option<PathBuf>,
    /// Paths in the workspace that are removed before `files` are written.
    pub replaced: Vec<String>,
    /// The lines of a base, whose paths are at or below those of `replaced`, or lead to them.
    pub files: Vec<u8>,
    /// The folder with the contents of `files`, named by digest.
    pub blobs: PathBuf,
}

/// A worker's copy of the folder that workspaces start as. The workspaces of all its attempts have
/// hard links to the files of this copy, which nothing may change.
#[derive(Debug)]
pub struct Base {
    /// The files, whose names are their numbers. Names of users never become paths here.
    files: OwnedFd,
    device: u64,
    /// Numbers of the files, by inode number.
    by_inode: HashMap<u64, u32>,
    /// Number of a file with each content.
    contents: HashMap<Digest, u32>,
    bytes: u64,
    /// The files by number.
    list: Vec<BaseFile>,
    /// The folders, each after its parent. The first one is the workspace itself.
    pub(super) folders: Vec<BaseFolder>,
    /// The times of all files, as guests see them.
    pub(super) time: SystemTime,
}

/// A folder of a base.
#[derive(Debug)]
pub(super) struct BaseFolder {
    /// Relative to the workspace. `.` for the workspace itself.
    pub(super) path: String,
    /// Sorted by the bytes of the names.
    pub(super) entries: Vec<(String, BaseEntry)>,
}

#[derive(Debug)]
pub(super) enum BaseEntry {
    /// The file's number.
    File(u32),
    /// The folder's index in [`Base::folders`].
    Folder(usize),
    /// The target of a symbolic link.
    Link(String),
}

/// A file of a base.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseFile {
    pub(super) inode: u64,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
    /// Permission bits as the base has them.
    pub(super) mode: u32,
    /// Whether the owner can execute the copy.
    pub(super) is_executable: bool,
}

impl Base {
    /// Copies the files of a base into the new folder `folder`. `blob` returns the path of a content.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// A file that cannot be copied, or entries that are not those of a base: sorted by path, with
    /// relative paths, each in a folder that comes before it.
    pub fn copy(
        entries: &[TreeEntry<'_>],
        folder: &Path,
        mut blob: impl FnMut(&Digest) -> PathBuf,
    ) -> io::Result<Self> {
        mkdirat(CWD, folder, Mode::RWXU)?;
        let mut base = Self::empty(open_folder(CWD, folder)?)?;
        let mut known = HashMap::from([("", 0)]);
        for entry in entries {
            let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            let invalid = || {
                let path = shorten_path(&entry.path);
                io::Error::new(ErrorKind::InvalidData, format!("invalid entry `{path}`"))
            };
            check_path(&entry.path).map_err(io::Error::other)?;
            let parent = *known.get(parent).ok_or_else(invalid)?;
            if base.folders[parent].entries.last().is_some_and(|(last, _)| **last >= *name) {
                return Err(invalid());
            }
            let copied = match (entry.kind, entry.sha256, &entry.target) {
                (EntryKind::Folder, None, None) => {
                    known.insert(&*entry.path, base.folders.len());
                    let path = (*entry.path).to_owned();
                    base.folders.push(BaseFolder { path, entries: Vec::new() });
                    BaseEntry::Folder(base.folders.len() - 1)
                }
                (EntryKind::Link, None, Some(target)) => BaseEntry::Link((**target).to_owned()),
                (EntryKind::File, Some(sha256), None) => {
                    BaseEntry::File(base.copy_file(entry, sha256, &blob(&sha256))?)
                }
                _ => return Err(invalid()),
            };
            base.folders[parent].entries.push((name.to_owned(), copied));
        }
        Ok(base)
    }

    /// Creates a base without files. `files` is the folder for them.
    pub(super) fn empty(files: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            device: fstat(&files)?.st_dev,
            files,
            by_inode: HashMap::new(),
            contents: HashMap::new(),
            bytes: 0,
            list: Vec::new(),
            folders: vec![BaseFolder { path: ".".to_owned(), entries: Vec::new() }],
            time: SystemTime::now(),
        })
    }

    /// Copies a file, and returns its number.
    fn copy_file(&mut self, entry: &TreeEntry<'_>, sha256: Digest, from: &Path) -> io::Result<u32> {
        let number = u32::try_from(self.list.len()).map_err(io::Error::other)?;
        let mode = entry.mode & PERMISSIONS;
        let mut file = create_file(self.files.as_fd(), number, mode | OWNER_READS)?;
        let bytes = io::copy(&mut File::open(from)?, &mut file)?;
        if bytes != entry.bytes {
            let path = shorten_path(&entry.path);
            return Err(io::Error::other(format!("`{path}` has {bytes} bytes")));
        }
        let found = fstat(&file)?;
        self.by_inode.insert(found.st_ino, number);
        self.contents.insert(sha256, number);
        self.bytes += bytes;
        let is_executable = is_executable(found.st_mode);
        self.list.push(BaseFile { inode: found.st_ino, bytes, sha256, mode, is_executable });
        Ok(number)
    }

    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn files(&self) -> BorrowedFd<'_> {
        self.files.as_fd()
    }

    /// Returns the number of the file with an inode.
    pub(super) fn number(&self, device: u64, inode: u64) -> Option<u32> {
        self.by_inode.get(&inode).copied().filter(|_| device == self.device)
    }

    pub(super) fn file(&self, number: u32) -> &BaseFile {
        &self.list[number as usize]
    }

    /// Returns whether a file of the base has this content.
    pub(super) fn has_content(&self, sha256: &Digest) -> bool {
        self.contents.contains_key(sha256)
    }

    /// Returns the number of a file with this content.
    pub(super) fn with_content(&self, sha256: &Digest) -> Option<u32> {
        self.contents.get(sha256).copied()
    }

    /// Opens a file for reading.
    pub(super) fn open(&self, number: u32) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.files, number.to_string(), flags, Mode::empty())?.into())
    }
}

impl BaseFolder {
    /// Returns the index of an entry.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|(known, _)| (**known).cmp(name)).ok()
    }
}

pub(super) fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// Creates a file in a private folder, with a number as its name. Its mode is set here, because the
/// sandbox of workers refuses changes of modes.
pub(super) fn create_file(folder: BorrowedFd<'_>, number: u32, mode: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, number.to_string(), flags, Mode::from_raw_mode(mode))?.into())
}
