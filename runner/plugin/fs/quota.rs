//! [`Quota`]: how much one attempt may write to files in all, and how much it has written.
//!
//! What grows is counted, and what is made: a byte far behind a file's end counts as the whole file, and a new file, folder
//! or link as a block. Otherwise a guest could use up a disk without a byte of content.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytesize::ByteSize;

/// What a new file, folder or link costs: a block.
pub(super) const ENTRY: u64 = 4 * 1024;

/// How many folders one attempt may make. To remove one takes some file systems milliseconds, and all of them are removed
/// behind the attempt.
pub(super) const MAX_FOLDERS: u64 = 4_000;

/// How much one attempt may write; its clones are one.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Quota(Arc<Count>);

#[derive(Debug)]
struct Count {
    limit: u64,
    charged: AtomicU64,
    written: AtomicU64,
    folders: AtomicU64,
    is_exceeded: AtomicBool,
    is_crowded: AtomicBool,
    is_disk_full: AtomicBool,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Self {
        Self(Arc::new(Count {
            limit,
            charged: AtomicU64::new(0),
            written: AtomicU64::new(0),
            folders: AtomicU64::new(0),
            is_exceeded: AtomicBool::new(false),
            is_crowded: AtomicBool::new(false),
            is_disk_full: AtomicBool::new(false),
        }))
    }

    /// Starts to count anew what is written; what was charged stays so, because it is still there.
    pub(in crate::plugin) fn begin_attempt(&self) {
        self.0.written.store(0, Ordering::Relaxed);
        self.0.is_disk_full.store(false, Ordering::Relaxed);
    }

    /// Bytes that were written.
    pub(in crate::plugin) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Says that a write was refused, if one was.
    pub(in crate::plugin) fn exceeded(&self) -> Option<String> {
        if self.0.is_crowded.load(Ordering::Relaxed) {
            let text = "making a folder was refused, because an attempt may make";
            return Some(format!("{text} {MAX_FOLDERS} of them"));
        }
        let is_exceeded = self.0.is_exceeded.load(Ordering::Relaxed);
        is_exceeded.then(|| {
            let limit = ByteSize(self.0.limit);
            format!("a write to a file was refused, because `limits.scratch` is {limit}")
        })
    }

    /// Takes `cost` from what is left, or refuses and remembers that.
    pub(super) fn charge(&self, cost: u64) -> bool {
        let charged = &self.0.charged;
        let add = |charged: u64| {
            let sum = charged.checked_add(cost)?;
            (sum <= self.0.limit).then_some(sum)
        };
        let is_within = charged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok();
        if !is_within {
            self.0.is_exceeded.store(true, Ordering::Relaxed);
        }
        is_within
    }

    /// Takes what a new folder costs, or refuses and remembers that.
    pub(super) fn charge_folder(&self) -> bool {
        let folders = &self.0.folders;
        let add = |folders: u64| (folders < MAX_FOLDERS).then_some(folders + 1);
        let is_within = folders.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if is_within.is_err() {
            self.0.is_crowded.store(true, Ordering::Relaxed);
            return false;
        }
        let is_paid = self.charge(ENTRY);
        if !is_paid {
            folders.fetch_sub(1, Ordering::Relaxed);
        }
        is_paid
    }

    /// Gives back what a folder was charged that was not made.
    pub(super) fn refund_folder(&self) {
        self.0.folders.fetch_sub(1, Ordering::Relaxed);
        self.refund(ENTRY);
    }

    /// Gives back what a write was charged that failed.
    pub(super) fn refund(&self, cost: u64) {
        self.0.charged.fetch_sub(cost, Ordering::Relaxed);
    }

    /// Notes that the disk had no room for what the guest may write.
    pub(super) fn disk_is_full(&self) {
        self.0.is_disk_full.store(true, Ordering::Relaxed);
    }

    /// Tells whether that was so.
    pub(in crate::plugin) fn is_disk_full(&self) -> bool {
        self.0.is_disk_full.load(Ordering::Relaxed)
    }

    /// Counts bytes that were written.
    pub(super) fn wrote(&self, bytes: u64) {
        self.0.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What writing `bytes` at `offset` costs in a file of `size` bytes.
///
/// A byte far beyond the end costs what the file grows by, although a disk may keep the gap for nothing.
pub(super) fn cost(bytes: u64, offset: u64, size: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let end = offset.saturating_add(bytes);
    end.saturating_sub(size).max(bytes)
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, MAX_FOLDERS, Quota, cost};

    #[test]
    fn a_write_costs_its_bytes_or_the_growth_of_its_file() {
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
    fn folders_are_counted_beside_what_they_cost() {
        let quota = Quota::new(MAX_FOLDERS * ENTRY * 2);
        assert!((0..MAX_FOLDERS).all(|_| quota.charge_folder()));
        assert_eq!(quota.exceeded(), None);
        assert!(!quota.charge_folder());
        let exceeded = quota.exceeded().unwrap();
        assert!(exceeded.contains("4000"), "{exceeded}");
        quota.refund_folder();
        assert!(quota.charge_folder());
        let poor = Quota::new(ENTRY);
        assert!(poor.charge_folder() && !poor.charge_folder());
        poor.refund_folder();
        assert!(poor.charge_folder());
    }

    #[test]
    fn what_is_refused_costs_nothing_and_what_fails_is_given_back() {
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
