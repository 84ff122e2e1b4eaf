//! Opens folders and regular files, and nothing else.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::{io::Errno, path::Arg};

/// Opens a folder in another one. Fails if the last part of `path` is a symbolic link.
pub fn open_folder(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Opens a regular file for reading. Follows symbolic links.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] for another kind of file. A pipe does not block.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(CWD, path, OFlags::empty()).map(|(file, _)| file)
}

/// Opens a regular file in a folder for reading, and returns its attributes, too. Fails if the last part of `path` is a symbolic
/// link.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] for another kind of file. A pipe does not block.
pub fn open_regular_at(folder: impl AsFd, path: impl Arg) -> io::Result<(File, Stat)> {
    open(folder, path, OFlags::NOFOLLOW)
}

fn open(at: impl AsFd, path: impl Arg, flags: OFlags) -> io::Result<(File, Stat)> {
    let is_another_kind = || io::Error::new(ErrorKind::InvalidData, "it is not a regular file");
    // Without `NONBLOCK`, opening a pipe waits for a writer. Without `NOCTTY`, a terminal could send signals to this process.
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(at, path, flags, Mode::empty()) {
        // A socket, or a device without a driver.
        Err(Errno::NXIO) => return Err(is_another_kind()),
        opened => File::from(opened?),
    };
    // The open file counts: before that, another one may take its place.
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode).is_file() {
        Ok((file, found))
    } else {
        Err(is_another_kind())
    }
}

/// Returns the device and inode number of an open folder.
pub(crate) fn identity(folder: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let found = fstat(folder)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::{fs::symlink, net::UnixListener};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{open_folder, open_regular, open_regular_at};

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "x").unwrap();
        fs::create_dir(path("folder")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink("/dev/null", path("device")).unwrap();
        symlink("file", path("link")).unwrap();
        let opened = open_folder(CWD, folder.path()).unwrap();

        assert_eq!(open_regular_at(&opened, "file").unwrap().1.st_size, 1);
        open_regular(&path("file")).unwrap();
        for name in ["folder", "pipe", "socket"] {
            let refused = open_regular_at(&opened, name).map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData, "{name}: {refused}");
        }
        assert_eq!(open_regular(&path("device")).unwrap_err().kind(), ErrorKind::InvalidData);
        open_regular(&path("link")).unwrap();
        open_regular_at(&opened, "link").unwrap_err();
    }
}
