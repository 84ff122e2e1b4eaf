//! What the tests of upkeep share.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::Digest,
    record::{PrunePolicy, Pruning, RunFilter, Store, disk::layout},
};

pub(super) const ALL: PrunePolicy = PrunePolicy {
    runs: BTreeSet::new(),
    statuses: Vec::new(),
    older_than: None,
    keep_last: Some(0),
    max_bytes: None,
};

/// Long after every run of these tests.
pub(super) fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(100)
}

pub(super) fn store(root: &Path) -> Store {
    Store::open(root).unwrap()
}

pub(super) fn entry(root: &Path, bytes: &[u8]) -> PathBuf {
    layout::content_entry(&root.join("store"), Digest::of(bytes))
}

pub(super) fn set_modified(path: &Path, at: Timestamp) {
    let file = fs_err::File::open(path).unwrap();
    file.set_modified(SystemTime::from(at)).unwrap();
}

/// Sets every time in the content store.
pub(super) fn used(root: &Path, at: Timestamp) {
    for bytes in [b"plugin".as_slice(), b"suite"] {
        set_modified(&entry(root, bytes), at);
    }
}

pub(super) fn names(root: &Path) -> Vec<String> {
    let list = store(root).runs(&RunFilter::default()).unwrap();
    list.runs.iter().map(|run| run.id.to_string()).collect()
}

pub(super) fn going(pruning: &Pruning) -> Vec<String> {
    let ids = pruning.runs.iter().map(|pruned| pruned.run.id.to_string());
    ids.collect()
}
