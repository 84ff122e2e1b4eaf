//! The entries of the content store, of which those go that no run needs and nobody has used for long.

use std::{
    fs::Metadata,
    io,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use walkdir::WalkDir;

use crate::{
    model::Digest,
    record::{disk::durable, error::is_missing},
};

/// An entry of the content store that was used more recently stays: its run may be about to be created.
const ENTRY_AGE: SignedDuration = SignedDuration::from_hours(24);

/// A file in the content store.
pub(in crate::record) struct StoreEntry {
    pub(in crate::record) path: PathBuf,
    /// Absent if it is what an interrupted write left.
    pub(in crate::record) digest: Option<Digest>,
    bytes: u64,
    used: Timestamp,
}

impl StoreEntry {
    pub(in crate::record) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Tells whether nobody had used it for long when it was found.
    pub(super) fn is_unused(&self, now: Timestamp) -> bool {
        is_unused_since(self.used, now)
    }

    /// Looks again whether nobody has used it for long; whoever creates a run touches every entry that it uses.
    pub(in crate::record) fn is_still_unused(&self, now: Timestamp) -> io::Result<bool> {
        let metadata = fs_err::symlink_metadata(&self.path)?;
        Ok(is_unused_since(modified(&metadata)?, now))
    }
}

pub(super) fn store_entries(store: &Path) -> io::Result<Vec<StoreEntry>> {
    let mut entries = Vec::new();
    for shelf in names(store)?.iter().filter(|name| name.len() == 2) {
        let shelf = store.join(shelf);
        for name in names(&shelf)? {
            let digest = Digest::parse(&name);
            if digest.is_none() && !name.starts_with(durable::TEMPORARY) {
                continue;
            }
            let path = shelf.join(name);
            let metadata = match fs_err::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            entries.push(StoreEntry {
                digest,
                bytes: metadata.len(),
                used: modified(&metadata)?,
                path,
            });
        }
    }
    Ok(entries)
}

/// The names in a directory; one that is missing, or is none, has no names.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    Ok(names
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// The length of all files in a directory; what is deleted meanwhile has none.
pub(super) fn size_of(directory: &Path) -> u64 {
    WalkDir::new(directory)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

fn is_unused_since(used: Timestamp, now: Timestamp) -> bool {
    now.duration_since(used) > ENTRY_AGE
}

pub(super) fn modified(metadata: &Metadata) -> io::Result<Timestamp> {
    Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::record::{
        RecordError,
        store::content::ContentStore,
        testing::{NOW, finished_run},
        upkeep::testing::{ALL, entry, later, store, used},
    };

    #[test]
    fn entries_that_were_used_lately_stay() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let now = later();
        let prune = || store(root).prune(&ALL, now).unwrap();
        used(root, now - SignedDuration::from_hours(23));
        let pruning = prune();
        assert_eq!((pruning.runs.len(), pruning.entries.count), (1, 0));
        used(root, now - SignedDuration::from_hours(25));
        assert_eq!(prune().entries.count, 2);
    }

    #[test]
    fn while_a_run_is_created_no_entry_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        used(root, NOW.parse().unwrap());
        let new_run = ContentStore::open(root.join("store")).unwrap();

        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!(pruning.runs.len(), 1);
        let [(_, RecordError::Held { .. })] = &pruning.failures[..] else {
            panic!("{:?}", pruning.failures);
        };
        assert!(entry(root, b"plugin").exists());
        drop(new_run);
        assert_eq!(store(root).prune(&ALL, later()).unwrap().entries.count, 2);
    }

    #[test]
    fn while_a_run_cannot_be_read_the_content_store_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let unreadable = finished_run(root).run_dir;
        fs_err::write(unreadable.join("benchmark.json"), "{").unwrap();
        used(root, NOW.parse().unwrap());

        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!((pruning.runs.len(), pruning.entries.count), (1, 0));
        assert_eq!(pruning.unreadable[0].0, unreadable);
        assert!(unreadable.join("scenario.toml").exists());
    }
}
