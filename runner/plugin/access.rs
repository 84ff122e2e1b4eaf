//! [`Access`]: what of the world outside its sandbox a provider's attempts may touch.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{self, Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use rustix::fs::{Mode, OFlags};

use super::{net::Network, secrets::Secrets};

/// As many as Linux follows in one path.
const MAX_LINKS: usize = 40;

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
    /// Where the symbolic links are that its path led through as it was written.
    links: Vec<PathBuf>,
    /// Which folder that was when it was found. Another one is not mounted, nor is one that nobody has looked for.
    identity: Option<Identity>,
}

/// Which folder it is, whatever its path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
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
        mount.links = links(path)?;
        mount.find_again()?;
        Ok(mount)
    }

    /// A folder that was found once; it cannot be mounted before [`Mount::find_again`].
    pub fn stored(host: &Path, guest: &str, is_writable: bool) -> Self {
        Self {
            host: host.to_owned(),
            guest: guest.to_owned(),
            is_writable,
            links: Vec::new(),
            identity: None,
        }
    }

    /// The places that decide which folder it is: its own, and those of the links that led to it.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let links = self.links.iter().map(PathBuf::as_path);
        [self.host.as_path()].into_iter().chain(links)
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

fn open(path: &Path) -> io::Result<(OwnedFd, Identity)> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = folder.metadata()?;
    let identity = Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    Ok((folder.into(), identity))
}

/// Where the symbolic links are that a path leads through; it has been resolved, so they have an end.
fn links(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    let mut place = PathBuf::new();
    let mut rest = backwards(&path::absolute(path)?);
    while let Some(part) = rest.pop() {
        if part == ".." {
            place.pop();
            continue;
        }
        // The root in the place of what came before, if it is that.
        let next = place.join(part);
        match next.read_link() {
            Ok(target) if links.len() < MAX_LINKS => {
                rest.extend(backwards(&target));
                links.push(next);
            }
            Ok(_) => return Err(rustix::io::Errno::LOOP.into()),
            Err(_) => place = next,
        }
    }
    Ok(links)
}

/// The parts of a path, last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use fs_err as fs;

    use super::links;

    #[test]
    fn every_link_that_a_path_leads_through_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("../c", root.join("a/relative")).unwrap();
        symlink(root.join("a/b"), root.join("c")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, expected) in [
            ("a/b", &[][..]),
            ("c", &["c"]),
            ("c/../b", &["c"]),
            ("a/./relative", &["a/relative", "c"]),
            ("a/relative/../../c", &["a/relative", "c", "c"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|name| root.join(name)).collect();
            assert_eq!(links(&root.join(path)).unwrap(), expected, "{path}");
        }
        links(&root.join("loop")).unwrap_err();
    }
}
