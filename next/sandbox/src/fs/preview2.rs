//! Files of WASI 0.2: wasmtime's implementation, with checks and a count of all writes before it.

use std::sync::Arc;

use rustix::fs::FileType;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    filesystem::{Descriptor, OpenMode, WasiFilesystemCtxView, WasiFilesystemView as _},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
            DirectoryEntryStream, ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream,
            MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::quota::{
    ENTRY, MAX_PATH_BYTES, Quota, cost, is_full, outside_folder, special_file, too_many_files,
};
use super::{listing::Listing, streams::CountedStream};
use crate::store::{Sandbox, host::Host};

/// Replaces wasmtime's functions, which must be in the linker already, by counting ones.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<_, CountedFiles>(linker, |sandbox| Counted {
        files: sandbox.wasi.filesystem(),
        quota: sandbox.quota.as_ref(),
        host: &mut sandbox.host,
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

struct CountedFiles;

impl HasData for CountedFiles {
    type Data<'a> = Counted<'a>;
}

/// The files of one attempt.
struct Counted<'a> {
    files: WasiFilesystemCtxView<'a>,
    /// `None` if no mounted folder is writable.
    quota: Option<&'a Quota>,
    host: &'a mut Host,
}

type Handle = Resource<Descriptor>;

impl Counted<'_> {
    /// Returns the quota for a change through `fd`. `None` if the change will be refused.
    fn quota_for(&self, fd: &Handle) -> Option<Quota> {
        let is_writable = match self.files.table.get(fd).ok()? {
            Descriptor::File(file) => {
                !file.perms.write_not_permitted() && file.open_mode.contains(OpenMode::WRITE)
            }
            Descriptor::Dir(dir) => !dir.perms.write_not_permitted(),
        };
        self.quota.filter(|_| is_writable).cloned()
    }

    /// Returns the current size of a file.
    fn size(&self, fd: &Handle) -> FsResult<u64> {
        match self.files.table.get(fd)? {
            Descriptor::File(file) => Ok(file.file.metadata()?.len()),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Wraps a stream into the file `fd` to count its writes.
    fn count_stream(
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
        let counted = CountedStream::new(inner, file, position, quota);
        let counted: DynOutputStream = Box::new(counted);
        Ok(self.files.table.push(counted)?)
    }
}

/// Charges `cost`, if there is a quota.
fn charge(quota: Option<&Quota>, cost: u64) -> FsResult<()> {
    match quota {
        Some(quota) if !quota.charge(cost) => Err(ErrorCode::InsufficientSpace.into()),
        _ => Ok(()),
    }
}

/// Refunds `cost` if the call failed.
fn settle<T>(quota: Option<&Quota>, cost: u64, result: FsResult<T>) -> FsResult<T> {
    if let (Some(quota), Err(error)) = (quota, &result) {
        quota.refund(cost);
        if matches!(error.downcast_ref(), Some(ErrorCode::InsufficientSpace)) {
            quota.set_disk_full();
        }
    }
    result
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

impl types::Host for Counted<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.files.convert_error_code(error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.files.filesystem_error_code(error)
    }
}

/// Only changes of files are counted. All else goes to wasmtime.
impl HostDescriptor for Counted<'_> {
    async fn write(&mut self, fd: Handle, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let quota = self.quota_for(&fd);
        let cost = match quota {
            Some(_) => cost(bytes.len() as u64, offset, self.size(&fd)?),
            None => 0,
        };
        charge(quota.as_ref(), cost)?;
        let written = self.files.write(fd, bytes, offset).await;
        if let (Some(quota), Ok(written)) = (&quota, &written) {
            quota.add_written(*written);
        }
        settle(quota.as_ref(), cost, written)
    }

    async fn set_size(&mut self, fd: Handle, size: Filesize) -> FsResult<()> {
        let quota = self.quota_for(&fd);
        let growth = match quota {
            Some(_) => size.saturating_sub(self.size(&fd)?),
            None => 0,
        };
        charge(quota.as_ref(), growth)?;
        let done = self.files.set_size(fd, size).await;
        settle(quota.as_ref(), growth, done)
    }

    fn write_via_stream(
        &mut self,
        fd: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.files.write_via_stream(borrow(&fd), offset)?;
        self.count_stream(stream, &fd, Some(offset))
    }

    fn append_via_stream(&mut self, fd: Handle) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.files.append_via_stream(borrow(&fd))?;
        self.count_stream(stream, &fd, None)
    }

    async fn open_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        if is_full(self.files.table) {
            self.host.deny(too_many_files(), None);
            // WASI 0.2 has no code for too many open files.
            return Err(ErrorCode::InsufficientMemory.into());
        }
        // Before it is copied.
        if path.len() > MAX_PATH_BYTES {
            return Err(ErrorCode::NameTooLong.into());
        }
        let found = self.files.stat_at(borrow(&fd), path_flags, path.clone()).await;
        let is_ordinary = |stat: &DescriptorStat| {
            matches!(
                stat.type_,
                DescriptorType::RegularFile
                    | DescriptorType::Directory
                    | DescriptorType::SymbolicLink
            )
        };
        if found.as_ref().is_ok_and(|stat| !is_ordinary(stat)) {
            self.host.deny(special_file(&path), None);
            return Err(ErrorCode::NotPermitted.into());
        }

        let is_new = found.is_err() && open_flags.contains(OpenFlags::CREATE);
        let is_writing =
            open_flags.contains(OpenFlags::TRUNCATE) || flags.contains(DescriptorFlags::WRITE);
        // A path that was found is inside the folder.
        let is_outside = found.is_err() && !is_new && !is_writing;
        let quota = self.quota_for(&fd).filter(|_| is_new);
        charge(quota.as_ref(), ENTRY)?;
        let opened = self.files.open_at(fd, path_flags, path.clone(), open_flags, flags).await;
        if let Err(error) = &opened
            && is_outside
            && matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted))
        {
            self.host.deny(outside_folder(&path), None);
        }
        settle(quota.as_ref(), ENTRY, opened)
    }

    async fn create_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        let quota = self.quota_for(&fd);
        if quota.as_ref().is_some_and(|quota| !quota.charge_folder()) {
            return Err(ErrorCode::InsufficientSpace.into());
        }
        let created = self.files.create_directory_at(fd, path).await;
        if let (Some(quota), Err(_)) = (&quota, &created) {
            quota.refund_folder();
        }
        settle(quota.as_ref(), 0, created)
    }

    async fn link_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FsResult<()> {
        let quota = self.quota_for(&new_fd);
        charge(quota.as_ref(), ENTRY)?;
        let created = self.files.link_at(fd, path_flags, path, new_fd, new_path).await;
        settle(quota.as_ref(), ENTRY, created)
    }

    async fn symlink_at(&mut self, fd: Handle, target: String, path: String) -> FsResult<()> {
        let quota = self.quota_for(&fd);
        charge(quota.as_ref(), ENTRY)?;
        let created = self.files.symlink_at(fd, target, path).await;
        settle(quota.as_ref(), ENTRY, created)
    }

    async fn advise(
        &mut self,
        fd: Handle,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.files.advise(fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Handle) -> FsResult<()> {
        self.files.sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Handle) -> FsResult<DescriptorFlags> {
        self.files.get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Handle) -> FsResult<DescriptorType> {
        self.files.get_type(fd).await
    }

    async fn set_times(
        &mut self,
        fd: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.files.set_times(fd, accessed, modified).await
    }

    async fn read(
        &mut self,
        fd: Handle,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.files.read(fd, length, offset).await
    }

    async fn read_directory(&mut self, fd: Handle) -> FsResult<Resource<DirectoryEntryStream>> {
        if is_full(self.files.table) {
            self.host.deny(too_many_files(), None);
            return Err(ErrorCode::InsufficientMemory.into());
        }
        let folder = match self.files.table.get(&fd)? {
            Descriptor::Dir(dir) => Arc::clone(&dir.dir),
            Descriptor::File(_) => return Err(ErrorCode::NotDirectory.into()),
        };
        let listing = Listing::open(&folder).await?;
        Ok(Resource::new_own(self.files.table.push(listing)?.rep()))
    }

    async fn sync(&mut self, fd: Handle) -> FsResult<()> {
        self.files.sync(fd).await
    }

    async fn stat(&mut self, fd: Handle) -> FsResult<DescriptorStat> {
        self.files.stat(fd).await
    }

    async fn stat_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        self.files.stat_at(fd, path_flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.files.set_times_at(fd, path_flags, path, accessed, modified).await
    }

    fn drop(&mut self, fd: Handle) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.files, fd)
    }

    async fn readlink_at(&mut self, fd: Handle, path: String) -> FsResult<String> {
        self.files.readlink_at(fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        self.files.remove_directory_at(fd, path).await
    }

    async fn rename_at(
        &mut self,
        fd: Handle,
        path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FsResult<()> {
        self.files.rename_at(fd, path, new_fd, new_path).await
    }

    async fn unlink_file_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        self.files.unlink_file_at(fd, path).await
    }

    fn read_via_stream(
        &mut self,
        fd: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.files.read_via_stream(fd, offset)
    }

    async fn is_same_object(&mut self, one: Handle, other: Handle) -> wasmtime::Result<bool> {
        self.files.is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, fd: Handle) -> FsResult<MetadataHashValue> {
        self.files.metadata_hash(fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.files.metadata_hash_at(fd, path_flags, path).await
    }
}

impl HostDirectoryEntryStream for Counted<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        // The table knows the guest's handle by our type.
        let listing = Resource::<Listing>::new_borrow(stream.rep());
        let listing = self.files.table.get_mut(&listing)?;
        let entry = loop {
            match listing.next().await.transpose()? {
                None => return Ok(None),
                Some(entry) if entry.is_relative() => {}
                Some(entry) => break entry,
            }
        };
        let type_ = match entry.kind {
            FileType::RegularFile => DescriptorType::RegularFile,
            FileType::Directory => DescriptorType::Directory,
            FileType::Symlink => DescriptorType::SymbolicLink,
            FileType::BlockDevice => DescriptorType::BlockDevice,
            FileType::CharacterDevice => DescriptorType::CharacterDevice,
            FileType::Fifo => DescriptorType::Fifo,
            FileType::Socket => DescriptorType::Socket,
            FileType::Unknown => DescriptorType::Unknown,
        };
        let name = String::from_utf8(entry.name).map_err(|_| ErrorCode::IllegalByteSequence)?;
        Ok(Some(DirectoryEntry { type_, name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        let listing = Resource::<Listing>::new_own(stream.rep());
        self.files.table.delete(listing)?;
        Ok(())
    }
}
