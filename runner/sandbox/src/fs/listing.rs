//! [`Listing`]: the names in a folder, read a few at a time.
//!
//! wasmtime reads all names when a folder is opened for reading, and keeps them. A hundred open
//! folders of a guest could take gigabytes.

use std::{collections::VecDeque, ffi::CStr, fs::File, io, sync::Arc};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::system::blocking;

/// Names that are read at once.
const AT_ONCE: usize = 64;

/// A folder that is being read. It counts as one of the guest's open files.
pub(super) struct Listing {
    /// `None` at the end, and while a thread reads.
    dir: Option<Dir>,
    read: VecDeque<io::Result<FolderEntry>>,
}

/// An entry of a folder.
pub(super) struct FolderEntry {
    /// Any bytes that the system allows.
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
    /// The position after this entry, in the system's own numbering.
    pub(super) next: u64,
}

impl Listing {
    /// Opens a folder for reading, from its start.
    pub(super) async fn open(folder: &Arc<File>) -> io::Result<Self> {
        Self::open_at(folder, 0).await
    }

    /// Opens a folder for reading, from the position `next` of an entry. 0 is the start.
    pub(super) async fn open_at(folder: &Arc<File>, place: u64) -> io::Result<Self> {
        let folder = Arc::clone(folder);
        let open = move || {
            // Unlike `Dir::read_from`, this works even if the guest's handle allows nothing but
            // path lookups.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mut dir = Dir::new(openat(&*folder, ".", flags, Mode::empty())?)?;
            if place > 0 {
                dir.seek(place.cast_signed())?;
            }
            Ok::<_, io::Error>(dir)
        };
        Ok(Self { dir: Some(blocking(open).await?), read: VecDeque::new() })
    }

    /// Returns the next entry, including `.` and `..`. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<FolderEntry>> {
        if self.read.is_empty()
            && let Some(dir) = self.dir.take()
        {
            (self.dir, self.read) = blocking(move || read_some(dir)).await;
        }
        self.read.pop_front()
    }
}

impl FolderEntry {
    /// Returns whether this is `.` or `..`.
    pub(super) fn is_relative(&self) -> bool {
        matches!(&*self.name, b"." | b"..")
    }
}

/// Reads the next entries. Returns the folder if there may be more.
fn read_some(mut dir: Dir) -> (Option<Dir>, VecDeque<io::Result<FolderEntry>>) {
    let mut read = VecDeque::new();
    while read.len() < AT_ONCE {
        match dir.read() {
            None => return (None, read),
            Some(Err(error)) => {
                read.push_back(Err(error.into()));
                return (None, read);
            }
            Some(Ok(entry)) => {
                let kind = match entry.file_type() {
                    // Some file systems do not store the kind with the name.
                    FileType::Unknown => kind(&dir, entry.file_name()),
                    kind => kind,
                };
                read.push_back(Ok(FolderEntry {
                    name: entry.file_name().to_bytes().to_vec(),
                    kind,
                    next: entry.offset().cast_unsigned(),
                }));
            }
        }
    }
    (Some(dir), read)
}

fn kind(dir: &Dir, name: &CStr) -> FileType {
    let found = dir.fd().and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW));
    found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs::File, sync::Arc};

    use super::{AT_ONCE, Listing};

    #[tokio::test]
    async fn listing_continues_where_reading_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let names: BTreeSet<String> = (0..5 * AT_ONCE).map(|name| name.to_string()).collect();
        for name in &names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let opened = Arc::new(File::open(folder.path()).unwrap());

        let mut read = Vec::new();
        let mut place = 0;
        // Opens it again for every hundred entries.
        loop {
            let mut listing = Listing::open_at(&opened, place).await.unwrap();
            let before = read.len();
            while read.len() < before + 100
                && let Some(entry) = listing.next().await
            {
                let entry = entry.unwrap();
                place = entry.next;
                read.push(String::from_utf8(entry.name).unwrap());
            }
            assert!(listing.read.len() <= AT_ONCE);
            if read.len() == before {
                break;
            }
        }
        assert_eq!(read.len(), names.len() + 2);
        let read: BTreeSet<String> =
            read.into_iter().filter(|name| !name.starts_with('.')).collect();
        assert_eq!(read, names);
    }
}
