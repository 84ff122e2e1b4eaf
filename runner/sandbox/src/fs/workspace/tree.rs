//! [`Tree`]: the folder of one attempt's workspace on the host.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use runner_files::open_folder;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, linkat, mkdirat, openat, openat2, renameat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::base::{Base, BaseEntry, Overlay, PERMISSIONS, create_file};
use crate::fs::system::path_of;

/// The folder of the workspace in the attempt's private folder.
const ROOT: &str = "workspace";
/// The folder for copies of files that get a name in the workspace when they are whole.
const COPIES: &str = "copies";

/// The folder of one attempt's workspace.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) base: Arc<Base>,
    root: OwnedFd,
    /// The path of `root`, without links.
    path: PathBuf,
    pub(super) copies: OwnedFd,
    /// Paths of the files of a grader, which no tool that it calls may see.
    pub(super) hidden: Vec<String>,
}

/// A file of the base whose link in the workspace becomes a file of its own.
pub(super) struct OwnFile {
    pub(super) tree: Arc<Tree>,
    /// The file's number in the base.
    pub(super) number: u32,
    /// Name of the new file until it has its place.
    pub(super) name: u32,
    /// Path in the workspace. `None` if an open file has lost its name.
    pub(super) path: Option<String>,
    /// Whether the guest has ended, so that the file no longer takes its place.
    pub(super) is_over: Arc<Mutex<bool>>,
}

impl Tree {
    /// Creates the folders in `private`, the attempt's private folder, and in them the folders and
    /// links of `base`, with the changes of `overlay`. `check` is called for each folder. Blocks.
    pub(crate) fn create(
        private: &Path,
        base: Option<Arc<Base>>,
        overlay: Option<&Overlay>,
        check: impl Fn() -> wasmtime::Result<()>,
    ) -> wasmtime::Result<Self> {
        let [root, copies] = [ROOT, COPIES].map(|name| {
            mkdirat(CWD, private.join(name), Mode::RWXU)?;
            open_folder(CWD, private.join(name))
        });
        let (root, copies) = (root?, copies?);
        let base = match base {
            Some(base) => base,
            None => Arc::new(Base::empty(open_folder(&copies, ".")?)?),
        };
        let path = path_of(&root).ok_or(Errno::NAMETOOLONG)?;
        let hidden = overlay.map(|overlay| overlay.replaced.clone()).unwrap_or_default();
        let tree = Self { base, root, path, copies, hidden };
        for folder in &tree.base.folders {
            check()?;
            let opened = tree.open(&folder.path, OFlags::DIRECTORY)?;
            for (name, entry) in &folder.entries {
                match entry {
                    BaseEntry::Folder(_) => mkdirat(&opened, name, Mode::RWXU),
                    BaseEntry::Link(target) => symlinkat(target, &opened, name),
                    BaseEntry::File(number) => {
                        let number = number.to_string();
                        linkat(tree.base.files(), number, &opened, name, AtFlags::empty())
                    }
                }?;
            }
        }
        if let Some(overlay) = overlay {
            tree.apply(overlay, check)?;
        }
        Ok(tree)
    }

    /// Returns the path on the host.
    pub(crate) fn host(private: &Path) -> PathBuf {
        private.join(ROOT)
    }

    /// Opens a file or folder in the workspace for reading, without following links.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> io::Result<File> {
        let mut flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A pipe that took the place of a file would block. `openat2` refuses the two flags together.
        flags.set(OFlags::NONBLOCK, !flags.contains(OFlags::PATH));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.root, path, flags, Mode::empty(), resolve)?.into())
    }

    /// Returns whether an open folder is in the workspace. `None` if the system does not return its
    /// path.
    pub(super) fn contains(&self, folder: impl AsFd) -> Option<bool> {
        Some(path_of(&folder)?.starts_with(&self.path))
    }

    /// Returns the path in the workspace of an open file. `None` if it is elsewhere, or if the system
    /// does not return its path.
    pub(super) fn path_in(&self, file: impl AsFd) -> Option<String> {
        let path = path_of(&file)?;
        Some(path.strip_prefix(&self.path).ok()?.to_str()?.to_owned())
    }

    /// Returns the number of the base's file at a path in the workspace.
    pub(super) fn number_at(&self, path: &str) -> Option<u32> {
        self.number_of(self.open(path, OFlags::PATH).ok()?)
    }

    /// Returns the path on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the base's file that `file` is.
    pub(crate) fn number_of(&self, file: impl AsFd) -> Option<u32> {
        let found = fstat(file).ok()?;
        self.base.number(found.st_dev, found.st_ino)
    }
}

impl OwnFile {
    /// Creates the file, and gives it the place of the link to the base. Returns it, open for
    /// reading. Blocks.
    pub(super) fn create(&self) -> io::Result<File> {
        let copies = &self.tree.copies;
        let name = self.name.to_string();
        let created = self.copy().and_then(|()| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(copies, &*name, flags, Mode::empty())?;
            if let Some(path) = &self.path {
                // Held during the renaming, so that nothing changes once the guest is known to have ended.
                let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
                if *is_over {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let (parent, last) = path.rsplit_once('/').unwrap_or((".", path));
                renameat(copies, &*name, self.tree.open(parent, OFlags::DIRECTORY)?, last)?;
            }
            Ok(file.into())
        });
        if created.is_err() || self.path.is_none() {
            let _ = unlinkat(copies, &*name, AtFlags::empty());
        }
        created
    }

    fn copy(&self) -> io::Result<()> {
        let Tree { base, copies, .. } = &*self.tree;
        let mut from = base.open(self.number)?;
        let mode = fstat(&from)?.st_mode & PERMISSIONS;
        let mut copy = create_file(copies.as_fd(), self.name, mode)?;
        io::copy(&mut from, &mut copy)?;
        copy.set_times(FileTimes::new().set_accessed(base.time).set_modified(base.time))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::{Arc, Mutex};

    use runner_model::digest;
    use runner_model::workspace::{EntryKind, TreeEntry};

    use super::{Base, OwnFile, Tree};

    /// The worker's copy of the base is not counted.
    #[test]
    fn workspace_takes_room_for_changed_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let content = vec![b'x'; 1 << 20];
        fs::write(path("blob"), &content).unwrap();
        let names = ["a", "b", "c"];
        let entries = names.map(|name| TreeEntry {
            path: name.into(),
            kind: EntryKind::File,
            mode: 0o644,
            bytes: 1 << 20,
            sha256: Some(digest(&content)),
            target: None,
        });
        let base = Arc::new(Base::copy(&entries, &path("base"), |_| path("blob")).unwrap());
        fs::create_dir(path("private")).unwrap();
        let tree = Tree::create(&path("private"), Some(base), None, || Ok(())).unwrap();
        let tree = Arc::new(tree);
        let taken = || {
            let files = names.map(|name| fs::metadata(tree.path().join(name)).unwrap());
            let own = files.iter().filter(|file| file.nlink() == 1);
            own.map(|file| file.blocks() * 512).sum::<u64>()
        };
        assert_eq!(taken(), 0);
        let own = OwnFile {
            tree: Arc::clone(&tree),
            number: tree.number_at("b").unwrap(),
            name: 0,
            path: Some("b".to_owned()),
            is_over: Arc::default(),
        };
        own.create().unwrap();
        let bytes = taken();
        assert!((1 << 20..=(1 << 20) + 4096).contains(&bytes), "{bytes}");
    }

    #[test]
    fn copy_of_an_ended_guest_takes_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("blob"), "one").unwrap();
        let entry = TreeEntry {
            path: "a".into(),
            kind: EntryKind::File,
            mode: 0o644,
            bytes: 3,
            sha256: Some(digest(b"one")),
            target: None,
        };
        let base = Base::copy(&[entry], &path("base"), |_| path("blob")).unwrap();
        fs::create_dir(path("private")).unwrap();
        let tree = Tree::create(&path("private"), Some(Arc::new(base)), None, || Ok(())).unwrap();
        let tree = Arc::new(tree);
        let number = tree.number_at("a").unwrap();
        let own = |is_over| OwnFile {
            tree: Arc::clone(&tree),
            number,
            name: 0,
            path: Some("a".to_owned()),
            is_over: Arc::new(Mutex::new(is_over)),
        };
        own(true).create().unwrap_err();
        assert_eq!(tree.number_at("a"), Some(number));
        own(false).create().unwrap();
        assert_eq!(tree.number_at("a"), None);
    }
}
