//! Preview 1's `fd_readdir`, which reads only as much of a folder as it returns.
//!
//! wasmtime reads the whole folder and the attributes of each file at every call. With a large
//! folder and a small buffer, most of the time would go there.

use std::{fs::File, io, sync::Arc};

use rustix::fs::FileType;
use wasmtime::component::Resource;
use wasmtime_wasi::{
    WasiView as _,
    filesystem::Descriptor,
    p1::types::{Errno, Filetype},
    p2::bindings::filesystem::types::{HostDescriptor as _, PathFlags},
};
use wiggle::{GuestMemory, GuestPtr};

use super::counted::Counted;
use super::listing::{FolderEntry, Listing};
use crate::store::Sandbox;

/// Bytes of an entry before its name.
const HEAD: usize = 24;

/// A guest's buffer that is being filled.
struct EntryBuffer {
    start: u32,
    length: u32,
    filled: u32,
}

/// An open folder of a guest.
struct OpenedFolder {
    handle: u32,
    opened: Arc<File>,
    /// The folder's inode number, as preview 1 shows it to guests.
    identity: u64,
}

/// Fills a guest's buffer with entries from `cookie` on, and writes the number of bytes to `out`.
/// `None` if `fd` is not a folder.
pub(super) async fn fill(
    sandbox: &mut Sandbox,
    memory: &mut GuestMemory<'_>,
    fd: i32,
    start: i32,
    length: i32,
    cookie: i64,
    out: i32,
) -> wasmtime::Result<Option<i32>> {
    let Some(folder) = folder(sandbox, fd).await else {
        return Ok(None);
    };
    let place = cookie.cast_unsigned();
    let listing = match sandbox.host.guard.determinism {
        None => Listing::open_at(&folder.opened, place).await,
        Some(_) => sorted_listing(sandbox, &folder, place).await,
    };
    let Ok(mut listing) = listing else {
        return Ok(Some(Errno::Io as i32));
    };
    let mut next = place;
    let mut buffer =
        EntryBuffer { start: start.cast_unsigned(), length: length.cast_unsigned(), filled: 0 };
    // For the guest, a buffer that is not full is the end of the folder.
    while buffer.filled < buffer.length
        && let Some(entry) = listing.next().await
    {
        let Ok(entry) = entry else {
            return Ok(Some(Errno::Io as i32));
        };
        let Ok(name) = std::str::from_utf8(&entry.name) else {
            return Ok(Some(Errno::Ilseq as i32));
        };
        // Skips entries that have been removed meanwhile.
        if let Some(identity) = identity(sandbox, &folder, &entry, name).await {
            buffer.add(memory, &head(&entry, identity))?;
            buffer.add(memory, &entry.name)?;
        }
        if buffer.filled < buffer.length {
            next = entry.next;
        } else {
            listing.put_back(entry);
        }
    }
    sandbox.last_listing.0 = Some((folder.identity, next, listing));
    memory.write(GuestPtr::<u32>::new(out.cast_unsigned()), buffer.filled)?;
    Ok(Some(Errno::Success as i32))
}

/// Continues the last listing, or reads the names before `place` again.
async fn sorted_listing(
    sandbox: &mut Sandbox,
    folder: &OpenedFolder,
    place: u64,
) -> io::Result<Listing> {
    let last = sandbox.last_listing.0.take();
    if let Some((identity, next, listing)) = last
        && place > 0
        && (identity, next) == (folder.identity, place)
    {
        return Ok(listing);
    }
    let mut listing = Listing::sorted(&folder.opened);
    for _ in 0..place {
        if listing.next().await.transpose()?.is_none() {
            break;
        }
    }
    Ok(listing)
}

/// Finds the folder that a guest calls `fd`.
async fn folder(sandbox: &mut Sandbox, fd: i32) -> Option<OpenedFolder> {
    let Sandbox { wasi, descriptors, .. } = sandbox;
    let handle = descriptors.get(wasi, fd)?;
    let Ok(Descriptor::Dir(folder)) = wasi.ctx().table.get(&descriptor(handle)).cloned() else {
        return None;
    };
    let hash = Counted::of(sandbox).metadata_hash(descriptor(handle)).await.ok()?;
    Some(OpenedFolder { handle, opened: folder.dir, identity: hash.lower })
}

fn descriptor(handle: u32) -> Resource<Descriptor> {
    Resource::new_borrow(handle)
}

/// Returns the inode number of an entry, as preview 1 shows it. `None` if the entry was removed. A
/// link that leads outside has a number of its own.
async fn identity(
    sandbox: &mut Sandbox,
    folder: &OpenedFolder,
    entry: &FolderEntry,
    name: &str,
) -> Option<u64> {
    if entry.is_relative() {
        return Some(folder.identity);
    }
    let hash = Counted::of(sandbox)
        .metadata_hash_at(descriptor(folder.handle), PathFlags::empty(), name.to_owned())
        .await;
    hash.ok().map(|hash| hash.lower)
}

/// Encodes an entry's fields for preview 1.
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

impl EntryBuffer {
    /// Adds the bytes that fit.
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
