//! A loss of power: takes away from a results root whatever is not known to be on disk.
//!
//! What is known is the shadow that `runner/record/failpoint/shadow.rs` keeps: of each file its bytes at its last sync, of
//! each directory its names at its last sync. A file whose name is on disk and whose bytes never were comes back empty.

use std::{
    collections::BTreeMap, fmt::Write as _, os::unix::fs::MetadataExt as _, path::Path,
    path::PathBuf,
};

use tempfile::TempDir;

/// What is on disk of a results root.
pub(crate) struct Power {
    shadow: TempDir,
}

impl Power {
    /// Takes everything that is in the root now as being on disk.
    pub(crate) fn of(root: &Path) -> Self {
        let power = Self {
            shadow: tempfile::tempdir().unwrap(),
        };
        for kind in ["files", "directories"] {
            fs_err::create_dir(power.shadow.path().join(kind)).unwrap();
        }
        if root.exists() {
            power.know(root);
        }
        power
    }

    /// What arms a process to keep the shadow; `failpoint` may be empty.
    pub(crate) fn armed(&self, failpoint: &str) -> String {
        let shadow = format!("shadow={}", self.shadow.path().display());
        match failpoint {
            "" => shadow,
            failpoint => format!("{failpoint},{shadow}"),
        }
    }

    /// Takes away what is not on disk.
    pub(crate) fn lose(&self, root: &Path) {
        let known = self.read("directories", inode(root)).unwrap_or_default();
        let known = String::from_utf8(known).unwrap();
        let mut names: BTreeMap<&str, u64> = known
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(inode, name)| (name, inode.parse().unwrap()))
            .collect();
        for path in children(root) {
            let expected = names.remove(path.file_name().unwrap().to_str().unwrap());
            match expected {
                Some(expected) if path.is_dir() && expected == inode(&path) => self.lose(&path),
                Some(expected) if path.is_file() => self.bring_back(&path, expected),
                _ if path.is_dir() => fs_err::remove_dir_all(&path).unwrap(),
                _ => fs_err::remove_file(&path).unwrap(),
            }
        }
        // What was removed, and whose removal is not on disk.
        for (name, inode) in names {
            self.bring_back(&root.join(name), inode);
        }
    }

    fn bring_back(&self, path: &Path, inode: u64) {
        let bytes = self.read("files", inode).unwrap_or_default();
        if fs_err::read(path).is_ok_and(|now| now == bytes) {
            return;
        }
        fs_err::write(path, bytes).unwrap();
    }

    fn know(&self, path: &Path) {
        if path.is_dir() {
            let mut names = String::new();
            for child in children(path) {
                let name = child.file_name().unwrap().to_str().unwrap();
                writeln!(names, "{} {name}", inode(&child)).unwrap();
                self.know(&child);
            }
            self.keep("directories", inode(path), names.as_bytes());
        } else if path.is_file() {
            self.keep("files", inode(path), &fs_err::read(path).unwrap());
        }
    }

    fn keep(&self, kind: &str, inode: u64, bytes: &[u8]) {
        let path = self.shadow.path().join(kind).join(inode.to_string());
        fs_err::write(path, bytes).unwrap();
    }

    fn read(&self, kind: &str, inode: u64) -> Option<Vec<u8>> {
        std::fs::read(self.shadow.path().join(kind).join(inode.to_string())).ok()
    }
}

fn inode(path: &Path) -> u64 {
    fs_err::metadata(path).unwrap().ino()
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
