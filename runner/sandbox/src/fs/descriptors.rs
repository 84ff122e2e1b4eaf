//! Facts about files that wasmtime does not keep or show, for as long as a guest lives.
//!
//! [`Descriptors`] are the open files and folders of a guest of preview 1, by number. wasmtime hides
//! them, and its own calls wake another thread for each look at a file. Such a wake takes ten times
//! as long as most calls of the system.
//!
//! [`LinkTimes`] are the times that a guest gives to symbolic links. The system sets them only by a
//! path, which the sandbox of workers refuses: native code could change the times of any file of
//! the user.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use wasmtime::component::Resource;
use wasmtime_wasi::p1::{WasiP1Ctx, types::Fd, wasi_snapshot_preview1::WasiSnapshotPreview1 as _};
use wasmtime_wasi::{WasiView as _, filesystem::Descriptor};
use wiggle::GuestMemory;

/// The number of the first mounted folder. The others follow, in the order of the mounts.
const FIRST: u32 = 3;

/// The numbers of one guest.
pub(crate) struct Descriptors {
    /// Most entries of wasmtime's table.
    capacity: u32,
    /// Handles in that table, by number. `None` before the guest's first call.
    handles: Option<BTreeMap<u32, u32>>,
}

impl Descriptors {
    /// Creates the numbers of a guest that has made no call. wasmtime's table has at most
    /// `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: u32::try_from(capacity).unwrap_or(u32::MAX), handles: None }
    }

    /// Returns the handle of the file or folder with a number. `None` for standard input and
    /// output, and for unknown numbers.
    ///
    /// Must be called before wasmtime opens, closes or renumbers anything, to know the first ones.
    pub(super) fn get(&mut self, wasi: &mut WasiP1Ctx, number: i32) -> Option<u32> {
        self.handles(wasi).get(&number.cast_unsigned()).copied()
    }

    /// Adds a file or folder that was opened.
    pub(super) fn add(&mut self, wasi: &mut WasiP1Ctx, number: u32) {
        let known: BTreeSet<u32> = self.handles(wasi).values().copied().collect();
        let opened =
            (0..self.capacity).find(|handle| !known.contains(handle) && is_open(wasi, *handle));
        self.handles(wasi).extend(opened.map(|handle| (number, handle)));
    }

    /// Removes a closed number.
    pub(super) fn remove(&mut self, wasi: &mut WasiP1Ctx, number: i32) {
        self.handles(wasi).remove(&number.cast_unsigned());
    }

    /// Moves a file or folder to another number, which is closed before.
    pub(super) fn renumber(&mut self, wasi: &mut WasiP1Ctx, from: i32, to: i32) {
        let handles = self.handles(wasi);
        let moved = handles.remove(&from.cast_unsigned());
        if from != to {
            handles.remove(&to.cast_unsigned());
        }
        handles.extend(moved.map(|handle| (to.cast_unsigned(), handle)));
    }

    fn handles(&mut self, wasi: &mut WasiP1Ctx) -> &mut BTreeMap<u32, u32> {
        self.handles.get_or_insert_with(|| {
            // At the guest's first call, wasmtime gives the mounted folders their numbers.
            let _ = wasi.fd_prestat_get(&mut GuestMemory::Unshared(&mut []), Fd::from(FIRST));
            let all = (0..self.capacity).filter(|handle| is_open(wasi, *handle));
            (FIRST..).zip(all).collect()
        })
    }
}

fn is_open(wasi: &mut WasiP1Ctx, handle: u32) -> bool {
    wasi.ctx().table.get(&Resource::<Descriptor>::new_borrow(handle)).is_ok()
}

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
