//! [`Access`]: what of the world outside its sandbox a provider's attempts may touch.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use rustix::fs::{Mode, OFlags};

use super::{fs::way::Way, net::Network, secrets::Secrets};

/// What of the world outside its sandbox a provider's attempts may touch, with every name resolved. The default is
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where HTTP requests may go; made of the grants, once per provider.
    pub net: Network,
    /// The secrets that it is granted, with their values.
    pub secrets: Arc<Secrets>,
    /// Folders that it finds in its file system.
    pub mounts: Vec<Mount>,
    /// Under which folder an attempt's own files are made, for as long as it runs.
    pub scratch_root: PathBuf,
}

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

    /// Opens the very folder that was found.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
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
