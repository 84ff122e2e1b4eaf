//! [`ContentSource`]: plugins, attachments and schemas by digest. They are read where they were found, stored when a run is made,
//! and read from the store after that; none is held in memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek as _, Write},
    path::{Path, PathBuf},
};

use runner_model::Digest;
use runner_record::{RecordError, ResultsRoot};
use sha2::{Digest as _, Sha256};

/// Content by digest.
#[derive(Clone, Debug, Default)]
pub struct ContentSource {
    origins: BTreeMap<Digest, Origin>,
    /// The results root in whose store they are, or will be once the run is made.
    store: Option<ResultsRoot>,
}

/// Where a content was found.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is part of this program.
    Bundled(&'static [u8]),
    File(PathBuf),
    Store,
}

impl Origin {
    /// Opens it. Its bytes may be others than those that were found.
    pub fn open(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Bundled(bytes) => Ok(Box::new(*bytes)),
            // Opening a pipe waits for its other end.
            Self::File(path) if fs::metadata(path)?.is_file() => Ok(Box::new(File::open(path)?)),
            Self::File(_) | Self::Store => {
                let problem = "it is not a regular file";
                Err(io::Error::new(io::ErrorKind::InvalidData, problem))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Bundled(_) | Self::Store => Path::new(""),
        }
    }
}

impl ContentSource {
    pub fn new(origins: impl IntoIterator<Item = (Digest, Origin)>) -> Self {
        Self { origins: origins.into_iter().collect(), store: None }
    }

    /// Content of files.
    pub fn of_files(files: BTreeMap<Digest, PathBuf>) -> Self {
        let files = files.into_iter();
        Self::new(files.map(|(digest, path)| (digest, Origin::File(path))))
    }

    /// Content in the store of a results root.
    pub fn stored(root: &ResultsRoot, digests: impl IntoIterator<Item = Digest>) -> Self {
        let digests = digests.into_iter();
        Self::new(digests.map(|digest| (digest, Origin::Store))).stored_in(root)
    }

    /// These contents, read from a store. Those that are not kept there yet are read where they were found.
    pub fn stored_in(&self, root: &ResultsRoot) -> Self {
        Self { origins: self.origins.clone(), store: Some(root.clone()) }
    }

    /// Tells whether a content belongs to the session.
    pub fn has(&self, digest: &Digest) -> bool {
        self.origins.contains_key(digest)
    }

    /// The files that they were found in.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let paths = self.origins.values().map(Origin::path);
        paths.filter(|path| !path.as_os_str().is_empty())
    }

    /// A digest on each line, ascending; none of no contents.
    pub fn list(&self) -> Option<String> {
        let digests = self.origins.keys();
        let lines: String = digests.map(|digest| format!("{digest}\n")).collect();
        (!lines.is_empty()).then_some(lines)
    }

    /// Keeps all contents in the store.
    ///
    /// # Errors
    ///
    /// A file that is not as it was when it was found, or the disk.
    pub fn keep(&self, root: &ResultsRoot) -> Result<(), RecordError> {
        for digest in self.origins.keys() {
            let mut draft = root.draft()?;
            self.copy(digest, &mut draft)?;
            root.keep(draft, digest)?;
        }
        Ok(())
    }

    /// Puts a content into a folder, under its digest. It is whole as soon as it has that name.
    ///
    /// # Errors
    ///
    /// A content that is gone or is not as it was, or the disk.
    pub fn put(&self, digest: &Digest, into: &Path) -> Result<(), RecordError> {
        let place = into.join(digest.to_string());
        let mut draft =
            tempfile::NamedTempFile::new_in(into).map_err(|error| cannot_copy(into, error))?;
        self.copy(digest, draft.as_file_mut())?;
        let placed = draft.persist(&place).map_err(|error| error.error);
        placed.map(drop).map_err(|error| cannot_copy(&place, error))
    }

    /// A copy of a content in a file without a name.
    ///
    /// # Errors
    ///
    /// A content that is gone or is not as it was, or the disk.
    pub fn file(&self, digest: &Digest) -> Result<File, RecordError> {
        let nameless = tempfile::tempfile();
        let mut file = nameless.map_err(|error| cannot_copy(&std::env::temp_dir(), error))?;
        self.copy(digest, &mut file)?;
        Ok(file)
    }

    /// The first bytes of a content, by which a component is told from a module.
    ///
    /// # Errors
    ///
    /// A content that cannot be opened.
    pub fn head(&self, digest: &Digest) -> Result<[u8; 8], RecordError> {
        let mut head = [0; 8];
        let (path, mut source) = self.open(digest)?;
        let read = source.read_exact(&mut head);
        read.map(|()| head).map_err(|error| cannot_copy(path, error))
    }

    fn copy(&self, digest: &Digest, into: &mut File) -> Result<(), RecordError> {
        let (path, source) = self.open(digest)?;
        let copied = copy(source, into);
        match copied.map_err(|error| cannot_copy(path, error))? {
            (found, _) if found == *digest => Ok(()),
            _ => {
                let problem = "it is not as it was when the tests were planned; start again";
                let changed = io::Error::new(io::ErrorKind::InvalidData, problem);
                Err(cannot_copy(path, changed))
            }
        }
    }

    /// Opens a content, with its path for messages.
    fn open(&self, digest: &Digest) -> Result<(&Path, Box<dyn Read>), RecordError> {
        let origin = self.origins.get(digest).unwrap_or(&Origin::Store);
        if let Some(root) = &self.store {
            match (root.content(digest), origin) {
                (Ok(file), _) => return Ok((root.path(), Box::new(file))),
                (Err(error), Origin::Store) => return Err(error),
                // It is not kept yet.
                (Err(_), Origin::Bundled(_) | Origin::File(_)) => {}
            }
        }
        let path = origin.path();
        let source = origin.open().map_err(|error| cannot_copy(path, error))?;
        Ok((path, source))
    }
}

/// Copies a content to the end of a file, and gives its digest and how many bytes it has. The file is at its start then.
pub fn copy(mut source: impl Read, into: &mut File) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut block = vec![0; 256 << 10];
    loop {
        match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&block[..read]);
                into.write_all(&block[..read])?;
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    into.rewind()?;
    Ok((Digest(hasher.finalize().into()), bytes))
}

/// A file that has changed is not the disk's fault.
fn cannot_copy(path: &Path, source: io::Error) -> RecordError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidData => RecordError::Foreign { path, problem: source.to_string() },
        _ => RecordError::Io { what: "copy", path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use runner_model::digest;
    use runner_record::{RecordError, ResultsRoot};

    use super::{ContentSource, Origin};

    #[test]
    fn changed_attachments_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "as planned").unwrap();
        let wanted = digest(b"as planned");
        let blobs = ContentSource::new([(wanted, Origin::File(path.clone()))]);
        let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
        blobs.keep(&root).unwrap();
        let session = tempfile::tempdir().unwrap();
        fs::write(&path, "changed!!!").unwrap();
        for refused in [blobs.keep(&root), blobs.put(&wanted, session.path())] {
            assert!(matches!(refused, Err(RecordError::Foreign { .. })), "{refused:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(blobs.keep(&root).is_err());
        assert_eq!(fs::read_dir(session.path()).unwrap().count(), 0);

        // The store has it all the same.
        let stored = blobs.stored_in(&root);
        assert_eq!(stored.list(), blobs.list());
        stored.put(&wanted, session.path()).unwrap();
        let read = fs::read(session.path().join(wanted.to_string())).unwrap();
        assert_eq!(read, b"as planned");
        assert!(stored.has(&wanted) && !stored.has(&digest(b"other")));
    }
}
