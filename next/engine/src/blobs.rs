//! [`Blobs`]: the attachments and schemas of a session by digest. They are stored when a run is made, and put into the
//! session's folder for a worker that asks for one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use runner_model::{Digest, digest};
use runner_record::{RecordError, ResultsRoot};
use sha2::{Digest as _, Sha256};

/// The attachments and schemas of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs {
    /// The files that a scenario names; empty paths if they may be gone.
    paths: BTreeMap<Digest, PathBuf>,
    /// The results root in whose store they are.
    store: Option<ResultsRoot>,
}

impl Blobs {
    /// Contents that are in files.
    pub(crate) fn of_files(paths: BTreeMap<Digest, PathBuf>) -> Self {
        Self { paths, store: None }
    }

    /// Contents that are in the store of a results root.
    pub(crate) fn stored(root: &ResultsRoot, digests: Vec<Digest>) -> Self {
        let digests = digests.into_iter();
        Self {
            paths: digests.map(|digest| (digest, PathBuf::new())).collect(),
            store: Some(root.clone()),
        }
    }

    /// The same contents, as they are read once they are kept in the store.
    pub(crate) fn stored_in(&self, root: &ResultsRoot) -> Self {
        Self {
            paths: self.paths.clone(),
            store: Some(root.clone()),
        }
    }

    /// Tells whether a content belongs to the session.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.paths.contains_key(digest)
    }

    /// The files that they are read from, as far as they are not in the store.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.paths.values().map(PathBuf::as_path);
        files.filter(|_| self.store.is_none())
    }

    /// A digest on each line, ascending; none of no contents.
    fn list(&self) -> Option<String> {
        let digests = self.paths.keys();
        let lines: String = digests.map(|digest| format!("{digest}\n")).collect();
        (!lines.is_empty()).then_some(lines)
    }

    /// What a manifest has of them.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.list().map(|list| digest(list.as_bytes()))
    }

    /// Keeps all contents and their list in the store.
    ///
    /// # Errors
    ///
    /// A file that is not as it was when the tests were planned, or the disk.
    pub(crate) fn keep(&self, root: &ResultsRoot) -> Result<(), RecordError> {
        let paths = self.paths.iter().filter(|_| self.store.is_none());
        for (digest, path) in paths {
            let mut draft = root.draft()?;
            copy(digest, open(path)?, &mut draft).map_err(|error| cannot_copy(path, error))?;
            root.keep(draft, digest)?;
        }
        if let Some(list) = self.list() {
            root.keep_bytes(list.as_bytes())?;
        }
        Ok(())
    }

    /// Puts a content into a folder, under its digest. It is whole as soon as it has that name.
    ///
    /// # Errors
    ///
    /// A content that is gone or is not as it was, or the disk.
    pub(crate) fn put(&self, digest: &Digest, into: &Path) -> Result<(), RecordError> {
        let path = self.paths.get(digest).map_or(into, PathBuf::as_path);
        let (path, source) = match &self.store {
            Some(root) => (root.path(), root.content(digest)?),
            None => (path, open(path)?),
        };
        let place = into.join(digest.to_string());
        let mut draft =
            tempfile::NamedTempFile::new_in(into).map_err(|error| cannot_copy(into, error))?;
        copy(digest, source, draft.as_file_mut()).map_err(|error| cannot_copy(path, error))?;
        let placed = draft.persist(&place).map_err(|error| error.error);
        placed.map(drop).map_err(|error| cannot_copy(&place, error))
    }
}

fn open(path: &Path) -> Result<File, RecordError> {
    // Opening a pipe waits for its other end.
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    let opened = if is_file {
        File::open(path)
    } else {
        Err(changed())
    };
    opened.map_err(|error| cannot_copy(path, error))
}

/// Copies a content, which must be the one with this digest.
fn copy(wanted: &Digest, source: File, into: &mut File) -> io::Result<()> {
    let mut hasher = Sha256::new();
    let mut source = io::BufReader::with_capacity(256 << 10, source);
    let mut block = vec![0; 256 << 10];
    loop {
        match source.read(&mut block)? {
            0 => break,
            read => {
                hasher.update(&block[..read]);
                into.write_all(&block[..read])?;
            }
        }
    }
    let found: [u8; 32] = hasher.finalize().into();
    if found == wanted.0 {
        Ok(())
    } else {
        Err(changed())
    }
}

fn changed() -> io::Error {
    let problem = "it is not as it was when the tests were planned; start again";
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// A file that has changed is not the disk's fault.
fn cannot_copy(path: &Path, source: io::Error) -> RecordError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidData => RecordError::Foreign {
            path,
            problem: source.to_string(),
        },
        _ => RecordError::Io {
            what: "copy",
            path,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use runner_model::digest;
    use runner_record::{RecordError, ResultsRoot};

    use super::Blobs;

    #[test]
    fn changed_attachments_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "as planned").unwrap();
        let wanted = digest(b"as planned");
        let blobs = Blobs::of_files(BTreeMap::from([(wanted, path.clone())]));
        let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
        blobs.keep(&root).unwrap();
        let session = tempfile::tempdir().unwrap();
        fs::write(&path, "changed!!!").unwrap();
        for refused in [blobs.keep(&root), blobs.put(&wanted, session.path())] {
            assert!(
                matches!(refused, Err(RecordError::Foreign { .. })),
                "{refused:?}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(blobs.keep(&root).is_err());
        assert_eq!(fs::read_dir(session.path()).unwrap().count(), 0);

        // The store has it all the same.
        let stored = blobs.stored_in(&root);
        assert_eq!(stored.digest(), blobs.digest());
        stored.put(&wanted, session.path()).unwrap();
        let read = fs::read(session.path().join(wanted.to_string())).unwrap();
        assert_eq!(read, b"as planned");
        assert!(stored.has(&wanted) && !stored.has(&digest(b"other")));
    }
}
