//! [`Mount`]: a folder of the host, as a guest sees it.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use fs_err as fs;
use rustix::fs::{Mode, OFlags};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{error::Unmounted, way::Way};
use crate::plugin::host_fault::{fault_in, fault_of};

/// A folder of the host, as a guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder; absolute, and without symbolic links when it was found.
    pub host: PathBuf,
    /// Where the guest finds it; absolute.
    pub guest: String,
    /// Whether the guest may write to it.
    pub is_writable: bool,
    /// What its path led through as it was written.
    places: Vec<PathBuf>,
    /// Which folder that was when it was found. Another one is not mounted, nor is one that nobody has looked for.
    identity: Option<FolderIdentity>,
}

/// Which folder it is, whatever its path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FolderIdentity {
    device: u64,
    inode: u64,
}

impl Mount {
    /// Finds the folder at `path`.
    ///
    /// # Errors
    ///
    /// Fails if there is no folder that can be read.
    pub fn find(path: &Path, guest: &str, is_writable: bool) -> io::Result<Self> {
        let mut mount = Self::stored(&fs::canonicalize(path)?, guest, is_writable);
        mount.places = Way::of(path)?.places;
        mount.find_again()?;
        Ok(mount)
    }

    /// A folder that was found once; it cannot be mounted before [`Mount::find_again`].
    pub fn stored(host: &Path, guest: &str, is_writable: bool) -> Self {
        Self {
            host: host.to_owned(),
            guest: guest.to_owned(),
            is_writable,
            places: Vec::new(),
            identity: None,
        }
    }

    /// Which folder was found, by the numbers of its device and of itself; `None` before one was.
    pub fn identity(&self) -> Option<[u64; 2]> {
        let FolderIdentity { device, inode } = self.identity?;
        Some([device, inode])
    }

    /// Takes the folder that another process of the runner has found, and no other, by [`Mount::identity`].
    pub fn was_found(&mut self, [device, inode]: [u64; 2]) {
        self.identity = Some(FolderIdentity { device, inode });
    }

    /// The places that decide which folder it is: its own, and all that its path led through.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let places = self.places.iter().map(PathBuf::as_path);
        [self.host.as_path()].into_iter().chain(places)
    }

    /// Takes the folder that is at the path now. Done before any guest runs that may change what is there.
    ///
    /// # Errors
    ///
    /// Fails if there is no folder that can be read, or its path leads to another place by now.
    pub fn find_again(&mut self) -> io::Result<()> {
        if fs::canonicalize(&self.host)? != self.host {
            return Err(io::Error::other("it is behind a symbolic link by now"));
        }
        self.identity = Some(open(&self.host)?.1);
        Ok(())
    }

    /// Mounts the very folder that was found when nothing ran yet, and not what another guest may have put in its place.
    pub(super) fn mount(&self, wasi: &mut WasiCtxBuilder) -> Result<(), Unmounted> {
        let perms = match self.is_writable {
            true => FsPerms::ReadWrite,
            false => FsPerms::ReadOnly,
        };
        let folder = self.open().map_err(|error| Unmounted {
            fault: fault_of(&error),
            text: error.to_string(),
        })?;
        // Between this look at a path and the next one a guest may change it; on Linux what is open has a path of its own.
        let path = if cfg!(target_os = "linux") {
            format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
        } else {
            self.host.clone()
        };
        preopen(wasi, &path, &self.guest, perms)
    }

    /// Opens the very folder that was found.
    fn open(&self) -> io::Result<OwnedFd> {
        let (folder, identity) = open(&self.host)?;
        if self.identity != Some(identity) {
            return Err(io::Error::other("another folder has taken its place"));
        }
        Ok(folder)
    }
}

fn open(path: &Path) -> io::Result<(OwnedFd, FolderIdentity)> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = folder.metadata()?;
    let identity = FolderIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    Ok((folder.into(), identity))
}

/// Lets a guest find a folder from its start on.
pub(super) fn preopen(
    wasi: &mut WasiCtxBuilder,
    host: &Path,
    guest: &str,
    perms: FsPerms,
) -> Result<(), Unmounted> {
    let opened = wasi.preopened_dir(host, guest, perms);
    opened.map(|_| ()).map_err(|error| Unmounted {
        fault: fault_in(error.chain()),
        text: format!("{error:#}"),
    })
}
