//! [`Quota`]: counts the writes of one attempt to files, and refuses those beyond its limit. Also
//! other bounds on files, which no grant changes.
//!
//! It counts the growth of files and each created entry: a byte far after a file's end costs the
//! whole gap, and a new file, folder or link costs a block. Otherwise a guest could fill a disk
//! without a byte of content.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runner_model::{units::show_size, visible::visible_line};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::listing::Listing;
use crate::message::cut;

/// Cost of a new file, folder or link: a block.
pub(super) const ENTRY: u64 = 4 * 1024;
/// New folders of one attempt that exist at once. Some file systems take milliseconds to remove one,
/// and the removal continues after the attempt.
const MAX_FOLDERS: u64 = 4_000;
/// Open files and folders of one guest, including granted folders and those being read. A process
/// has some thousand descriptors for all attempts.
const MAX_OPEN: usize = 128;
/// Open streams of one guest. A stream alone can keep a file open.
pub(super) const MAX_STREAMS: usize = 128;
/// The longest path that systems accept.
pub(super) const MAX_PATH_BYTES: usize = 4096;
/// Bytes of a guest's path in a message.
const SHOWN_PATH: usize = 200;

/// The bytes that one attempt may write. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Quota(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    limit: u64,
    charged: u64,
    written: u64,
    /// New folders that exist.
    folders: u64,
    is_exceeded: bool,
    is_crowded: bool,
    is_disk_full: bool,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Self {
        Self(Arc::new(Mutex::new(Count { limit, ..Count::default() })))
    }

    /// Resets the written bytes, for the next call of a kept instance. Charges remain, because the
    /// files do.
    pub(crate) fn start_attempt(&self) {
        let mut count = self.lock();
        count.written = 0;
        count.is_disk_full = false;
    }

    /// Returns the bytes that were written, a part of `bytes_out`.
    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Describes a refused write, for the log and for the message of a failed attempt. An instance
    /// whose write was refused is not kept.
    pub(crate) fn exceeded(&self) -> Option<String> {
        let count = self.lock();
        if count.is_crowded {
            return Some(too_many_folders());
        }
        count.is_exceeded.then(|| {
            let limit = show_size(count.limit);
            format!("a write to a file was refused, because `limits.scratch` is {limit}")
        })
    }

    /// Charges `cost`. Returns `false` and remembers the refusal if too little is left.
    pub(super) fn charge(&self, cost: u64) -> bool {
        self.lock().charge(cost)
    }

    /// Charges a new folder. Returns `false` and remembers the refusal if there are too many.
    pub(super) fn charge_folder(&self) -> bool {
        let mut count = self.lock();
        if count.folders >= MAX_FOLDERS {
            count.is_crowded = true;
            return false;
        }
        let is_charged = count.charge(ENTRY);
        count.folders += u64::from(is_charged);
        is_charged
    }

    /// Refunds a folder that was removed, or not created. One that was there before the attempt
    /// makes room as well.
    pub(super) fn remove_folder(&self) {
        let mut count = self.lock();
        if count.folders > 0 {
            count.folders -= 1;
            count.charged -= ENTRY;
        }
    }

    /// Returns the refusal of a folder, which no limit of the scenario explains.
    pub(crate) fn fixed_limit(&self) -> Option<String> {
        self.lock().is_crowded.then(too_many_folders)
    }

    /// Refunds a write that failed.
    pub(super) fn refund(&self, cost: u64) {
        self.lock().charged -= cost;
    }

    /// Records that the disk had no room for a write within the limit.
    pub(super) fn set_disk_full(&self) {
        self.lock().is_disk_full = true;
    }

    /// Returns whether the disk was full, which is a fault of the machine.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.lock().is_disk_full
    }

    /// Counts bytes that were written.
    pub(super) fn add_written(&self, bytes: u64) {
        self.lock().written += bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn charge(&mut self, cost: u64) -> bool {
        let sum = self.charged.checked_add(cost).filter(|sum| *sum <= self.limit);
        match sum {
            Some(sum) => self.charged = sum,
            None => self.is_exceeded = true,
        }
        sum.is_some()
    }
}

/// Returns the cost of writing `bytes` at `offset` to a file of `size` bytes.
///
/// A byte far after the end costs the growth of the file, although some disks store the gap for
/// free.
pub(super) fn cost(bytes: u64, offset: u64, size: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    offset.saturating_add(bytes).saturating_sub(size).max(bytes)
}

/// Returns whether a guest has as many open files or streams as allowed.
pub(super) fn is_full(table: &mut ResourceTable) -> bool {
    let (mut open, mut streams) = (0, 0);
    for entry in table.iter_mut() {
        if entry.is::<Descriptor>() || entry.is::<Listing>() {
            open += 1;
        } else if entry.is::<DynInputStream>() || entry.is::<DynOutputStream>() {
            streams += 1;
        }
    }
    open >= MAX_OPEN || streams >= MAX_STREAMS
}

fn too_many_folders() -> String {
    format!("a new folder was refused, because an attempt may have at most {MAX_FOLDERS} at once")
}

pub(super) fn too_many_files() -> String {
    format!("having more than {MAX_OPEN} files open at once")
}

/// Describes a refused FIFO, device or socket. Opening one may block until another process opens
/// the other end, and no deadline ends a thread in a system call.
pub(super) fn special_file(path: &str) -> String {
    let path = shorten_path(path);
    format!("opening `{path}`, which is neither a file nor a folder")
}

pub(super) fn outside_folder(path: &str) -> String {
    format!("reading `{}`, which leads out of its folder", shorten_path(path))
}

/// Describes a refused change in a read-only folder. The path of an open file is not known.
pub(super) fn read_only(path: &str) -> String {
    match path {
        "" => "changing an open file of a read-only folder".to_owned(),
        path => format!("changing `{}`, which is in a read-only folder", shorten_path(path)),
    }
}

/// Shortens a guest's path to one line.
pub(super) fn shorten_path(path: &str) -> String {
    cut(SHOWN_PATH, visible_line(&cut(SHOWN_PATH, path)))
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, MAX_FOLDERS, Quota, cost};

    #[test]
    fn write_costs_bytes_or_growth() {
        for ((bytes, offset, size), expected) in [
            ((0, 1 << 40, 0), 0),
            ((10, 0, 0), 10),
            ((10, 0, 100), 10),
            ((10, 95, 100), 10),
            ((1, 1 << 40, 100), (1 << 40) - 99),
            ((10, u64::MAX, 100), u64::MAX - 100),
        ] {
            assert_eq!(cost(bytes, offset, size), expected);
        }
    }

    #[test]
    fn folders_are_counted_and_charged() {
        let quota = Quota::new(MAX_FOLDERS * ENTRY * 2);
        assert!((0..MAX_FOLDERS).all(|_| quota.charge_folder()));
        assert_eq!(quota.exceeded(), None);
        assert!(!quota.charge_folder());
        let exceeded = quota.exceeded().unwrap();
        assert!(exceeded.contains("4000"), "{exceeded}");
        quota.remove_folder();
        assert!(quota.charge_folder());
        let poor = Quota::new(ENTRY);
        assert!(poor.charge_folder() && !poor.charge_folder());
        // More than there were.
        poor.remove_folder();
        poor.remove_folder();
        assert!(poor.charge_folder() && !poor.charge_folder());
    }

    #[test]
    fn refused_and_failed_writes_cost_nothing() {
        let quota = Quota::new(10);
        assert!(quota.charge(6));
        assert_eq!(quota.exceeded(), None);
        assert!(!quota.charge(5));
        assert!(!quota.charge(u64::MAX));
        let exceeded = "a write to a file was refused, because `limits.scratch` is 10 B";
        assert_eq!(quota.exceeded().as_deref(), Some(exceeded));
        assert!(quota.charge(4));
        quota.refund(4);
        assert!(quota.charge(4));
        assert!(!quota.charge(1));
    }
}
