//! [`empty`]: removes everything in a folder, of any depth and width.

use std::os::fd::{AsFd, BorrowedFd};
use std::{ffi::CString, io};

use rustix::fs::{AtFlags, Dir, fstat, unlinkat};
use rustix::io::Errno;

use super::system::open_folder;

/// Folders that are noted before their parent is read again. Reading starts again each time, and
/// passes over more and more entries that are removed already.
const NOTED_AT_ONCE: usize = 256;
/// Names that are noted in all, of at most 255 bytes each. Beyond that, one at a time.
const MAX_NOTED: usize = 16 * 1024;

/// A folder on the way down to the current one.
struct Above {
    /// Device and inode number, to recognize it on the way up.
    identity: (u64, u64),
    /// The folder in it that is being emptied.
    inner: CString,
    /// The folders in it that come next.
    noted: Vec<CString>,
}

/// Removes everything in `top` without following links.
///
/// `remove_dir_all` holds a descriptor for each level. This holds at most three. The way up is
/// `..`, whose identity is checked: a host call that outlived the guest may still move a folder
/// elsewhere.
pub(super) fn empty(top: BorrowedFd<'_>) -> io::Result<()> {
    let mut current = open_folder(top, c".")?;
    let mut above: Vec<Above> = Vec::new();
    let mut noted_above = 0;
    let mut noted = Vec::new();
    loop {
        if noted.is_empty() {
            let most = NOTED_AT_ONCE.min(MAX_NOTED.saturating_sub(noted_above));
            noted = remove_files(current.as_fd(), most.max(1))?;
        }
        // Most folders contain only files, or nothing.
        while let Some(name) = noted.last() {
            match unlinkat(&current, name.as_c_str(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => noted.pop(),
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(error) => return Err(error.into()),
            };
        }
        if let Some(inner) = noted.pop() {
            let opened = open_folder(&current, &*inner)?;
            noted_above += noted.len();
            above.push(Above { identity: identity(current.as_fd())?, inner, noted });
            noted = Vec::new();
            current = opened;
            continue;
        }
        if !is_empty(current.as_fd())? {
            continue;
        }
        let Some(parent) = above.pop() else {
            return Ok(());
        };
        current = open_folder(&current, c"..")?;
        if identity(current.as_fd())? != parent.identity {
            return Err(io::Error::other("a folder was moved while it was removed"));
        }
        match unlinkat(&current, parent.inner.as_c_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        noted = parent.noted;
        noted_above -= noted.len();
    }
}

/// Removes everything but folders from a folder, until it has found `most` folders. Returns their
/// names.
fn remove_files(folder: BorrowedFd<'_>, most: usize) -> io::Result<Vec<CString>> {
    let mut folders = Vec::new();
    let mut dir = Dir::read_from(folder)?;
    while folders.len() < most
        && let Some(entry) = dir.read()
    {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type().is_dir() {
            folders.push(name.to_owned());
            continue;
        }
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Some file systems do not report the kind before.
            Err(Errno::ISDIR | Errno::PERM) => folders.push(name.to_owned()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(folders)
}

fn is_empty(folder: BorrowedFd<'_>) -> io::Result<bool> {
    let mut dir = Dir::read_from(folder)?;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn identity(folder: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let found = fstat(folder)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::{fd::AsFd as _, unix::fs::symlink};

    use rustix::fs::{Mode, OFlags, mkdirat, openat};

    use super::empty;

    #[test]
    fn deep_and_wide_folders_are_emptied() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        // Some disks take milliseconds to remove a folder.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let path = |name: &str| folder.path().join(name);
        for (folder, name) in (0..900).map(|index| (index % 300, index)) {
            fs::create_dir_all(path(&format!("wide/{folder}/{name}/x"))).unwrap();
            fs::write(path(&format!("wide/{folder}/{name}/file")), "").unwrap();
        }
        symlink(outside.path(), path("link")).unwrap();
        symlink(outside.path(), path("wide/link")).unwrap();
        let top = File::open(folder.path()).unwrap();
        let mut parent = top.try_clone().unwrap();
        for level in 0..4_000 {
            mkdirat(&parent, "deeper", Mode::RWXU).unwrap();
            if level % 100 == 0 {
                mkdirat(&parent, "beside", Mode::RWXU).unwrap();
            }
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            parent = openat(&parent, "deeper", flags, Mode::empty()).unwrap().into();
        }

        empty(top.as_fd()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }
}
