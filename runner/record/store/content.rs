//! The content store: bytes by their digest, shared by runs.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    mem,
    os::unix::fs::FileExt as _,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use crate::{
    model::{Digest, cores},
    record::{
        disk::{
            durable::{self, Unsynced},
            layout,
            lock::Lock,
            modes, regular,
        },
        error::RecordError,
        failpoint,
    },
};

const CHUNK: usize = 64 * 1024;
/// What a file without a name is called in messages.
const UNNAMED: &str = "the normalised tests";

/// Bytes that a run needs for as long as it exists.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What they are called in the store.
    pub digest: Digest,
    /// Where they are.
    pub source: BlobSource,
}

/// Where the bytes of a [`Blob`] are.
#[derive(Clone, Debug)]
pub enum BlobSource {
    /// In memory.
    Bytes(bytes::Bytes),
    /// In a file, which is copied piece by piece and must still have its digest.
    File(PathBuf),
    /// In an open file, likewise; it may have no name.
    Open(Arc<std::fs::File>),
}

/// The content store while a run that is being created adds to it; nobody removes entries meanwhile.
pub(in crate::record) struct ContentStore {
    path: PathBuf,
    /// Folders of entries whose names may not be on disk.
    unsynced: BTreeSet<PathBuf>,
    _lock: Lock,
}

impl ContentStore {
    /// Opens the store for a run that is being created.
    pub(in crate::record) fn open(path: PathBuf) -> Result<Self, RecordError> {
        modes::create_directories(&path).map_err(RecordError::io("create the content store"))?;
        let lock = Lock::share(&layout::content_lock(&path))?;
        Ok(Self {
            path,
            unsynced: BTreeSet::new(),
            _lock: lock,
        })
    }

    /// Adds what is not there yet; what is there is touched, so that nobody takes it for unused. What is there and is not
    /// what its name says is replaced, which is said. [`ContentStore::sync`] makes all of it durable.
    pub(in crate::record) fn add(
        &mut self,
        blob: &Blob,
        now: SystemTime,
    ) -> Result<Option<String>, RecordError> {
        self.note(blob);
        self.put(blob, now)
    }

    /// Adds all of these, on every core: what is there is read whole.
    pub(in crate::record) fn add_all(
        &mut self,
        blobs: &[Blob],
        now: SystemTime,
    ) -> Result<(), RecordError> {
        blobs.iter().for_each(|blob| self.note(blob));
        let blobs_left = Mutex::new(blobs.iter());
        let next = || {
            let mut left = blobs_left.lock().unwrap_or_else(PoisonError::into_inner);
            left.next()
        };
        let put = || {
            while let Some(blob) = next() {
                self.put(blob, now)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            // Without another thread this one does it alone.
            let others = (1..cores().min(blobs.len()))
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, put).ok());
            let others: Vec<_> = others.collect();
            let own = put();
            let others = others.into_iter();
            let others =
                others.map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            others.fold(own, Result::and)
        })
    }

    /// Also of what is there: whoever put it there may have died before its name was on disk.
    fn note(&mut self, blob: &Blob) {
        let entry = layout::content_entry(&self.path, blob.digest);
        self.unsynced.extend(entry.parent().map(Path::to_owned));
    }

    fn put(&self, blob: &Blob, now: SystemTime) -> Result<Option<String>, RecordError> {
        let entry = layout::content_entry(&self.path, blob.digest);
        let failed = || RecordError::io("look at an entry of the content store");
        match InPlace::of(&entry, blob, blob.size()?).map_err(failed())? {
            InPlace::Nothing => write(blob, &entry).map(|()| None),
            InPlace::Damaged(problem) => {
                write(blob, &entry)?;
                let entry = entry.display();
                Ok(Some(format!(
                    "`{entry}` in the content store was damaged and has been replaced: {problem}"
                )))
            }
            InPlace::Whole => {
                touch(&entry, now)
                    .map_err(RecordError::io("touch an entry of the content store"))?;
                Ok(None)
            }
        }
    }

    /// Makes the names of all that was added durable, each folder's once.
    pub(in crate::record) fn sync(&mut self) -> Result<(), RecordError> {
        self.sync_with(&[])
    }

    /// The same, and other things at once.
    pub(in crate::record) fn sync_with(
        &mut self,
        others: &[Unsynced<'_>],
    ) -> Result<(), RecordError> {
        let failed = || RecordError::io("sync what a run needs");
        let folders = mem::take(&mut self.unsynced);
        let folders = folders.iter().chain([&self.path]);
        let mut parts: Vec<_> = folders.map(|folder| Unsynced::Names(folder)).collect();
        parts.extend(others);
        durable::sync_together(&parts).map_err(failed())?;
        failpoint::pass("content", "synced").map_err(failed())
    }
}

fn write(blob: &Blob, entry: &Path) -> Result<(), RecordError> {
    let directory = entry.parent().expect("an entry lies in a directory");
    let failed = || RecordError::io("write into the content store");
    let pass = |place| failpoint::pass("content", place).map_err(failed());
    modes::create_inside(directory).map_err(failed())?;
    let mut file = durable::temporary(directory).map_err(failed())?;
    pass("begin")?;
    blob.copy(file.as_file_mut())?;
    pass("written")?;
    durable::persist(file, entry).map_err(failed())?;
    pass("renamed")
}

impl Blob {
    fn size(&self) -> Result<u64, RecordError> {
        match &self.source {
            BlobSource::Bytes(bytes) => Ok(bytes.len() as u64),
            BlobSource::File(path) => fs_err::metadata(path)
                .map(|metadata| metadata.len())
                .map_err(RecordError::io("read what a run needs")),
            BlobSource::Open(file) => file
                .metadata()
                .map(|metadata| metadata.len())
                .map_err(RecordError::io("read what a run needs")),
        }
    }

    fn copy(&self, target: &mut impl Write) -> Result<(), RecordError> {
        match &self.source {
            BlobSource::Bytes(bytes) => target
                .write_all(bytes)
                .map_err(RecordError::io("write into the content store")),
            BlobSource::File(path) => {
                let read = RecordError::io("read what a run needs");
                let file = regular::open(path).map_err(read)?;
                copy_file(file, path, self.digest, target)
            }
            BlobSource::Open(file) => {
                let whole = Whole { file, at: 0 };
                copy_file(whole, Path::new(UNNAMED), self.digest, target)
            }
        }
    }
}

/// Reads an open file from its beginning, and leaves its cursor to others.
struct Whole<'a> {
    file: &'a std::fs::File,
    at: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(bytes, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Copies a file that is called `path` in messages.
fn copy_file(
    mut file: impl Read,
    path: &Path,
    expected: Digest,
    target: &mut impl Write,
) -> Result<(), RecordError> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file
            .read(&mut chunk)
            .map_err(RecordError::io("read what a run needs"))?;
        if length == 0 {
            break;
        }
        hasher.update(&chunk[..length]);
        target
            .write_all(&chunk[..length])
            .map_err(RecordError::io("write into the content store"))?;
    }

    let found = Digest::finish(hasher);
    if found == expected {
        return Ok(());
    }
    Err(RecordError::Changed {
        path: path.to_owned(),
        expected,
        found,
    })
}

/// What is where an entry should be.
enum InPlace {
    Nothing,
    /// The entry, or what nobody here may read.
    Whole,
    /// Something else, and how that shows.
    Damaged(String),
}

impl InPlace {
    /// Reads the whole file: a run that begins over damage passes, and then nobody can resume it.
    fn of(entry: &Path, blob: &Blob, size: u64) -> io::Result<Self> {
        let found = match fs_err::symlink_metadata(entry) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(error) => return Err(error),
        };
        // A link leads to what others may change, and what is to be replaced is the link.
        if !found.is_file() {
            return Ok(Self::Damaged("it is not a regular file".into()));
        }
        if found.len() != size {
            let problem = format!("it has {} bytes and should have {size}", found.len());
            return Ok(Self::Damaged(problem));
        }
        // To compare it takes a third of the time, and each shard of a run finds the tests of all there.
        if let BlobSource::Open(file) = &blob.source
            && let Ok(found) = regular::open(entry)
            && have_the_same_bytes(found, Whole { file, at: 0 }).unwrap_or(false)
        {
            return Ok(Self::Whole);
        }
        Ok(match regular::open(entry).and_then(Digest::of_reader) {
            Ok(found) if found == blob.digest => Self::Whole,
            Ok(found) => Self::Damaged(format!("its digest is {found}")),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Whole,
            Err(error) => Self::Damaged(error.to_string()),
        })
    }
}

fn have_the_same_bytes(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut first, mut second) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let length = one.read(&mut first)?;
        if length == 0 {
            return Ok(other.read(&mut second[..1])? == 0);
        }
        match other.read_exact(&mut second[..length]) {
            Ok(()) if first[..length] == second[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Sets an entry's time.
fn touch(entry: &Path, now: SystemTime) -> io::Result<()> {
    match regular::open_with(fs_err::OpenOptions::new().append(true), entry) {
        Ok(file) => file.set_modified(now),
        // Another user's. The manifest that is about to be written protects it as well.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use super::{Blob, BlobSource, ContentStore};
    use crate::{
        model::Digest,
        record::{RecordError, disk::layout},
    };

    #[test]
    fn bytes_are_stored_once_and_touched_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let mut content = ContentStore::open(directory.path().join("store")).unwrap();
        let blob = Blob {
            digest: Digest::of(b"abc"),
            source: BlobSource::Bytes(b"abc".as_slice().into()),
        };
        let entry = layout::content_entry(&directory.path().join("store"), blob.digest);

        content.add(&blob, SystemTime::now()).unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        content.add(&blob, later).unwrap();
        assert_eq!(fs_err::read(&entry).unwrap(), b"abc");
        assert_eq!(fs_err::metadata(&entry).unwrap().modified().unwrap(), later);
    }

    #[test]
    fn all_are_added_or_it_is_said_which_is_not_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        let mut content = ContentStore::open(root.clone()).unwrap();
        let blob = |number: u32| {
            let bytes = number.to_string();
            Blob {
                digest: Digest::of(bytes.as_bytes()),
                source: BlobSource::Bytes(bytes.into()),
            }
        };
        let mut blobs: Vec<_> = (0..40).map(blob).collect();
        content.add_all(&blobs[..20], SystemTime::now()).unwrap();
        content.add_all(&blobs, SystemTime::now()).unwrap();
        content.sync().unwrap();
        for (number, blob) in blobs.iter().enumerate() {
            let entry = layout::content_entry(&root, blob.digest);
            assert_eq!(fs_err::read_to_string(entry).unwrap(), number.to_string());
        }
        let path = directory.path().join("changed");
        fs_err::write(&path, "something else").unwrap();
        blobs[7].digest = Digest::of(b"changed");
        blobs[7].source = BlobSource::File(path.clone());
        let error = content.add_all(&blobs, SystemTime::now()).unwrap_err();
        assert!(
            matches!(&error, RecordError::Changed { path: changed, .. } if *changed == path),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_what_its_name_says_is_replaced_whatever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let whole = directory.path().join("whole");
        fs_err::write(&whole, "abc").unwrap();
        let whole = fs_err::File::open(&whole).unwrap().into_parts().0;
        is_replaced(BlobSource::Bytes(b"abc".as_slice().into()));
        is_replaced(BlobSource::Open(Arc::new(whole)));
    }

    fn is_replaced(source: BlobSource) {
        let directory = tempfile::tempdir().unwrap();
        let mut content = ContentStore::open(directory.path().join("store")).unwrap();
        let blob = Blob {
            digest: Digest::of(b"abc"),
            source,
        };
        let entry = layout::content_entry(&directory.path().join("store"), blob.digest);
        let elsewhere = directory.path().join("elsewhere");
        fs_err::write(&elsewhere, "abc").unwrap();
        let overwrite = |text: &str| fs_err::write(&entry, text).unwrap();
        let damages: [(&dyn Fn(), &str); 5] = [
            (&|| overwrite("a"), "it has 1 bytes and should have 3"),
            (&|| overwrite(""), "it has 0 bytes"),
            (&|| overwrite("abd"), "its digest is a52d159f"),
            (
                &|| std::os::unix::fs::symlink(&elsewhere, &entry).unwrap(),
                "not a regular file",
            ),
            (
                &|| {
                    let made = std::process::Command::new("mkfifo").arg(&entry).status();
                    assert!(made.unwrap().success());
                },
                "not a regular file",
            ),
        ];

        assert_eq!(content.add(&blob, SystemTime::now()).unwrap(), None);
        for (damage, problem) in damages {
            fs_err::remove_file(&entry).unwrap();
            damage();
            let told = content.add(&blob, SystemTime::now()).unwrap().unwrap();
            assert!(told.contains(problem), "{told}");
            assert!(fs_err::symlink_metadata(&entry).unwrap().is_file());
            assert_eq!(fs_err::read(&entry).unwrap(), b"abc");
            assert_eq!(content.add(&blob, SystemTime::now()).unwrap(), None);
        }
        assert_eq!(fs_err::read(&elsewhere).unwrap(), b"abc");
    }

    #[test]
    fn a_file_that_changed_since_it_was_hashed_is_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let mut content = ContentStore::open(store.clone()).unwrap();
        let path = directory.path().join("list.jsonl");
        let text = "0123456789".repeat(20_000);
        fs_err::write(&path, &text).unwrap();
        let mut blob = Blob {
            digest: Digest::of(text.as_bytes()),
            source: BlobSource::File(path),
        };

        content.add(&blob, SystemTime::now()).unwrap();
        let entry = layout::content_entry(&store, blob.digest);
        assert_eq!(fs_err::read_to_string(entry).unwrap(), text);

        blob.digest = Digest::of(b"what it once was");
        let error = content.add(&blob, SystemTime::now()).unwrap_err();
        assert!(matches!(error, RecordError::Changed { .. }), "{error}");
        let entry = layout::content_entry(&store, blob.digest);
        assert!(!entry.exists());
        assert_eq!(entry.parent().unwrap().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_file_any_more_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut content = ContentStore::open(directory.path().join("store")).unwrap();
        let path = directory.path().join("plugin.wasm");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let blob = Blob {
            digest: Digest::of(b"what it once was"),
            source: BlobSource::File(path),
        };
        let error = content.add(&blob, SystemTime::now()).unwrap_err();
        assert!(matches!(error, RecordError::Io { .. }), "{error}");
    }
}
