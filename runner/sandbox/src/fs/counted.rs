//! [`Counted`]: the checks and charges of a guest's calls of WASI 0.2.

use std::{fs::File, path::PathBuf, sync::Arc};

use runner_model::HostFault;
use rustix::io::Errno;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{
    Descriptor, OpenMode, WasiFilesystemCtxView, WasiFilesystemView as _,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsResult,
    bindings::clocks::wall_clock::Datetime,
    bindings::filesystem::types::{
        DescriptorStat, DescriptorType, ErrorCode, HostDescriptor as _, NewTimestamp, PathFlags,
    },
};

use super::descriptors::{Link, LinkTimes, Times, nanos_now};
use super::quota::{Quota, read_only};
use super::streams::{CountedStream, FileReader};
use super::system::{EntryKind, look_up};
use super::workspace::attempt::AttemptWorkspace;
use crate::store::{Sandbox, host::Host};

/// The files of one attempt.
pub(super) struct Counted<'a> {
    pub(super) files: WasiFilesystemCtxView<'a>,
    /// `None` if no mounted folder is writable.
    pub(super) quota: Option<&'a Quota>,
    /// Paths of the mounted folders on the host.
    pub(super) roots: &'a [PathBuf],
    /// Each open stream of WASI 0.3 from or to a file or folder has a clone.
    pub(super) streams: &'a Arc<()>,
    pub(super) link_times: &'a mut LinkTimes,
    pub(super) workspace: Option<&'a mut AttemptWorkspace>,
    pub(super) host: &'a mut Host,
}

pub(super) type Handle = Resource<Descriptor>;

/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

impl<'a> Counted<'a> {
    pub(super) fn of(sandbox: &'a mut Sandbox) -> Self {
        Self {
            files: sandbox.wasi.filesystem(),
            quota: sandbox.quota.as_ref(),
            roots: &sandbox.roots,
            streams: &sandbox.file_streams,
            link_times: &mut sandbox.link_times,
            workspace: sandbox.workspace.as_mut(),
            host: &mut sandbox.host,
        }
    }
}

impl Counted<'_> {
    /// Returns the quota for a change through `fd`. `None` if the change will be refused.
    pub(super) fn quota_for(&self, fd: &Handle) -> Option<Quota> {
        let is_writable = match self.files.table.get(fd).ok()? {
            Descriptor::File(file) => {
                !file.perms.write_not_permitted() && file.open_mode.contains(OpenMode::WRITE)
            }
            Descriptor::Dir(dir) => !dir.perms.write_not_permitted(),
        };
        self.quota.filter(|_| is_writable).cloned()
    }

    /// Returns the current size of a file.
    pub(super) fn size(&self, fd: &Handle) -> FsResult<u64> {
        match self.files.table.get(fd)? {
            Descriptor::File(file) => Ok(file.file.metadata()?.len()),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Refuses a change at a path in a read-only folder, or of `fd` itself without a path.
    pub(super) fn change(&mut self, fd: &Handle, path: &str) -> FsResult<()> {
        let perms = match self.files.table.get(fd)? {
            Descriptor::File(file) => file.perms,
            Descriptor::Dir(folder) => folder.perms,
        };
        if perms.write_not_permitted() {
            self.host.deny(read_only(path), None);
            return Err(ErrorCode::NotPermitted.into());
        }
        Ok(())
    }

    /// Returns a folder.
    pub(super) fn folder(&self, fd: &Handle) -> FsResult<Arc<File>> {
        match self.files.table.get(fd)? {
            Descriptor::Dir(folder) => Ok(Arc::clone(&folder.dir)),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// Looks for something to open.
    pub(super) async fn look_up(
        &mut self,
        fd: &Handle,
        flags: PathFlags,
        path: &str,
    ) -> FsResult<EntryKind> {
        let folder = self.folder(fd)?;
        match look_up(&folder, path, flags.contains(PathFlags::SYMLINK_FOLLOW)) {
            Ok(found) => return Ok(found),
            Err(Errno::MFILE | Errno::NFILE) => {
                self.host.fault.get_or_insert(HostFault::Files);
            }
            Err(_) => {}
        }
        Ok(match self.files.stat_at(borrow(fd), flags, path.to_owned()).await {
            Err(_) => EntryKind::Nothing,
            Ok(found) if is_ordinary(found.type_) => EntryKind::Ordinary,
            Ok(_) => EntryKind::Special,
        })
    }

    /// Returns a link and its times, whose attributes are `found`.
    pub(super) async fn link(
        &mut self,
        fd: &Handle,
        path: String,
        found: &DescriptorStat,
    ) -> FsResult<Link> {
        let hash = self.files.metadata_hash_at(borrow(fd), PathFlags::empty(), path).await?;
        Ok(Link {
            inode: hash.lower,
            changed: found.status_change_timestamp.map_or(0, nanos),
            times: Times {
                accessed: found.data_access_timestamp.map_or(0, nanos),
                modified: found.data_modification_timestamp.map_or(0, nanos),
            },
        })
    }

    /// Wraps a stream into the file `fd` to count its writes.
    pub(super) fn count_stream(
        &mut self,
        stream: Resource<DynOutputStream>,
        fd: &Handle,
        position: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let Some(quota) = self.quota_for(fd) else {
            return Ok(stream);
        };
        let Descriptor::File(file) = self.files.table.get(fd)? else {
            return Ok(stream);
        };
        let file = Arc::clone(&file.file);
        let inner = self.files.table.delete(stream)?;
        // In a deterministic call no write is left to another thread, whose progress a guest could see.
        // In a workspace all writes must be done when its changes are found.
        let is_at_once = self.host.guard.determinism.is_some() || self.workspace.is_some();
        let inner = Some(inner).filter(|_| !is_at_once);
        let counted = CountedStream::new(inner, file, position, quota);
        let counted: DynOutputStream = Box::new(counted);
        Ok(self.files.table.push(counted)?)
    }

    /// Replaces a stream from the file `fd` by one that is always ready: in a deterministic call, and
    /// for a link to the base of a workspace, which may become another file.
    pub(super) fn read_at_once(
        &mut self,
        stream: Resource<DynInputStream>,
        fd: &Handle,
        offset: u64,
    ) -> FsResult<Resource<DynInputStream>> {
        let Descriptor::File(file) = self.files.table.get(fd)? else {
            return Ok(stream);
        };
        if self.host.guard.determinism.is_none() && !self.is_link(&file.file) {
            return Ok(stream);
        }
        let file = Arc::clone(&file.file);
        self.files.table.delete(stream)?;
        let stream: DynInputStream = Box::new(FileReader::new(self.share(file), offset));
        Ok(self.files.table.push(stream)?)
    }
}

pub(super) fn is_ordinary(kind: DescriptorType) -> bool {
    use DescriptorType::{Directory, RegularFile, SymbolicLink};
    matches!(kind, RegularFile | Directory | SymbolicLink)
}

/// Converts a time to nanoseconds since 1970.
fn nanos(time: Datetime) -> u64 {
    time.seconds.saturating_mul(NANOS).saturating_add(time.nanoseconds.into())
}

pub(super) fn datetime(nanos: u64) -> Datetime {
    Datetime { seconds: nanos / NANOS, nanoseconds: (nanos % NANOS) as u32 }
}

pub(super) fn new_time(time: NewTimestamp) -> Option<u64> {
    match time {
        NewTimestamp::NoChange => None,
        NewTimestamp::Now => Some(nanos_now()),
        NewTimestamp::Timestamp(time) => Some(nanos(time)),
    }
}

/// Charges `cost`, if there is a quota.
pub(super) fn charge(quota: Option<&Quota>, cost: u64) -> FsResult<()> {
    match quota {
        Some(quota) if !quota.charge(cost) => Err(ErrorCode::InsufficientSpace.into()),
        _ => Ok(()),
    }
}

/// Refunds `cost` if the call failed.
pub(super) fn settle<T>(quota: Option<&Quota>, cost: u64, result: FsResult<T>) -> FsResult<T> {
    if let (Some(quota), Err(error)) = (quota, &result) {
        quota.refund(cost);
        let code = error.downcast_ref();
        if matches!(code, Some(ErrorCode::InsufficientSpace | ErrorCode::FileTooLarge)) {
            quota.set_disk_full();
        }
    }
    result
}

pub(super) fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}
