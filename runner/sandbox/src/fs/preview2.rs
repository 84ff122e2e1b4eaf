//! Files of WASI 0.2: wasmtime's implementation, with checks and a count of all writes before it.

use rustix::fs::FileType;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult,
    bindings::filesystem::types::{
        self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
        DirectoryEntryStream, ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream,
        MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
    },
};

use super::counted::{Counted, Handle, borrow, charge, datetime, is_ordinary, new_time, settle};
use super::listing::Listing;
use super::quota::{
    ENTRY, MAX_PATH_BYTES, Quota, cost, is_full, outside_folder, special_file, too_many_files,
};
use super::system::{EntryKind, replaces_folder};
use crate::store::Sandbox;

/// Replaces wasmtime's functions, which must be in the linker already, by counting ones.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<_, CountedFiles>(linker, |sandbox| Counted::of(sandbox))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct CountedFiles;

impl HasData for CountedFiles {
    type Data<'a> = Counted<'a>;
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

/// Passes calls that change no file on to wasmtime.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        async fn $name(&mut self, $($argument: $type),*) -> $result {
            self.files.$name($($argument),*).await
        }
    )*};
}

impl HostDescriptor for Counted<'_> {
    pass_on! {
        advise(fd: Handle, offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()>;
        get_flags(fd: Handle) -> FsResult<DescriptorFlags>;
        get_type(fd: Handle) -> FsResult<DescriptorType>;
        is_same_object(one: Handle, other: Handle) -> wasmtime::Result<bool>;
        read(fd: Handle, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        readlink_at(fd: Handle, path: String) -> FsResult<String>;
        sync(fd: Handle) -> FsResult<()>;
        sync_data(fd: Handle) -> FsResult<()>;
    }

    async fn metadata_hash(&mut self, fd: Handle) -> FsResult<MetadataHashValue> {
        match self.hash(&fd, None) {
            Some(hash) => hash,
            None => self.files.metadata_hash(fd).await,
        }
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Handle,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        match self.hash(&fd, Some((&path, flags))) {
            Some(hash) => hash,
            // Also of a path with nothing, for wasmtime's reason.
            None => self.files.metadata_hash_at(fd, flags, path).await,
        }
    }

    async fn stat(&mut self, fd: Handle) -> FsResult<DescriptorStat> {
        let stat = self.files.stat(borrow(&fd)).await?;
        let base = self.base_attributes(&fd, None);
        Ok(self.show(&fd, base.iter().fold(stat, |stat, base| base.show(stat))))
    }

    async fn write(&mut self, fd: Handle, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.change(&fd, "")?;
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
        self.change(&fd, "")?;
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
        // First, because a later step copies the path, which may be as long as the memory of the guest.
        if path.len() > MAX_PATH_BYTES {
            return Err(ErrorCode::NameTooLong.into());
        }
        let is_creating = open_flags.contains(OpenFlags::CREATE);
        let is_changing = is_creating
            || open_flags.contains(OpenFlags::TRUNCATE)
            || flags.contains(DescriptorFlags::WRITE);
        if is_changing {
            self.change(&fd, &path)?;
        }
        if is_full(self.files.table) {
            self.host.meet_limit(too_many_files());
            // WASI 0.2 has no code for too many open files.
            return Err(ErrorCode::InsufficientMemory.into());
        }
        let kind = self.look_up(&fd, path_flags, &path).await?;
        if kind == EntryKind::Special {
            self.host.deny(special_file(&path), None);
            return Err(ErrorCode::NotPermitted.into());
        }
        if is_changing && !open_flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
            let follows = path_flags.contains(PathFlags::SYMLINK_FOLLOW);
            self.break_link_at(&fd, &path, follows).await?;
        }
        let is_new = kind == EntryKind::Nothing && is_creating;
        // A path that was found is inside the folder.
        let is_outside = kind == EntryKind::Nothing && !is_changing;
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
        self.change(&fd, &path)?;
        let quota = self.quota_for(&fd);
        if quota.as_ref().is_some_and(|quota| !quota.charge_folder()) {
            return Err(ErrorCode::InsufficientSpace.into());
        }
        let created = self.files.create_directory_at(fd, path).await;
        if let (Some(quota), Err(_)) = (&quota, &created) {
            quota.remove_folder();
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
        self.change(&fd, &path)?;
        self.change(&new_fd, &new_path)?;
        self.stay_inside(&fd, &new_fd)?;
        self.break_link_at(&fd, &path, false).await?;
        let quota = self.quota_for(&new_fd);
        charge(quota.as_ref(), ENTRY)?;
        let created = self.files.link_at(fd, path_flags, path, new_fd, new_path).await;
        settle(quota.as_ref(), ENTRY, created)
    }

    async fn symlink_at(&mut self, fd: Handle, target: String, path: String) -> FsResult<()> {
        self.change(&fd, &path)?;
        let quota = self.quota_for(&fd);
        charge(quota.as_ref(), ENTRY)?;
        let created = self.files.symlink_at(fd, target, path).await;
        settle(quota.as_ref(), ENTRY, created)
    }

    async fn set_times(
        &mut self,
        fd: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.change(&fd, "")?;
        self.break_open_link(&fd).await?;
        self.files.set_times(fd, accessed, modified).await
    }

    async fn read_directory(&mut self, fd: Handle) -> FsResult<Resource<DirectoryEntryStream>> {
        if is_full(self.files.table) {
            self.host.meet_limit(too_many_files());
            return Err(ErrorCode::InsufficientMemory.into());
        }
        let is_sorted = self.host.guard.determinism.is_some();
        let listing = Listing::open(&self.folder(&fd)?, is_sorted).await?;
        Ok(Resource::new_own(self.files.table.push(listing)?.rep()))
    }

    async fn stat_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let base = self.base_attributes(&fd, Some((&path, path_flags)));
        if base.is_some() || self.link_times.is_empty() || self.host.guard.determinism.is_some() {
            let stat = self.files.stat_at(borrow(&fd), path_flags, path).await?;
            return Ok(self.show(&fd, base.iter().fold(stat, |stat, base| base.show(stat))));
        }
        let mut stat = self.files.stat_at(borrow(&fd), path_flags, path.clone()).await?;
        if stat.type_ == DescriptorType::SymbolicLink {
            let link = self.link(&fd, path, &stat).await?;
            let times = self.link_times.of(&link);
            stat.data_access_timestamp = Some(datetime(times.accessed));
            stat.data_modification_timestamp = Some(datetime(times.modified));
        }
        Ok(stat)
    }

    async fn set_times_at(
        &mut self,
        fd: Handle,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.change(&fd, &path)?;
        match self.files.stat_at(borrow(&fd), path_flags, path.clone()).await {
            Ok(stat) if stat.type_ == DescriptorType::SymbolicLink => {
                let link = self.link(&fd, path, &stat).await?;
                self.link_times.set(&link, new_time(accessed), new_time(modified));
                return Ok(());
            }
            Ok(stat) if !is_ordinary(stat.type_) => {
                self.host.deny(special_file(&path), None);
                return Err(ErrorCode::NotPermitted.into());
            }
            _ => {}
        }
        self.break_link_at(&fd, &path, true).await?;
        // Without following links, wasmtime sets times by a path, which the sandbox of workers refuses.
        let flags = path_flags | PathFlags::SYMLINK_FOLLOW;
        self.files.set_times_at(fd, flags, path, accessed, modified).await
    }

    fn drop(&mut self, fd: Handle) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.files, fd)
    }

    async fn remove_directory_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        self.change(&fd, &path)?;
        let quota = self.quota_for(&fd);
        self.files.remove_directory_at(fd, path).await?;
        quota.iter().for_each(Quota::remove_folder);
        Ok(())
    }

    async fn rename_at(
        &mut self,
        fd: Handle,
        path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FsResult<()> {
        self.change(&fd, &path)?;
        self.change(&new_fd, &new_path)?;
        self.stay_inside(&fd, &new_fd)?;
        let moved = self.linked(&fd, &path);
        let replaced = self.linked(&new_fd, &new_path).filter(|number| Some(*number) != moved);
        let old = self.folder(&fd)?;
        let new = self.folder(&new_fd)?;
        let is_removing = replaces_folder(&old, &path, &new, &new_path);
        let quota = self.quota_for(&new_fd).filter(|_| is_removing);
        self.files.rename_at(fd, path, new_fd, new_path).await?;
        self.remove_link(replaced);
        quota.iter().for_each(Quota::remove_folder);
        Ok(())
    }

    async fn unlink_file_at(&mut self, fd: Handle, path: String) -> FsResult<()> {
        self.change(&fd, &path)?;
        let removed = self.linked(&fd, &path);
        self.files.unlink_file_at(fd, path).await?;
        self.remove_link(removed);
        Ok(())
    }

    fn read_via_stream(
        &mut self,
        fd: Handle,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let stream = self.files.read_via_stream(borrow(&fd), offset)?;
        self.read_at_once(stream, &fd, offset)
    }
}

pub(super) fn descriptor_type(kind: FileType) -> DescriptorType {
    match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::Unknown => DescriptorType::Unknown,
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
        let type_ = descriptor_type(entry.kind);
        let name = String::from_utf8(entry.name).map_err(|_| ErrorCode::IllegalByteSequence)?;
        Ok(Some(DirectoryEntry { type_, name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        let listing = Resource::<Listing>::new_own(stream.rep());
        self.files.table.delete(listing)?;
        Ok(())
    }
}
