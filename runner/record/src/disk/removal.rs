//! [`Dir::clear`] and [`Dir::size`]: removes or measures everything below a folder, at any depth. [`remove_folder`] removes the
//! folder, too.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::{io, thread, time::Duration};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::disk::beneath::{Dir, Stamp, entries};
use crate::{RecordError, disk::lock::LOCK};

/// Deepest level that is measured. The runner itself makes two.
const MEASURED_DEPTH: u32 = 64;

/// A folder on the way down to the current one.
struct Above {
    /// The folder, to recognize it on the way up.
    stamp: Stamp,
    /// The folder in it that is being emptied.
    inner: CString,
    /// The folders in it that come next.
    folders: Vec<CString>,
}

impl Dir {
    /// Removes everything below the folder, except for these names in the folder itself. An entry that cannot be removed does
    /// not keep others from being removed.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub(crate) fn clear(&self, except: &[&str]) -> Result<(), RecordError> {
        let mut failure = Ok(());
        let removed = clear(self, except, &mut failure);
        failure.and(removed).map_err(|source| self.error("remove the content of", ".", source))
    }

    /// Returns the bytes of all files below the folder that can be examined.
    pub(crate) fn size(&self) -> u64 {
        open_inner(self, c".").map_or(0, |top| size(&top, MEASURED_DEPTH))
    }
}

/// Removes everything in a folder. Holds two descriptors at any depth: the way up is `..`, whose identity is checked, because
/// another process may move folders.
fn clear(top: &Dir, except: &[&str], failure: &mut Result<(), Errno>) -> Result<(), Errno> {
    let mut current = open_inner(top, c".")?;
    let mut folders = remove_files(&current, except, failure);
    let mut above: Vec<Above> = Vec::new();
    loop {
        let Some(name) = folders.pop() else {
            let Some(parent) = above.pop() else { return Ok(()) };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            current = rustix::fs::openat(&current, c"..", flags, Mode::empty())?;
            let is_parent =
                Stamp::of(&current).is_ok_and(|stamp| stamp.is_same_file(&parent.stamp));
            if !is_parent {
                return Err(Errno::STALE);
            }
            // If an entry is left in it, an earlier failure is known.
            note(failure, remove_empty(&current, &parent.inner));
            folders = parent.folders;
            continue;
        };
        // Most folders are empty by now or contain only files.
        match remove_empty(&current, &name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            removed => {
                // A file that may not be removed was taken for a folder.
                let is_file = removed == Err(Errno::NOTDIR);
                note(failure, if is_file { Err(Errno::PERM) } else { removed });
                continue;
            }
        }
        let opened = open_inner(&current, &name)
            .and_then(|inner| Ok((inner, Stamp::of(&current).map_err(|_| Errno::IO)?)));
        match opened {
            Ok((inner, stamp)) => {
                above.push(Above { stamp, inner: name, folders });
                folders = remove_files(&inner, &[], failure);
                current = inner;
            }
            Err(source) => note(failure, Err(source)),
        }
    }
}

/// Removes everything but folders from a folder. Returns the names of the folders.
fn remove_files(
    folder: &OwnedFd,
    except: &[&str],
    failure: &mut Result<(), Errno>,
) -> Vec<CString> {
    let mut folders = Vec::new();
    let names = entries(folder, |_| true).unwrap_or_else(|source| {
        note(failure, Err(source));
        Vec::new()
    });
    for name in names {
        if name.to_str().is_ok_and(|name| except.contains(&name)) {
            continue;
        }
        match rustix::fs::unlinkat(folder, &name, AtFlags::empty()) {
            // Linux returns `EISDIR` for a folder, and POSIX specifies `EPERM`.
            Err(Errno::ISDIR | Errno::PERM) => folders.push(name),
            removed => note(failure, removed),
        }
    }
    folders
}

fn remove_empty(parent: &OwnedFd, name: &CString) -> Result<(), Errno> {
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Keeps the first failure. An entry that is missing is not one.
fn note(failure: &mut Result<(), Errno>, removed: Result<(), Errno>) {
    if failure.is_ok() && removed != Err(Errno::NOENT) {
        *failure = removed;
    }
}

fn size(folder: &OwnedFd, depth: u32) -> u64 {
    let names = entries(folder, |_| true).unwrap_or_default().into_iter();
    let sizes = names.filter_map(|name| {
        let found = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth > 0 => {
                Some(size(&open_inner(folder, &name).ok()?, depth - 1))
            }
            FileType::RegularFile => found.st_size.try_into().ok(),
            _ => None,
        }
    });
    sizes.sum()
}

/// Opens a folder in another one.
fn open_inner(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Removes the folder of a run that this process has locked. The lock goes last.
pub(crate) fn remove_folder(root: &Dir, dir: &Dir, name: &str) -> Result<(), RecordError> {
    dir.clear(&[LOCK])?;
    let mut tries = 0..100;
    loop {
        dir.remove(LOCK)?;
        match root.remove_folder(name) {
            // A process that tried to delete the folder, too, has created the lock again.
            Err(error)
                if error.kind() == Some(io::ErrorKind::DirectoryNotEmpty)
                    && tries.next().is_some() =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            removed => return removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use rustix::fs::{Mode, OFlags, mkdirat, openat};

    use crate::{disk::beneath::Dir, tests::folder};

    #[test]
    fn folders_of_any_depth_are_removed() {
        let outside = folder();
        fs::write(outside.path().join("kept"), "").unwrap();
        let top = folder();
        fs::write(top.path().join("lock"), "").unwrap();
        symlink(outside.path(), top.path().join("link")).unwrap();
        fs::create_dir_all(top.path().join("wide/a/b")).unwrap();
        let mut parent = File::open(top.path()).unwrap();
        for level in 0..3_000 {
            mkdirat(&parent, "deeper", Mode::RWXU).unwrap();
            if level % 100 == 0 {
                mkdirat(&parent, "next", Mode::RWXU).unwrap();
            }
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            parent = openat(&parent, "deeper", flags, Mode::empty()).unwrap().into();
        }
        let dir = Dir::open(top.path()).unwrap();
        dir.clear(&["lock"]).unwrap();
        assert_eq!(dir.names().unwrap(), ["lock"]);
        assert!(outside.path().join("kept").exists());
    }
}
