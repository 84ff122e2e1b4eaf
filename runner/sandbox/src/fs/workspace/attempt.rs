//! [`AttemptWorkspace`]: the workspace of one attempt while its guest runs, which sees a plain copy
//! of the base instead of links to it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::fstat;
use wasmtime_wasi::FsPerms;

use super::tree::Tree;

/// A file of an open stream, which changes with its link.
pub(crate) type SharedFile = Arc<Mutex<Arc<File>>>;

/// The workspace of one attempt.
pub(crate) struct AttemptWorkspace {
    pub(crate) tree: Arc<Tree>,
    /// Files that took the place of a link to the base: the numbers of the base's files, by device
    /// and inode number.
    pub(super) own: HashMap<(u64, u64), u32>,
    /// Numbers of the base's files whose link was removed. They may be open.
    pub(super) removed: HashSet<u32>,
    /// Files of open streams.
    pub(super) streams: Vec<Weak<Mutex<Arc<File>>>>,
    /// Name of the next file in the tree's folder of copies.
    pub(super) next: u32,
    /// Numbers of the base's files that the caller of a tool has open, with those that the tool has put in
    /// their place.
    pub(crate) watched: HashMap<u32, Option<Arc<File>>>,
    /// Whether the guest has ended. A copy in another thread takes its place only before.
    pub(crate) is_over: Arc<Mutex<bool>>,
    /// The path in the guest.
    pub(crate) mount: String,
    pub(crate) perms: FsPerms,
}

/// The attributes of a file of the base, or of the file in its place, that differ from those of its
/// inode.
pub(crate) struct BaseAttributes {
    pub(crate) identity: u64,
    /// `None` if its links are the guest's own.
    pub(crate) links: Option<u64>,
    /// Time of the base, in nanoseconds since 1970: when the file was created, and if `links` are
    /// set, also the other times.
    pub(crate) time: u64,
}

impl AttemptWorkspace {
    pub(crate) fn new(tree: Arc<Tree>, mount: String, perms: FsPerms) -> Self {
        Self {
            tree,
            own: HashMap::new(),
            removed: HashSet::new(),
            streams: Vec::new(),
            next: 0,
            watched: HashMap::new(),
            is_over: Arc::default(),
            mount,
            perms,
        }
    }

    /// Returns the number of a file of the base, and whether it is still a link to it.
    pub(super) fn number_of(&self, file: impl AsFd) -> Option<(u32, bool)> {
        let found = fstat(file).ok()?;
        let (device, inode) = (found.st_dev, found.st_ino);
        let linked = self.tree.base.number(device, inode);
        let own = self.own.get(&(device, inode)).copied();
        linked.map(|number| (number, true)).or(own.map(|number| (number, false)))
    }
}
