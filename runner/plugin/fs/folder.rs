//! [`Folder`]: a private folder that is gone when it is dropped, whatever a guest made of it.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use fs_err as fs;

const PREFIX: &str = "runner-";
/// Only for whoever runs the runner.
const MODE: u32 = 0o700;
/// How often removing begins again: a call of the guest that outlived it may still make something.
const TRIES: u32 = 5;

/// A private folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder in `root`.
    pub(super) fn new_in(root: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(MODE))
            .tempdir_in(root)?;
        Ok(Self(folder.keep()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = (0..TRIES).map(|_| remove(&self.0)).find(Result::is_ok);
        if removed.is_none() {
            tracing::warn!("cannot remove `{}`", self.0.display());
        }
    }
}

/// Removes a folder and all that is in it, following no links.
///
/// Not `remove_dir_all`: that holds a descriptor for each level, and a guest makes as many levels as it likes.
/// Folders are moved up instead until none is deeper than two levels.
fn remove(top: &Path) -> io::Result<()> {
    let mut moved: u64 = 0;
    loop {
        let mut is_flat = true;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
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

    use super::Folder;

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
