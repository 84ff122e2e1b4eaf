//! [`LinkTimes`]: the times that a guest gives to symbolic links.
//!
//! The system sets them only by a path, which the sandbox of workers refuses: native code could
//! change the times of any file of the user. So they are kept here, for as long as the guest lives.

use std::{collections::HashMap, time::SystemTime};

/// Times of links, by inode number and time of change. A link that was changed or replaced since
/// has the times of the file system again.
#[derive(Default)]
pub(crate) struct LinkTimes(HashMap<(u64, u64), Times>);

/// Times of access and modification, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) accessed: u64,
    pub(super) modified: u64,
}

/// A link, as WASI shows it to guests.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// The link's inode number, hashed.
    pub(super) inode: u64,
    /// Time of its change, in nanoseconds since 1970.
    pub(super) changed: u64,
    /// The times that are shown.
    pub(super) times: Times,
}

impl LinkTimes {
    /// Returns the times of a link, those of the file system if the guest has set no others.
    pub(super) fn of(&self, link: &Link) -> Times {
        self.0.get(&(link.inode, link.changed)).copied().unwrap_or(link.times)
    }

    /// Sets times of a link. `None` keeps one.
    pub(super) fn set(&mut self, link: &Link, accessed: Option<u64>, modified: Option<u64>) {
        let before = self.of(link);
        let times = Times {
            accessed: accessed.unwrap_or(before.accessed),
            modified: modified.unwrap_or(before.modified),
        };
        self.0.insert((link.inode, link.changed), times);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the time, in nanoseconds since 1970.
pub(super) fn nanos_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
