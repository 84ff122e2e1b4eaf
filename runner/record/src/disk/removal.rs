//! [`Dir::clear`] and [`Dir::size`]: removes or measures everything below a folder, at any depth. [`remove_folder`] removes the
//! folder, too.

use std::os::fd::OwnedFd;
use std::{io, thread, time::Duration};

use runner_files::{empty, open_folder};
use rustix::fs::{AtFlags, FileType};

use crate::disk::beneath::{Dir, entries};
use crate::{RecordError, disk::lock::LOCK};

/// Deepest level that is measured. The runner itself makes two.
const MEASURED_DEPTH: u32 = 64;

impl Dir {
    /// Removes everything below the folder, except for these names in the folder itself. An entry that cannot be removed does
    /// not keep others from being removed.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub(crate) fn clear(&self, except: &[&str]) -> Result<(), RecordError> {
        empty(self, except).map_err(|source| self.error("remove the content of", ".", source))
    }

    /// Returns the bytes of all files below the folder that can be examined.
    pub(crate) fn size(&self) -> u64 {
        open_folder(self, c".").map_or(0, |top| size(&top, MEASURED_DEPTH))
    }
}

fn size(folder: &OwnedFd, depth: u32) -> u64 {
    let names = entries(folder, |_| true).unwrap_or_default().into_iter();
    let sizes = names.filter_map(|name| {
        let found = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth > 0 => {
                Some(size(&open_folder(folder, &name).ok()?, depth - 1))
            }
            FileType::RegularFile => found.st_size.try_into().ok(),
            _ => None,
        }
    });
    sizes.sum()
}

/// Removes the folder of a run that this process has locked. The lock goes last.
pub(crate) fn remove_folder(root: &Dir, dir: &Dir, name: &str) -> Result<(), RecordError> {
    dir.clear(&[LOCK])?;
    let mut tries = 0..100;
    loop {
        dir.remove(LOCK)?;
        match root.remove_folder(name) {
            // A process that tried to delete the folder, too, has created the lock again.
            Err(error)
                if error.kind() == Some(io::ErrorKind::DirectoryNotEmpty)
                    && tries.next().is_some() =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            removed => return removed,
        }
    }
}
