//! [`empty`]: removes everything in a folder, of any depth and width.

use std::os::fd::{AsFd, OwnedFd};
use std::{ffi::CString, io, mem};

use rustix::fs::{AtFlags, Dir, unlinkat};
use rustix::io::Errno;

use crate::open::{identity, open_folder};

/// Folders that are noted before their parent is read again. Reading starts again each time, and passes over more and more
/// entries that are removed already.
const NOTED_AT_ONCE: usize = 256;
/// Maximum number of noted names in all folders, of at most 255 bytes each. Then a folder notes one name at a time.
const MAX_NOTED: usize = 16 * 1024;

/// A folder that is being emptied, or is on the way down to it.
#[derive(Default)]
struct Level {
    /// Device and inode number, to recognize it on the way up.
    identity: (u64, u64),
    /// The folder in it that is being emptied.
    inner: CString,
    /// The folders in it that come next.
    noted: Vec<CString>,
    is_read: bool,
    /// Whether there are more entries than were noted.
    is_partial: bool,
    /// Whether an entry was removed since the last reading started.
    has_removed: bool,
    has_failed: bool,
}

/// Removes everything below `top`, except for these names in the folder itself, without following links. An entry that cannot be
/// removed does not keep others from being removed. Entries that another process creates meanwhile may stay. While one creates
/// entries faster than they are removed, this does not end: the list of a folder may have no end then.
///
/// `remove_dir_all` holds a descriptor for each level. This holds at most three. The way up is `..`, whose identity is checked:
/// another process may move a folder elsewhere.
///
/// # Errors
///
/// The first failure. A new entry in `top` is not one, and a new entry in a folder below it may be one.
pub fn empty(top: impl AsFd, except: &[&str]) -> io::Result<()> {
    let mut failure = Ok(());
    let mut current = open_folder(top, c".")?;
    let mut noted_above = 0;
    let mut above: Vec<Level> = Vec::new();
    let mut level = Level::default();
    loop {
        if !level.is_read {
            let most = NOTED_AT_ONCE.min(MAX_NOTED.saturating_sub(noted_above)).max(1);
            let except = if above.is_empty() { except } else { &[] };
            level.read(&current, except, most, &mut failure);
        }
        if let Some(name) = level.noted.pop() {
            // Most folders contain only files, or nothing.
            let removed = match unlinkat(&current, &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => match open_folder(&current, &name) {
                    Ok(inner) => {
                        level.identity = identity(&current)?;
                        (current, level.inner) = (inner, name);
                        noted_above += level.noted.len();
                        above.push(mem::take(&mut level));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                // A file that may not be removed was taken for a folder.
                Err(Errno::NOTDIR) => Err(Errno::PERM),
                removed => removed,
            };
            level.note(removed, &mut failure);
            continue;
        }
        // An entry may be new, or was not noted. After a failure, only the second is worth another reading.
        if level.has_removed && (level.is_partial || !level.has_failed) {
            level.is_read = false;
            continue;
        }
        let Some(parent) = above.pop() else { return failure.map_err(io::Error::from) };
        current = open_folder(&current, c"..")?;
        if identity(&current)? != parent.identity {
            return Err(io::Error::other("a folder was moved while it was removed"));
        }
        level = parent;
        noted_above -= level.noted.len();
        // If an entry is left in it, an earlier failure is known.
        let removed = unlinkat(&current, &level.inner, AtFlags::REMOVEDIR);
        level.note(removed, &mut failure);
    }
}

impl Level {
    /// Removes everything but folders, until `most` folders are noted.
    fn read(
        &mut self,
        folder: &OwnedFd,
        except: &[&str],
        most: usize,
        failure: &mut Result<(), Errno>,
    ) {
        (self.is_read, self.is_partial, self.has_removed) = (true, false, false);
        let entries = Dir::read_from(folder).and_then(|mut dir| {
            while let Some(entry) = dir.read() {
                let entry = entry?;
                let name = entry.file_name();
                let is_kept = name.to_str().is_ok_and(|name| except.contains(&name));
                if is_kept || [c".", c".."].contains(&name) {
                    continue;
                }
                if self.noted.len() == most {
                    self.is_partial = true;
                    break;
                }
                if entry.file_type().is_dir() {
                    self.noted.push(name.to_owned());
                    continue;
                }
                match unlinkat(folder, name, AtFlags::empty()) {
                    // Some file systems do not report the kind before. Linux returns `EISDIR` for a folder, and POSIX specifies
                    // `EPERM`.
                    Err(Errno::ISDIR | Errno::PERM) => self.noted.push(name.to_owned()),
                    removed => self.note(removed, failure),
                }
            }
            Ok(())
        });
        if entries.is_err() {
            self.note(entries, failure);
        }
    }

    /// Notes the removal of an entry, and keeps the first failure. An entry that is missing is not one.
    fn note(&mut self, removed: Result<(), Errno>, failure: &mut Result<(), Errno>) {
        match removed {
            Ok(()) | Err(Errno::NOENT) => self.has_removed = true,
            Err(_) => {
                self.has_failed = true;
                *failure = failure.and(removed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::thread;

    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    use rustix::process::Uid;
    use rustix::thread::set_thread_uid;

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
        fs::write(path("lock"), "").unwrap();
        fs::write(path("wide/lock"), "").unwrap();
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

        empty(&top, &["lock"]).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        empty(&top, &[]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn kept_entry_keeps_no_other_one() {
        let removal = thread::spawn(|| {
            // Root removes everything. Without this right, the user is not root.
            let _ = set_thread_uid(Uid::from_raw(65_534));
            let folder = tempfile::tempdir().unwrap();
            for name in ["a", "b/kept", "c"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
                fs::write(folder.path().join(name).join("file"), "").unwrap();
            }
            let kept = folder.path().join("b/kept");
            fs::set_permissions(&kept, Permissions::from_mode(0o500)).unwrap();
            empty(File::open(folder.path()).unwrap(), &[]).unwrap_err();
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
            assert!(kept.join("file").exists() && left.len() == 1, "{left:?}");
            fs::set_permissions(&kept, Permissions::from_mode(0o700)).unwrap();
            empty(File::open(folder.path()).unwrap(), &[]).unwrap();
        });
        removal.join().unwrap();
    }
}
