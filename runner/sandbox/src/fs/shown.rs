//! The attributes of files as a deterministic call sees them: nothing in them depends on the machine.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, MetadataHashValue, PathFlags,
};

use super::counted::{Counted, Handle};
use super::system::{find_below, path_of};

impl Counted<'_> {
    /// Returns the times of all files below `fd` in a deterministic call, since 1970: those of granted
    /// folders are 0, and those of the attempt's own files are its start.
    pub(super) fn fixed_time(&self, fd: &Handle) -> Option<Duration> {
        let determinism = self.host.guard.determinism.as_ref()?;
        let perms = match self.files.table.get(fd).ok()? {
            Descriptor::File(file) => file.perms,
            Descriptor::Dir(folder) => folder.perms,
        };
        let is_own = !perms.write_not_permitted();
        Some(if is_own { determinism.clock.start() } else { Duration::ZERO })
    }

    /// Replaces the attributes that depend on the machine, in a deterministic call.
    pub(super) fn show(&self, fd: &Handle, found: DescriptorStat) -> DescriptorStat {
        let Some(time) = self.fixed_time(fd) else { return found };
        let time = Some(Datetime { seconds: time.as_secs(), nanoseconds: time.subsec_nanos() });
        let is_folder = found.type_ == DescriptorType::Directory;
        // Links to a granted file may be outside of it.
        let is_granted = time.is_some_and(|time| (time.seconds, time.nanoseconds) == (0, 0));
        DescriptorStat {
            // A folder's size and number of links depend on the file system.
            size: if is_folder { 0 } else { found.size },
            link_count: if is_folder || is_granted { 1 } else { found.link_count },
            data_access_timestamp: time,
            data_modification_timestamp: time,
            status_change_timestamp: time,
            ..found
        }
    }

    /// Returns a hash of the path of `fd`, or of a path below it, as the guest names it. It takes the
    /// place of an inode number in a deterministic call. `None` if there is nothing.
    pub(super) fn identity(&self, fd: &Handle, below: Option<(&str, PathFlags)>) -> Option<u64> {
        let handle = match self.files.table.get(fd).ok()? {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(folder) => &folder.dir,
        };
        let path = match below {
            None => path_of(handle),
            Some((path, flags)) => {
                let follows = flags.contains(PathFlags::SYMLINK_FOLLOW);
                path_of(&find_below(handle, path, follows).ok()?)
            }
        }?;
        Some(hash_below(self.roots, &path))
    }

    /// Returns the hash of [`Self::identity`] in the form of WASI 0.2, or that of a file of the
    /// workspace's base. `None` for others if the call is not deterministic.
    pub(super) fn hash(
        &self,
        fd: &Handle,
        below: Option<(&str, PathFlags)>,
    ) -> Option<FsResult<MetadataHashValue>> {
        let lower = match self.fixed_time(fd) {
            Some(_) => self.identity(fd, below)?,
            None => self.base_attributes(fd, below)?.identity,
        };
        Some(Ok(MetadataHashValue { lower, upper: !lower }))
    }
}

/// Hashes the index of the innermost mounted folder, and the path below it.
fn hash_below(roots: &[PathBuf], path: &Path) -> u64 {
    let mounted = (0_u64..).zip(roots);
    let innermost = mounted
        .filter_map(|(index, root)| {
            Some((root.as_os_str().len(), index, path.strip_prefix(root).ok()?))
        })
        .max();
    let (_, index, rest) = innermost.unwrap_or((0, u64::MAX, path));
    let mut hasher = Sha256::new_with_prefix(index.to_le_bytes());
    hasher.update(rest.as_os_str().as_bytes());
    let bytes: [u8; 32] = hasher.finalize().into();
    u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default())
}
