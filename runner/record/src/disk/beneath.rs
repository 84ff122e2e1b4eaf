//! [`Dir`]: the only way to a path below a results root, a run or the plugin cache.
//!
//! A folder is opened once, and its entries are opened from the handle, without following links. A run that was copied
//! from elsewhere may have a link, a pipe or a folder in place of a file, and other users may replace entries at any
//! moment. Only regular files are opened, and opening never blocks.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::{ffi::CString, sync::Arc};

use runner_model::Time;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawMode, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::{RecordError, disk::permissions};

/// An open folder. Names that its methods take are single segments unless a method's doc allows more.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    handle: Arc<OwnedFd>,
    path: Arc<Path>,
    /// Identity of the folder, as of its opening.
    pub(crate) stamp: Stamp,
    /// The folder's mode, from which the modes of new entries follow.
    mode: u32,
}

/// Identity and version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub length: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    pub is_file: bool,
}

impl Stamp {
    /// Returns whether both are the same file, in any version.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Returns the time of the last change.
    pub(crate) fn changed(&self) -> Time {
        Time::from_millis(self.modified / 1_000_000)
    }

    /// Returns the stamp of an open file.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::new(&rustix::fs::fstat(file)?))
    }

    fn new(found: &Stat) -> Self {
        Self {
            device: found.st_dev,
            inode: found.st_ino,
            length: found.st_size.try_into().unwrap_or(0),
            modified: found.st_mtime * 1_000_000_000 + found.st_mtime_nsec as i64,
            is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
        }
    }
}

impl Dir {
    /// Opens a folder by a path from the user or the environment. Follows links.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordError> {
        let from = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::new(rustix::fs::openat(CWD, from, flags, Mode::empty()), path.to_owned())
    }

    /// Opens a folder as [`Self::open`] does, and creates missing ones with this mode. Their names are synced.
    pub(crate) fn open_or_create(path: &Path, mode: u32) -> Result<Self, RecordError> {
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|above| {
                !above.as_os_str().is_empty() && matches!(above.try_exists(), Ok(false))
            })
            .collect();
        if !missing.is_empty() {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .map_err(|source| RecordError::io("create the folder", path, source))?;
        }
        for folder in missing {
            Self::open(folder.parent().unwrap_or(folder))?.sync()?;
        }
        Self::open(path)
    }

    fn new(handle: Result<OwnedFd, Errno>, path: PathBuf) -> Result<Self, RecordError> {
        let opened = handle.and_then(|handle| Ok((rustix::fs::fstat(&handle)?, handle)));
        match opened {
            Ok((found, handle)) => Ok(Self {
                handle: Arc::new(handle),
                path: path.into(),
                stamp: Stamp::new(&found),
                mode: found.st_mode,
            }),
            Err(source) => Err(RecordError::io("open the folder", &path, source)),
        }
    }

    /// Returns the path for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the absolute path, without links, that the open folder has now.
    pub(crate) fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }

    /// Opens the folder again, with locks of its own.
    pub(crate) fn new_handle(&self) -> Result<File, RecordError> {
        let opened = self.open_at(".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        opened.map(File::from).map_err(|source| self.error("open", ".", io::Error::from(source)))
    }

    /// Opens a folder in this one. `name` may have several segments.
    pub(crate) fn dir(&self, name: &str) -> Result<Self, RecordError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = self.open_at(name, flags, Mode::empty());
        let handle =
            opened.map_err(|source| self.explain("open the folder", name, source.into()))?;
        Self::new(Ok(handle), self.path.join(name))
    }

    /// Opens a folder in this one, and creates it if it is missing.
    pub(crate) fn dir_or_create(&self, name: &str) -> Result<Self, RecordError> {
        match self.dir(name) {
            Err(error) if error.is_missing() => {
                match self.create_dir(name, permissions::of_folder_in(self.mode)) {
                    Err(error) if error.kind() == Some(io::ErrorKind::AlreadyExists) => {
                        self.dir(name)
                    }
                    created => created,
                }
            }
            opened => opened,
        }
    }

    /// Creates a folder. Fails if the name exists.
    pub(crate) fn create_dir(&self, name: &str, mode: u32) -> Result<Self, RecordError> {
        rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(mode))
            .map_err(|source| self.error("create the folder", name, source))?;
        let mut dir = self.dir(name)?;
        // In a shared folder, another user may have put a private one of this user in its place.
        if dir.names()?.is_empty() {
            permissions::share(&dir.handle, dir.mode, mode);
            dir.mode |= mode;
        }
        Ok(dir)
    }

    /// Removes all access of other users, also to entries that are created later.
    pub(crate) fn make_private(&mut self) -> Result<(), RecordError> {
        let mode = permissions::PRIVATE;
        rustix::fs::fchmod(&self.handle, Mode::from_raw_mode(mode))
            .map_err(|source| self.error("change the mode of", ".", source))?;
        self.mode = mode;
        Ok(())
    }

    pub(crate) fn read(&self, name: &str) -> Result<File, RecordError> {
        self.file("read", name, OFlags::RDONLY)
    }

    /// Opens a file for reading and writing, and creates it if it is missing.
    pub(crate) fn write(&self, name: &str) -> Result<File, RecordError> {
        self.file("write", name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens a file for appending, and creates it if it is missing.
    pub(crate) fn append(&self, name: &str) -> Result<File, RecordError> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
        self.file("write", name, flags)
    }

    /// Creates a file. Fails if the name exists.
    pub(crate) fn create_file(&self, name: &str) -> Result<File, RecordError> {
        self.file("create", name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// Creates a file with this mode. Fails if the name exists.
    pub(crate) fn create_with_mode(&self, name: &str, mode: u32) -> Result<File, RecordError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.file_with_mode("create", name, flags, mode)
    }

    /// Creates a symbolic link. Fails if the name exists.
    pub(crate) fn create_link(&self, name: &str, target: &str) -> Result<(), RecordError> {
        rustix::fs::symlinkat(target, &self.handle, name)
            .map_err(|source| self.error("create the link", name, source))
    }

    /// Creates a file with this content. Fails if the name exists.
    pub(crate) fn create_with(&self, name: &str, bytes: &[u8]) -> Result<File, RecordError> {
        let mut file = self.create_file(name)?;
        file.write_all(bytes).map(|()| file).map_err(|source| self.error("write", name, source))
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn read_all(&self, name: &str, limit: u64) -> Result<Vec<u8>, RecordError> {
        let failed = self.failure("read", name);
        let file = self.read(name)?;
        // A sparse file of any length costs its owner nothing.
        if file.metadata().map_err(failed)?.len() > limit {
            return Err(failed(io::Error::other(format!("it is larger than {limit} bytes"))));
        }
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Creates a file without a name, which vanishes if the process dies. [`Self::place`] names it.
    pub(crate) fn unnamed(&self) -> Result<File, RecordError> {
        let mode = permissions::of_file_in(self.mode);
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        match self.open_at(".", flags, Mode::from_raw_mode(mode as RawMode)) {
            Ok(handle) => {
                permissions::share(&handle, 0, mode);
                Ok(handle.into())
            }
            // Some file systems, and kernels before 3.11, have no `O_TMPFILE`.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let name = temporary_name();
                let file = self.create_file(&name)?;
                self.remove(&name)?;
                Ok(file)
            }
            Err(source) => Err(self.error("create a file in", ".", source)),
        }
    }

    /// Creates a file without a name, with this content.
    pub(crate) fn unnamed_with(&self, bytes: &[u8]) -> Result<File, RecordError> {
        let mut file = self.unnamed()?;
        let written = file.write_all(bytes);
        written.map_err(|source| self.error("write", ".", source))?;
        Ok(file)
    }

    /// Names an unnamed file, and replaces a file of that name. Copies the bytes if the file system cannot link. Syncs
    /// neither the content nor the name.
    pub(crate) fn place(&self, file: &File, name: &str) -> Result<(), RecordError> {
        match self.link(file, name) {
            Ok(()) => return Ok(()),
            // `linkat` cannot replace a file, and a rename can.
            Err(Errno::EXIST) => {
                let temporary = temporary_name();
                if self.link(file, &temporary).is_ok() {
                    return self.rename(&temporary, name);
                }
            }
            Err(_) => {}
        }
        let temporary = temporary_name();
        let mut copy = self.create_file(&temporary)?;
        let mut reader = Reader { file, at: 0 };
        io::copy(&mut reader, &mut copy)
            .and_then(|_| copy.sync_all())
            .map_err(|source| self.error("write", &temporary, source))?;
        self.rename(&temporary, name)
    }

    fn link(&self, file: &File, name: &str) -> Result<(), Errno> {
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, from, &self.handle, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Writes a file that only its owner may write into under the temporary name that belongs to `name`. Only one process at
    /// a time may do that. [`Self::replace`] renames it.
    pub(crate) fn prepare(&self, name: &str, bytes: &[u8]) -> Result<File, RecordError> {
        let temporary = next_name(name);
        // A process that was killed, or another user of a shared folder, may have left one.
        self.remove(&temporary)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mode = permissions::of_file_in(self.mode) & !permissions::OTHERS_WRITE;
        let mut file = self.file_with_mode("create", &temporary, flags, mode)?;
        let written = file.write_all(bytes);
        written.map(|()| file).map_err(|source| self.error("write", &temporary, source))
    }

    /// Returns whether [`Self::prepare`] has written a file for `name`.
    pub(crate) fn has_prepared(&self, name: &str) -> bool {
        matches!(self.stat(&next_name(name)), Ok(Some(_)))
    }

    /// Removes the file that a process has prepared for `name` before it was killed. Ignores errors.
    pub(crate) fn remove_prepared(&self, name: &str) {
        let _ = self.remove(&next_name(name));
    }

    /// Replaces a file by the one that [`Self::prepare`] wrote.
    pub(crate) fn replace(&self, name: &str) -> Result<(), RecordError> {
        self.rename(&next_name(name), name)
    }

    /// Renames a folder that is about to be removed. Fails if the folder or its entries may not be removed.
    pub(crate) fn move_away(&self, name: &str, to: &str) -> Result<(), RecordError> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.handle, name, access, AtFlags::EACCESS)
            .and_then(|()| rustix::fs::renameat(&self.handle, name, &self.handle, to))
            .map_err(|source| self.error("remove", name, source))
    }

    /// Renames a file, and replaces a file of the new name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), RecordError> {
        rustix::fs::renameat(&self.handle, from, &self.handle, to)
            .map_err(|source| self.error("replace", to, source))
    }

    /// Removes a file, unless it is missing.
    pub(crate) fn remove(&self, name: &str) -> Result<(), RecordError> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty folder, unless it is missing.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), RecordError> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<(), RecordError> {
        match rustix::fs::unlinkat(&self.handle, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(self.error("remove", name, source)),
        }
    }

    /// Returns the stamp of an entry, which may be a link. `None` if it is missing. With several segments it only shows
    /// whether a file has changed, because links on the way are followed.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stamp>, RecordError> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Stamp::new(&found))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(source) => Err(self.error("look at", name, source)),
        }
    }

    /// Returns the names of entries that may be folders, in no order, without names that are not UTF-8.
    pub(crate) fn folders(&self) -> Result<Vec<String>, RecordError> {
        // Some file systems do not report the kind.
        let names = self.entries(|kind| matches!(kind, FileType::Directory | FileType::Unknown))?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Returns the names of all entries, in no order. Bytes that are not UTF-8 are replaced.
    pub(crate) fn names(&self) -> Result<Vec<String>, RecordError> {
        let names = self.entries(|_| true)?.into_iter();
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn entries(&self, is_wanted: impl Fn(FileType) -> bool) -> Result<Vec<CString>, RecordError> {
        entries(self, is_wanted).map_err(|source| self.error("read", ".", source))
    }

    /// Syncs the folder's names.
    pub(crate) fn sync(&self) -> Result<(), RecordError> {
        rustix::fs::fsync(&self.handle).map_err(|source| self.error("sync", ".", source))
    }

    /// Returns a conversion of errors of system calls on an entry.
    pub(crate) fn failure<'a>(
        &'a self,
        what: &'static str,
        name: &'a str,
    ) -> impl Fn(io::Error) -> RecordError + Copy + 'a {
        move |source| self.error(what, name, source)
    }

    /// Builds the error of a system call on an entry.
    pub(crate) fn error(
        &self,
        what: &'static str,
        name: &str,
        source: impl Into<io::Error>,
    ) -> RecordError {
        RecordError::io(what, &self.path_of(name), source)
    }

    /// Builds the error of an entry with unexpected content.
    pub(crate) fn refuse(&self, name: &str, problem: impl Into<String>) -> RecordError {
        RecordError::Foreign { path: self.path_of(name), problem: problem.into() }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        match name {
            "." => self.path.to_path_buf(),
            name => self.path.join(name),
        }
    }

    fn file(&self, what: &'static str, name: &str, flags: OFlags) -> Result<File, RecordError> {
        // `openat2` refuses a mode for a file that it does not create.
        let mode =
            if flags.contains(OFlags::CREATE) { permissions::of_file_in(self.mode) } else { 0 };
        self.file_with_mode(what, name, flags, mode)
    }

    fn file_with_mode(
        &self,
        what: &'static str,
        name: &str,
        flags: OFlags,
        mode: u32,
    ) -> Result<File, RecordError> {
        // Opening a pipe would wait for its other end.
        self.open_at(name, flags | OFlags::NONBLOCK, Mode::from_raw_mode(mode as RawMode))
            .map_err(io::Error::from)
            .and_then(|handle| {
                let file = File::from(handle);
                let found = file.metadata()?;
                if !found.is_file() {
                    return Err(io::Error::other("it is not a regular file"));
                }
                permissions::share(&file, found.mode(), mode);
                Ok(file)
            })
            .map_err(|source| self.explain(what, name, source))
    }

    /// Adds the kind of an entry to the error of opening it.
    fn explain(&self, what: &'static str, name: &str, source: io::Error) -> RecordError {
        let found = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW);
        let kind = found.map(|found| FileType::from_raw_mode(found.st_mode));
        let is = match kind {
            Ok(FileType::Symlink) => "a symbolic link",
            Ok(FileType::Fifo) => "a named pipe",
            Ok(FileType::Socket) => "a socket",
            Ok(FileType::CharacterDevice | FileType::BlockDevice) => "a device",
            Ok(FileType::Directory) if what != "open the folder" => "a folder",
            Ok(FileType::RegularFile) if what == "open the folder" => "a file",
            _ => return self.error(what, name, source),
        };
        let problem = format!("it is {is}, which does not belong there: move it away");
        self.error(what, name, io::Error::other(problem))
    }

    /// Opens a path of one or more segments below the folder.
    fn open_at(&self, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.handle, name, flags, mode, resolve) {
            // Linux before 5.6 has no `openat2`, and filters of containers answer `EPERM`.
            Err(Errno::NOSYS | Errno::PERM) => self.open_in_steps(name, flags, mode),
            opened => opened,
        }
    }

    fn open_in_steps(&self, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder: Option<OwnedFd> = None;
        let mut segments = name.split('/').peekable();
        loop {
            let segment = segments.next().unwrap_or_default();
            if segment.is_empty() || segment == ".." {
                return Err(Errno::XDEV);
            }
            let from = folder.as_ref().unwrap_or(&self.handle);
            if segments.peek().is_none() {
                return rustix::fs::openat(from, segment, flags, mode);
            }
            folder = Some(rustix::fs::openat(from, segment, step, Mode::empty())?);
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Reads an open file from a position, without moving its cursor.
pub(crate) struct Reader<'a> {
    pub file: &'a File,
    pub at: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = std::os::unix::fs::FileExt::read_at(self.file, bytes, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Returns the names of the entries of an open folder, in no order.
pub(super) fn entries(
    folder: impl AsFd,
    is_wanted: impl Fn(FileType) -> bool,
) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        if is_wanted(entry.file_type()) && ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn temporary_name() -> String {
    format!(".new-{:016x}", random())
}

/// Returns the temporary name of a file that replaces `name`.
fn next_name(name: &str) -> String {
    format!(".new-{name}")
}

/// Returns random bits of the system.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // `getrandom` only fails for bad arguments.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
#[path = "tests/beneath.rs"]
mod tests;
