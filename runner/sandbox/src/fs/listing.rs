//! [`Listing`]: the names in a folder, read a few at a time.
//!
//! wasmtime reads all names when a folder is opened for reading, and keeps them. A hundred open
//! folders of a guest could take gigabytes.

use std::collections::{BTreeMap, VecDeque};
use std::{fs::File, io, sync::Arc};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::system::blocking;

/// Names that are read at once.
const AT_ONCE: usize = 64;
/// Names that are read at once if they are sorted. The folder is read again for each time.
const SORTED_AT_ONCE: usize = 512;

/// A folder that is being read. It counts as one of the guest's open files.
pub(crate) struct Listing {
    /// `None` at the end, and while a thread reads.
    rest: Option<Rest>,
    read: VecDeque<io::Result<FolderEntry>>,
}

/// The last listing of a deterministic guest, the identity of its folder and the position of the next
/// entry. A guest with a small buffer continues it.
#[derive(Default)]
pub(crate) struct LastListing(pub(super) Option<(u64, u64, Listing)>);

/// The part of a folder that was not read.
enum Rest {
    /// In the order of the system.
    Unsorted(Dir),
    /// In the order of the names, after a name and its position.
    Sorted(Arc<File>, Vec<u8>, u64),
}

/// An entry of a folder.
pub(super) struct FolderEntry {
    /// Any bytes that the system allows.
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
    /// The position after this entry, in the system's own numbering, or in the order of the names.
    pub(super) next: u64,
}

impl Listing {
    /// Opens a folder for reading, from its start.
    pub(super) async fn open(folder: &Arc<File>, is_sorted: bool) -> io::Result<Self> {
        if is_sorted {
            return Ok(Self::sorted(folder));
        }
        Self::open_at(folder, 0).await
    }

    /// Opens a folder for reading in the order of the names.
    pub(super) fn sorted(folder: &Arc<File>) -> Self {
        Self { rest: Some(Rest::Sorted(Arc::clone(folder), Vec::new(), 0)), read: VecDeque::new() }
    }

    /// Opens a folder for reading, from the position `next` of an entry. 0 is the start.
    pub(super) async fn open_at(folder: &Arc<File>, place: u64) -> io::Result<Self> {
        let folder = Arc::clone(folder);
        let open = move || {
            let mut dir = open_dir(&folder)?;
            if place > 0 {
                dir.seek(place.cast_signed())?;
            }
            Ok::<_, io::Error>(dir)
        };
        Ok(Self { rest: Some(Rest::Unsorted(blocking(open).await?)), read: VecDeque::new() })
    }

    /// Returns the next entry, including `.` and `..`. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<FolderEntry>> {
        if self.read.is_empty()
            && let Some(rest) = self.rest.take()
        {
            (self.rest, self.read) = blocking(move || match rest {
                Rest::Unsorted(dir) => read_some(dir),
                Rest::Sorted(folder, last, place) => read_sorted(folder, &last, place)
                    .unwrap_or_else(|error| (None, VecDeque::from([Err(error)]))),
            })
            .await;
        }
        self.read.pop_front()
    }
}

impl Listing {
    /// Puts back the entry that was read last.
    pub(super) fn put_back(&mut self, entry: FolderEntry) {
        self.read.push_front(Ok(entry));
    }
}

impl FolderEntry {
    /// Returns whether this is `.` or `..`.
    pub(super) fn is_relative(&self) -> bool {
        matches!(&*self.name, b"." | b"..")
    }
}

fn open_dir(folder: &File) -> io::Result<Dir> {
    // Unlike `Dir::read_from`, this works even if the guest's handle allows nothing but path
    // lookups.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Dir::new(openat(folder, ".", flags, Mode::empty())?)?)
}

/// Reads the first names after `last`, whose position is `place`. The names of a whole folder may not
/// fit into memory.
fn read_sorted(
    folder: Arc<File>,
    last: &[u8],
    place: u64,
) -> io::Result<(Option<Rest>, VecDeque<io::Result<FolderEntry>>)> {
    let mut dir = open_dir(&folder)?;
    let mut first = BTreeMap::new();
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name > last {
            first.insert(name.to_vec(), entry.file_type());
            if first.len() > SORTED_AT_ONCE {
                first.pop_last();
            }
        }
    }
    let last = first.last_key_value().map(|(name, _)| name.clone());
    let rest = last.map(|last| Rest::Sorted(folder, last, place + first.len() as u64));
    let entries = (place + 1..).zip(first).map(|(next, (name, known))| {
        let kind = match known {
            FileType::Unknown => kind_of(&dir, &name),
            known => known,
        };
        Ok(FolderEntry { name, kind, next })
    });
    let entries = entries.collect();
    Ok((rest, entries))
}

/// Reads the next entries. Returns the folder if there may be more.
fn read_some(mut dir: Dir) -> (Option<Rest>, VecDeque<io::Result<FolderEntry>>) {
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
                    FileType::Unknown => kind_of(&dir, entry.file_name().to_bytes()),
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
    (Some(Rest::Unsorted(dir)), read)
}

fn kind_of(dir: &Dir, name: &[u8]) -> FileType {
    let found = dir.fd().and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW));
    found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs::File, sync::Arc};

    use super::{AT_ONCE, Listing, SORTED_AT_ONCE};

    #[tokio::test]
    async fn sorted_listing_has_every_name_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut names: Vec<String> =
            (0..2 * SORTED_AT_ONCE + 7).map(|name| format!("{}", name * 7919 % 10007)).collect();
        for name in &names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        names.extend([".".to_owned(), "..".to_owned()]);
        names.sort();
        let opened = Arc::new(File::open(folder.path()).unwrap());
        let mut listing = Listing::sorted(&opened);
        let mut read = Vec::new();
        while let Some(entry) = listing.next().await {
            let entry = entry.unwrap();
            read.push(String::from_utf8(entry.name).unwrap());
            assert_eq!(entry.next, read.len() as u64);
            assert!(listing.read.len() < SORTED_AT_ONCE);
        }
        assert_eq!(read, names);
    }

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
