//! [`ContentSource`]: plugins, attachments, schemas and bases by digest. They are read from their files until they are in the
//! store of a results root. Only the lists of the files of bases are held in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};
use std::path::Path;
use std::sync::Arc;

use runner_files::{hash, open_regular};
use runner_model::{Digest, provider::ProviderFile};
use runner_record::{RecordError, ResultsRoot};
use runner_scenario::{Suite, SuiteFile};

/// Reads content by digest.
#[derive(Clone, Debug, Default)]
pub struct ContentSource {
    // A base has up to 100,000 contents, and each copy for a worker needs a clone.
    origins: Arc<BTreeMap<Digest, Origin>>,
    /// Results root whose store is read first.
    store: Option<ResultsRoot>,
}

/// The original place of content.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Part of this program.
    Bundled(&'static [u8]),
    Bytes(Arc<[u8]>),
    File(SuiteFile),
    Store,
}

impl Origin {
    /// Opens the content. A file may have changed, so the caller must check the digest.
    pub fn open(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Bundled(bytes) => Ok(Box::new(*bytes)),
            Self::Bytes(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            // Without a bound, a file that became longer could fill the disk that it is copied to.
            Self::File(SuiteFile { path, bytes }) => {
                Ok(Box::new(open_regular(path)?.take(bytes.saturating_add(1))))
            }
            Self::Store => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(SuiteFile { path, .. }) => path,
            Self::Bundled(_) | Self::Bytes(_) | Self::Store => Path::new(""),
        }
    }
}

impl ContentSource {
    pub fn new(origins: impl IntoIterator<Item = (Digest, Origin)>) -> Self {
        Self { origins: Arc::new(origins.into_iter().collect()), store: None }
    }

    /// Creates a source of the attachments, schemas and bases of a suite.
    pub fn of_suite(suite: &Suite) -> Self {
        let files = suite.bases().values().flat_map(|base| base.files.iter());
        let files = files.map(|(digest, file)| (digest, file)).chain(suite.blobs());
        let files = files.map(|(digest, file)| (*digest, Origin::File(file.clone())));
        let bases = suite.bases().iter();
        let bases = bases.map(|(digest, base)| (*digest, Origin::Bytes(Arc::clone(&base.lines))));
        Self::new(files.chain(bases))
    }

    /// Creates a source of the files of providers of a scenario in `folder`.
    pub fn from_files<'f>(
        files: impl IntoIterator<Item = &'f ProviderFile>,
        folder: &Path,
    ) -> Self {
        Self::new(files.into_iter().map(|file| {
            let path = folder.join(&file.path);
            (file.sha256, Origin::File(SuiteFile { path, bytes: file.bytes }))
        }))
    }

    /// Creates a source of content in the store of a results root.
    pub fn stored(root: &ResultsRoot, digests: impl IntoIterator<Item = Digest>) -> Self {
        Self::new(digests.into_iter().map(|digest| (digest, Origin::Store))).stored_in(root)
    }

    /// Returns this source, reading from a store first. Content that is not stored yet is read from its origin.
    pub fn stored_in(&self, root: &ResultsRoot) -> Self {
        Self { origins: Arc::clone(&self.origins), store: Some(root.clone()) }
    }

    /// Adds the content of another source.
    pub fn extend(&mut self, other: &Self) {
        let others = other.origins.iter().map(|(digest, from)| (*digest, from.clone()));
        Arc::make_mut(&mut self.origins).extend(others);
        self.store = self.store.take().or_else(|| other.store.clone());
    }

    /// Returns the number of contents.
    pub fn count(&self) -> usize {
        self.origins.len()
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.origins.contains_key(digest)
    }

    /// Returns the paths of all original files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.origins.values().map(Origin::path).filter(|path| !path.as_os_str().is_empty())
    }

    /// Returns all digests in ascending order, one per line. `None` without digests.
    pub fn list(&self) -> Option<String> {
        let lines: String = self.origins.keys().map(|digest| format!("{digest}\n")).collect();
        (!lines.is_empty()).then_some(lines)
    }

    /// Copies all content into the store of a results root, unless it is there.
    ///
    /// # Errors
    ///
    /// A file has changed, or the disk fails.
    pub fn keep(&self, root: &ResultsRoot) -> Result<(), RecordError> {
        for digest in self.origins.keys() {
            if !root.keep_existing(digest)? {
                let mut draft = root.draft()?;
                self.copy(digest, &mut draft, root.path())?;
                root.keep(draft, digest)?;
            }
        }
        Ok(())
    }

    /// Copies content into a folder, under its digest. The file gets that name once it is complete.
    ///
    /// # Errors
    ///
    /// The content is missing or has changed, or the disk fails.
    pub fn put(&self, digest: &Digest, into: &Path) -> Result<(), RecordError> {
        let place = into.join(digest.to_string());
        let mut draft =
            tempfile::NamedTempFile::new_in(into).map_err(|error| cannot_copy(into, error))?;
        self.copy(digest, draft.as_file_mut(), into)?;
        let placed = draft.persist(&place).map_err(|error| error.error);
        placed.map(drop).map_err(|error| cannot_copy(&place, error))
    }

    /// Returns an unnamed copy of content.
    ///
    /// # Errors
    ///
    /// The content is missing or has changed, or the disk fails.
    pub fn file(&self, digest: &Digest) -> Result<File, RecordError> {
        let folder = std::env::temp_dir();
        let mut file = tempfile::tempfile().map_err(|error| cannot_copy(&folder, error))?;
        self.copy(digest, &mut file, &folder)?;
        Ok(file)
    }

    /// Returns content as bytes.
    ///
    /// # Errors
    ///
    /// The content cannot be read.
    pub fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::new();
        let (path, mut source) = self.open(digest)?;
        source.read_to_end(&mut bytes).map_err(|error| cannot_copy(path, error))?;
        Ok(bytes)
    }

    /// Returns the first bytes of content, which distinguish components from modules.
    ///
    /// # Errors
    ///
    /// The content cannot be opened.
    pub fn head(&self, digest: &Digest) -> Result<[u8; 8], RecordError> {
        let mut head = [0; 8];
        let (path, mut source) = self.open(digest)?;
        source.read_exact(&mut head).map(|()| head).map_err(|error| cannot_copy(path, error))
    }

    /// Copies content into a file in `folder`.
    fn copy(&self, digest: &Digest, into: &mut File, folder: &Path) -> Result<(), RecordError> {
        // The comparison in `open` would read it twice.
        let stored = self.store.as_ref().and_then(|root| root.unchecked_content(digest).ok());
        if let Some(stored) = stored
            && copy(stored, into).is_ok_and(|(found, _)| found == *digest)
        {
            return Ok(());
        }
        let emptied = into.set_len(0).and_then(|()| into.rewind());
        emptied.map_err(|error| cannot_copy(folder, error))?;
        let (path, source) = self.open(digest)?;
        match copy(source, into).map_err(|source| {
            let path = folder.to_owned();
            RecordError::Io { what: "copy a plugin, attachment or schema into", path, source }
        })? {
            (found, _) if found == *digest => Ok(()),
            _ => {
                let problem = "it has changed since the tests were planned; start again";
                let changed = io::Error::new(io::ErrorKind::InvalidData, problem);
                Err(cannot_copy(path, changed))
            }
        }
    }

    /// Opens content. Returns its path for messages, too.
    fn open(&self, digest: &Digest) -> Result<(&Path, Box<dyn Read>), RecordError> {
        let origin = self.origins.get(digest).unwrap_or(&Origin::Store);
        if let Some(root) = &self.store {
            match (root.content(digest), origin) {
                (Ok(file), _) => return Ok((root.path(), Box::new(file))),
                (Err(error), Origin::Store) => return Err(error),
                // Before the run is created, its content is not in the store but at its origin.
                (Err(_), Origin::Bundled(_) | Origin::Bytes(_) | Origin::File(_)) => {}
            }
        }
        let path = origin.path();
        let source = origin.open().map_err(|error| cannot_copy(path, error))?;
        Ok((path, source))
    }
}

/// Copies content to the end of a file, and rewinds the file. Returns the digest and the length of the content.
pub fn copy(source: impl Read, into: &mut File) -> io::Result<(Digest, u64)> {
    let copied = hash(source, &mut *into)?;
    into.rewind()?;
    Ok(copied)
}

/// Wraps an error of a copy. A changed file is a usage error and not an error of the disk.
fn cannot_copy(path: &Path, source: io::Error) -> RecordError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidData => RecordError::Foreign { path, problem: source.to_string() },
        _ => RecordError::Io { what: "copy", path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use runner_model::digest;
    use runner_record::{RecordError, ResultsRoot};

    use super::{ContentSource, Origin, SuiteFile};

    #[test]
    fn changed_attachments_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "as planned").unwrap();
        let planned = digest(b"as planned");
        let blobs = ContentSource::new([(
            planned,
            Origin::File(SuiteFile { path: path.clone(), bytes: 10 }),
        )]);
        let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
        blobs.keep(&root).unwrap();
        let session = tempfile::tempdir().unwrap();
        fs::write(&path, "changed!!!").unwrap();
        let other = ResultsRoot::open(&folder.path().join("other")).unwrap();
        for _ in 0..2 {
            for refused in [blobs.keep(&other), blobs.put(&planned, session.path())] {
                assert!(matches!(refused, Err(RecordError::Foreign { .. })), "{refused:?}");
            }
            // Its first bytes are enough to refuse it. No disk has room for all.
            File::create(&path).unwrap().set_len(1 << 43).unwrap();
        }
        fs::remove_file(&path).unwrap();
        assert!(blobs.keep(&other).is_err());
        assert_eq!(fs::read_dir(session.path()).unwrap().count(), 0);

        // The store still has the planned content, which is not read again.
        blobs.keep(&root).unwrap();
        let stored = blobs.stored_in(&root);
        assert_eq!(stored.list(), blobs.list());
        stored.put(&planned, session.path()).unwrap();
        let read = fs::read(session.path().join(planned.to_string())).unwrap();
        assert_eq!(read, b"as planned");
        assert!(stored.has(&planned) && !stored.has(&digest(b"other")));
    }
}
