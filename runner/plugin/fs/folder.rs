//! [`Folder`]: a private folder that is gone when it is dropped, whatever a guest made of it.
//!
//! Whoever made it holds a lock on a file in it; so what a dead process has left is told from what is in use.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use fs_err as fs;

const PREFIX: &str = "runner-";
/// Only for whoever runs the runner.
const MODE: u32 = 0o700;
/// How often removing begins again: a call of the guest that outlived it may still make something.
const TRIES: u32 = 5;

/// A file in each that is locked for as long as the folder is in use. Guests see only folders beside it.
const LOCK: &str = "lock";
/// What it is called until it is locked.
const UNLOCKED: &str = "lock.new";

/// A private folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: fs::File,
}

impl Folder {
    /// Makes an empty folder in `root`.
    pub(super) fn new_in(root: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(root)?;
        let lock = fs::File::create_new(folder.path().join(UNLOCKED))?;
        // Where there are no locks it stays there if this process dies.
        if lock.try_lock().is_ok() {
            fs::rename(lock.path(), folder.path().join(LOCK))?;
        }
        Ok(Self {
            path: folder.keep(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = (0..TRIES).map(|_| remove(&self.path)).find(Result::is_ok);
        if removed.is_none() {
            tracing::warn!("cannot remove `{}`", self.path.display());
        }
    }
}

/// Removes the folders in `root` that processes of this user have left there when they died.
///
/// What cannot be removed stays; that is said in the log and is no error.
pub fn sweep_folders(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && let Err(error) = remove_dead(&entry.path()) {
            tracing::debug!("cannot remove `{}`: {error}", entry.path().display());
        }
    }
}

/// Removes a folder of this user's whose lock nobody holds.
fn remove_dead(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let lock = fs::File::open(folder.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => remove(folder),
        Err(error) => Err(error.into()),
    }
}

/// Removes a folder and all that is in it, following no links, and its lock as the last.
///
/// Not `remove_dir_all`: that holds a descriptor for each level, and a guest makes as many levels as it likes.
/// Folders are moved up instead until none is deeper than two levels.
fn remove(top: &Path) -> io::Result<()> {
    let mut moved: u64 = 0;
    loop {
        let mut is_flat = true;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            if entry.file_name() == LOCK && entry.file_type()?.is_file() {
                continue;
            }
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    is_flat = false;
                    fs::rename(inner.path(), unused(top, &mut moved))?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if is_flat {
            // It is not there where it could not be locked.
            let _ = fs::remove_file(top.join(LOCK));
            return fs::remove_dir(top);
        }
    }
}

/// A name in `top` that nothing has.
fn unused(top: &Path, count: &mut u64) -> PathBuf {
    loop {
        *count += 1;
        let path = top.join(count.to_string());
        if path.symlink_metadata().is_err() {
            return path;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use fs_err as fs;

    use super::{Folder, LOCK, sweep_folders};

    #[test]
    fn what_a_dead_process_has_left_is_swept_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let used = Folder::new_in(root.path()).unwrap();
        let path = |name: &str| root.path().join(name);
        // Of a process that died, that died before it had a lock, and of somebody else's making.
        for (folder, file) in [
            ("runner-dead", LOCK),
            ("runner-new", "lock.new"),
            ("runners", LOCK),
        ] {
            fs::create_dir_all(path(folder).join("scratch/deep")).unwrap();
            fs::write(path(folder).join(file), "").unwrap();
        }
        symlink("runners", path("runner-link")).unwrap();

        sweep_folders(root.path());
        assert!(used.path().join(LOCK).exists());
        assert!(!path("runner-dead").exists());
        assert!(path("runner-new/lock.new").exists());
        assert!(path("runners/lock").exists());
        assert!(path("runner-link").exists());
        sweep_folders(&path("nowhere"));
    }

    #[test]
    fn a_folder_is_private_and_gone_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();

        let folder = Folder::new_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::create_dir_all(path.join("a/b/c/d")).unwrap();
        // Names that moved folders would get.
        for name in ["1", "a/1", "a/b/2", "a/b/c/d/3"] {
            fs::write(path.join(name), "x").unwrap();
        }
        fs::create_dir_all(path.join("2/2/2")).unwrap();
        symlink(&outside, path.join("a/b/link")).unwrap();
        symlink(&outside, path.join("link")).unwrap();

        drop(folder);
        assert!(!path.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_folder_deeper_than_any_path_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        let mut parent = fs::File::open(&path).unwrap().into_parts().0;
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&parent, "deeper", rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let inner =
                rustix::fs::openat(&parent, "deeper", flags, rustix::fs::Mode::empty()).unwrap();
            parent = inner.into();
        }
        drop(folder);
        assert!(!path.exists());
    }
}
