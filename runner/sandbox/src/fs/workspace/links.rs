//! Breaks links to the base before their files change, and shows a guest the attributes of a plain
//! copy.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use rustix::fs::fstat;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, ErrorCode, PathFlags};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::attempt::{BaseAttributes, SharedFile};
use super::tree::OwnFile;
use crate::fs::counted::{Counted, Handle, charge, datetime, settle};
use crate::fs::quota::ENTRY;
use crate::fs::system::{blocking, find_below};

/// Bytes of a file that is copied within the guest's call. A wake of another thread takes longer.
const COPIED_IN_CALL: u64 = 64 * 1024;
/// Tries at finding a path with `..`, which fails while anything on the machine is renamed.
const TRIES: u32 = 1_000;

impl Counted<'_> {
    /// Replaces a link to the base at a path by a file of the guest's own, which may be changed.
    pub(crate) async fn break_link_at(
        &mut self,
        fd: &Handle,
        path: &str,
        follows: bool,
    ) -> FsResult<()> {
        match self.find(fd, path, follows)? {
            Some(found) => self.break_link(&found, true).await,
            None => Ok(()),
        }
    }

    /// Does so for an open file.
    pub(crate) async fn break_open_link(&mut self, fd: &Handle) -> FsResult<()> {
        match self.files.table.get(fd)? {
            Descriptor::File(file) => {
                let file = Arc::clone(&file.file);
                self.break_link(&file, false).await
            }
            Descriptor::Dir(_) => Ok(()),
        }
    }

    /// Refuses to rename or link between the workspace and another folder, as between file systems.
    /// Outside, nothing would replace a file of the base before it is changed.
    pub(crate) fn stay_inside(&self, fd: &Handle, new_fd: &Handle) -> FsResult<()> {
        let Some(workspace) = &self.workspace else { return Ok(()) };
        let folders = [self.folder(fd)?, self.folder(new_fd)?];
        let [old, new] = folders.each_ref().map(fstat);
        let (old, new) = (old.map_err(failed)?, new.map_err(failed)?);
        if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino) {
            return Ok(());
        }
        // The system returns no path of over 4,095 bytes, and guests can create deeper folders.
        let is_inside = folders.each_ref().map(|folder| workspace.tree.contains(folder));
        match is_inside {
            [Some(old), Some(new)] if old == new => Ok(()),
            [Some(_), Some(_)] => Err(ErrorCode::CrossDevice.into()),
            _ => Err(ErrorCode::NameTooLong.into()),
        }
    }

    /// Breaks the link to the base that `file` is. A file that was found by a path has a name.
    async fn break_link(&mut self, file: &impl AsFd, is_named: bool) -> FsResult<()> {
        let Some(workspace) = &mut self.workspace else { return Ok(()) };
        let tree = Arc::clone(&workspace.tree);
        let Some(number) = tree.number_of(file) else { return Ok(()) };
        let path = tree.path_in(file).filter(|path| tree.number_at(path) == Some(number));
        if is_named && path.is_none() {
            // Too long for the system. Without a new file in its place, the base could be changed.
            return Err(ErrorCode::NameTooLong.into());
        }
        let own = OwnFile {
            tree: Arc::clone(&tree),
            number,
            name: workspace.next,
            path,
            is_over: Arc::clone(&workspace.is_over),
        };
        workspace.next += 1;
        let bytes = tree.base.file(number).bytes;
        let cost = bytes.saturating_add(ENTRY);
        charge(self.quota, cost)?;
        let created = if bytes <= COPIED_IN_CALL {
            own.create()
        } else {
            blocking(move || own.create()).await
        };
        let created = Arc::new(settle(self.quota, cost, created.map_err(FsError::from))?);
        let found = fstat(&created).map_err(failed)?;
        workspace.own.insert((found.st_dev, found.st_ino), number);
        if let Some(watched) = workspace.watched.get_mut(&number) {
            *watched = Some(Arc::clone(&created));
        }
        for entry in self.files.table.iter_mut() {
            if let Some(Descriptor::File(file)) = entry.downcast_mut()
                && tree.number_of(&file.file) == Some(number)
            {
                file.file = Arc::clone(&created);
            }
        }
        for stream in workspace.streams.iter().filter_map(Weak::upgrade) {
            let mut file = stream.lock().unwrap_or_else(PoisonError::into_inner);
            if tree.number_of(&*file) == Some(number) {
                *file = Arc::clone(&created);
            }
        }
        Ok(())
    }

    /// Shares a file with its stream.
    pub(crate) fn share(&mut self, file: Arc<File>) -> SharedFile {
        let shared = Arc::new(Mutex::new(file));
        if let Some(workspace) = &mut self.workspace {
            workspace.streams.retain(|stream| stream.strong_count() > 0);
            workspace.streams.push(Arc::downgrade(&shared));
        }
        shared
    }

    /// Returns whether an open file is a link to the base.
    pub(crate) fn is_link(&self, file: &File) -> bool {
        let workspace = self.workspace.as_ref();
        workspace.is_some_and(|workspace| workspace.tree.number_of(file).is_some())
    }

    /// Returns the number of the base's file to which a path is a link.
    pub(crate) fn linked(&self, fd: &Handle, path: &str) -> Option<u32> {
        let found = self.find(fd, path, false).ok()??;
        self.workspace.as_ref()?.tree.number_of(found)
    }

    /// Records that the link to a file of the base was removed.
    pub(crate) fn remove_link(&mut self, number: Option<u32>) {
        if let (Some(workspace), Some(number)) = (&mut self.workspace, number) {
            workspace.removed.insert(number);
        }
    }

    /// Returns the attributes of an open file, or of a path below a folder, that differ from those
    /// of the system.
    pub(crate) fn base_attributes(
        &self,
        fd: &Handle,
        below: Option<(&str, PathFlags)>,
    ) -> Option<BaseAttributes> {
        let workspace = self.workspace.as_ref()?;
        let (number, is_link) = match below {
            Some((path, flags)) => {
                let follows = flags.contains(PathFlags::SYMLINK_FOLLOW);
                workspace.number_of(self.find(fd, path, follows).ok()??)
            }
            None => match self.files.table.get(fd).ok()? {
                Descriptor::File(file) => workspace.number_of(&file.file),
                Descriptor::Dir(_) => None,
            },
        }?;
        let time = workspace.tree.base.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(BaseAttributes {
            identity: identity(number),
            links: is_link.then(|| u64::from(!workspace.removed.contains(&number))),
            time: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// Finds a file, folder or link in a call with a workspace.
    fn find(&self, fd: &Handle, path: &str, follows: bool) -> FsResult<Option<OwnedFd>> {
        if self.workspace.is_none() {
            return Ok(None);
        }
        let folder = self.folder(fd)?;
        for _ in 0..TRIES {
            match find_below(&folder, path, follows) {
                Ok(found) => return Ok(Some(found)),
                Err(Errno::AGAIN) => {}
                // Without an answer, the call could change the base.
                Err(error @ (Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE)) => {
                    return Err(failed(error));
                }
                Err(_) => return Ok(None),
            }
        }
        Err(failed(Errno::AGAIN))
    }
}

impl BaseAttributes {
    pub(crate) fn show(&self, found: DescriptorStat) -> DescriptorStat {
        let time = Some(datetime(self.time));
        let links = self.links;
        DescriptorStat {
            link_count: links.unwrap_or(found.link_count),
            data_access_timestamp: links.map_or(found.data_access_timestamp, |_| time),
            data_modification_timestamp: links.map_or(found.data_modification_timestamp, |_| time),
            // Not every system has the time of a file's creation.
            status_change_timestamp: found.status_change_timestamp.and(time),
            ..found
        }
    }
}

fn failed(error: Errno) -> FsError {
    std::io::Error::from(error).into()
}

/// Returns what takes the place of an inode number, which does not change with a link.
fn identity(number: u32) -> u64 {
    let mut hasher = Sha256::new_with_prefix("workspace");
    hasher.update(number.to_le_bytes());
    let bytes: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default())
}
