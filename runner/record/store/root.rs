//! [`Store`]: a results root with all its runs.

use std::{path::Path, sync::Arc};

use super::memory::RunMemory;
use crate::record::{
    disk::{
        layout::{Root, RunDir},
        lock::Lock,
        modes,
    },
    error::RecordError,
};

/// A results root with all its runs.
pub struct Store {
    pub(in crate::record) root: Root,
    /// Held if nobody else may work in this root, or to be taken once nobody does.
    pub(super) alone: Option<Arc<Lock>>,
    pub(super) is_to_be_alone: bool,
    /// What is kept of its runs from one look to the next.
    pub(super) memory: Option<Arc<RunMemory>>,
}

impl Store {
    /// Opens a results root for writing and creates it where it is missing.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        if let Err(source) = modes::create_directories(root) {
            let path = root.to_owned();
            return Err(match root.symlink_metadata() {
                Ok(_) if !root.is_dir() => RecordError::RootIsFile { path },
                _ => RecordError::CreateRoot { path, source },
            });
        }
        let store = Self {
            root: Root::new(root),
            alone: None,
            is_to_be_alone: false,
            memory: None,
        };
        store.check_writable()?;
        Ok(store)
    }

    /// Opens the results root that a run directory belongs to, for writing.
    pub(crate) fn open_around(dir: &Path) -> Result<Self, RecordError> {
        Self::open(RunDir::real(dir).root().path())
    }

    /// Opens a results root for reading; one that is missing has no runs.
    pub fn existing(root: &Path) -> Result<Self, RecordError> {
        if root.exists() && !root.is_dir() {
            return Err(RecordError::RootIsFile {
                path: root.to_owned(),
            });
        }
        Ok(Self {
            root: Root::new(root),
            alone: None,
            is_to_be_alone: false,
            memory: None,
        })
    }

    /// Opens the results root that a run directory belongs to, as [`Store::existing`] does.
    pub(crate) fn existing_around(dir: &Path) -> Result<Self, RecordError> {
        Self::existing(RunDir::real(dir).root().path())
    }

    /// Keeps in `memory` what is read of its runs, and reads nothing again that is there.
    #[must_use]
    pub(crate) fn remembering(mut self, memory: &Arc<RunMemory>) -> Self {
        self.memory = Some(Arc::clone(memory));
        self
    }

    /// The results root's directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Finds out now, and not while a run is being created.
    fn check_writable(&self) -> Result<(), RecordError> {
        let mut options = fs_err::OpenOptions::new();
        let path = self.root.lock();
        modes::set(options.append(true).create(true), &path)
            .open(&path)
            .map(drop)
            .map_err(|source| RecordError::RootNotWritable {
                path: self.root.path().to_owned(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Store;
    use crate::record::{RecordError, testing::list};

    #[test]
    fn a_root_that_cannot_be_used_is_named_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs_err::write(&file, "").unwrap();
        let error = |path: &Path| Store::open(path).err().unwrap();

        assert!(matches!(error(&file), RecordError::RootIsFile { .. }));
        assert!(matches!(
            error(&file.join("results")),
            RecordError::CreateRoot { .. }
        ));
        assert!(matches!(
            error(Path::new("/proc/results")),
            RecordError::CreateRoot { .. }
        ));
        assert!(matches!(
            error(Path::new("/proc")),
            RecordError::RootNotWritable { .. }
        ));
        assert!(matches!(
            Store::existing(&file).err().unwrap(),
            RecordError::RootIsFile { .. }
        ));
        assert_eq!(list(&directory.path().join("missing")), []);
    }
}
