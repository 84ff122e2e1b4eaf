//! Preview 1's `fd_readdir`, which reads no more of a folder than it hands over.
//!
//! wasmtime's own reads the whole folder, and looks at each file in it, at every call: of a large folder that a guest
//! reads with a small buffer, most of the time goes there.

use std::{fs::File, sync::Arc};

use rustix::fs::FileType;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    WasiView as _,
    filesystem::{Descriptor, WasiFilesystemView as _},
    p1::{
        types::{Errno, Fd, Filetype},
        wasi_snapshot_preview1::WasiSnapshotPreview1 as _,
    },
    p2::bindings::filesystem::types::{HostDescriptor as _, PathFlags},
};
use wiggle::{GuestMemory, GuestPtr};

use super::listing::{FolderEntry, Listing};
use crate::store::{MAX_RESOURCES, Sandbox};

/// Bytes of an entry before its name.
const HEAD: usize = 24;

/// A buffer of a guest that is being filled.
struct Filling {
    start: u32,
    length: u32,
    filled: u32,
}

/// A folder of a guest.
struct OpenedFolder {
    handle: u32,
    opened: Arc<File>,
    /// Stands for the folder as preview 1 tells it to guests.
    identity: u64,
}

/// Fills a guest's buffer with entries from `cookie` on, and writes to `out` how much of it that are; none if `fd` is no
/// folder.
pub(super) async fn fill(
    sandbox: &mut Sandbox,
    memory: &mut GuestMemory<'_>,
    fd: i32,
    (start, length): (i32, i32),
    (cookie, out): (i64, i32),
) -> wasmtime::Result<Option<i32>> {
    let Some(folder) = folder(sandbox, memory, fd).await else {
        return Ok(None);
    };
    let listing = Listing::open_at(&folder.opened, cookie.cast_unsigned()).await;
    let Ok(mut listing) = listing else {
        return Ok(Some(Errno::Io as i32));
    };
    let mut filling =
        Filling { start: start.cast_unsigned(), length: length.cast_unsigned(), filled: 0 };
    // A buffer that is not full says that there are no more.
    while filling.filled < filling.length
        && let Some(entry) = listing.next().await
    {
        let Ok(entry) = entry else {
            return Ok(Some(Errno::Io as i32));
        };
        let Ok(name) = std::str::from_utf8(&entry.name) else {
            return Ok(Some(Errno::Ilseq as i32));
        };
        // What has been removed meanwhile is none of them any more.
        if let Some(identity) = identity(sandbox, &folder, &entry, name).await {
            filling.add(memory, &head(&entry, identity))?;
            filling.add(memory, &entry.name)?;
        }
    }
    memory.write(GuestPtr::<u32>::new(out.cast_unsigned()), filling.filled)?;
    Ok(Some(Errno::Success as i32))
}

/// Finds the folder that a guest calls `fd`. Preview 1 keeps for itself which of the handles that is, but not what the
/// folder's identity is; any handle of the same folder will do.
async fn folder(
    sandbox: &mut Sandbox,
    memory: &mut GuestMemory<'_>,
    fd: i32,
) -> Option<OpenedFolder> {
    let wasi = &mut sandbox.wasi;
    let wanted = wasi.fd_filestat_get(memory, Fd::from(fd)).await.ok()?;
    if wanted.filetype != Filetype::Directory {
        return None;
    }
    for handle in 0..u32::try_from(MAX_RESOURCES).ok()? {
        let found = wasi.ctx().table.get(&descriptor(handle));
        let Ok(Descriptor::Dir(dir)) = found else {
            continue;
        };
        let opened = Arc::clone(&dir.dir);
        let hash = wasi.filesystem().metadata_hash(descriptor(handle)).await;
        if hash.is_ok_and(|hash| hash.lower == wanted.ino) {
            return Some(OpenedFolder { handle, opened, identity: wanted.ino });
        }
    }
    None
}

fn descriptor(handle: u32) -> Resource<Descriptor> {
    Resource::new_borrow(handle)
}

/// What stands for an entry; none if it is not there any more. What is outside of a guest's folders has that of its own.
async fn identity(
    sandbox: &mut Sandbox,
    folder: &OpenedFolder,
    entry: &FolderEntry,
    name: &str,
) -> Option<u64> {
    if entry.is_relative() {
        return Some(folder.identity);
    }
    let mut files = sandbox.wasi.filesystem();
    let hash = files
        .metadata_hash_at(descriptor(folder.handle), PathFlags::empty(), name.to_owned())
        .await;
    hash.ok().map(|hash| hash.lower)
}

/// An entry's fields as preview 1 lays them out.
fn head(entry: &FolderEntry, identity: u64) -> [u8; HEAD] {
    let kind = match entry.kind {
        FileType::RegularFile => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Symlink => Filetype::SymbolicLink,
        FileType::BlockDevice => Filetype::BlockDevice,
        FileType::CharacterDevice => Filetype::CharacterDevice,
        FileType::Fifo | FileType::Socket | FileType::Unknown => Filetype::Unknown,
    };
    let length = u32::try_from(entry.name.len()).unwrap_or(u32::MAX);
    let mut head = [0; HEAD];
    head[0..8].copy_from_slice(&entry.next.to_le_bytes());
    head[8..16].copy_from_slice(&identity.to_le_bytes());
    head[16..20].copy_from_slice(&length.to_le_bytes());
    head[20] = kind as u8;
    head
}

impl Filling {
    /// Adds what there is room for.
    fn add(&mut self, memory: &mut GuestMemory<'_>, bytes: &[u8]) -> wasmtime::Result<()> {
        let room = (self.length - self.filled) as usize;
        let bytes = &bytes[..bytes.len().min(room)];
        let length = u32::try_from(bytes.len())?;
        let to = self.start.saturating_add(self.filled);
        memory.copy_from_slice(bytes, GuestPtr::<[u8]>::new((to, length)))?;
        self.filled += length;
        Ok(())
    }
}
