//! [`Locations`]: where a path is, whatever it is called, so that one is found to be inside another.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::filesystems::FileSystems;

/// Where a path is that has no link in it; what it names may be missing.
#[derive(Debug)]
pub(super) struct Location {
    path: PathBuf,
    /// Which file or folder it is.
    identity: Option<(u64, u64)>,
    /// On which file system it is, and where on that: it may be mounted at two places.
    device: Option<(Rc<str>, PathBuf)>,
    /// The folder that it is in.
    parent: Option<Rc<Self>>,
}

/// Finds locations, each folder once.
pub(super) struct Locations {
    systems: FileSystems,
    known: HashMap<PathBuf, Rc<Location>>,
}

impl Location {
    /// Tells whether it is `folder` or somewhere in it.
    pub(super) fn is_within(&self, folder: &Self) -> bool {
        let is_below = match (&self.device, &folder.device) {
            (Some(one), Some(other)) => one.0 == other.0 && one.1.starts_with(&other.1),
            _ => false,
        };
        is_below || self.chain().any(|spot| spot.is(folder))
    }

    /// Tells whether it is in `folder` and not that folder itself.
    pub(super) fn is_inside(&self, folder: &Self) -> bool {
        self.is_within(folder) && !self.is(folder)
    }

    /// Tells whether somebody who may write to `folder` can put something else in its place.
    pub(super) fn is_replaced_in(&self, folder: &Self) -> bool {
        let parent = self.parent.as_ref();
        parent.is_some_and(|parent| parent.is_within(folder))
    }

    /// The folder that it is in, and the folders around that.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &Path> {
        self.chain().map(|spot| spot.path.as_path())
    }

    fn is(&self, other: &Self) -> bool {
        let is_same = self.identity.is_some() && self.identity == other.identity;
        is_same || self.path == other.path
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |spot| spot.parent.as_deref())
    }
}

impl Locations {
    pub(super) fn new(systems: FileSystems) -> Self {
        Self {
            systems,
            known: HashMap::new(),
        }
    }

    pub(super) fn systems(&self) -> &FileSystems {
        &self.systems
    }

    /// Finds the spot of an absolute path without links.
    pub(super) fn of(&mut self, path: &Path) -> Rc<Location> {
        let mut missing = Vec::new();
        let mut parent = None;
        for ancestor in path.ancestors() {
            if let Some(known) = self.known.get(ancestor) {
                parent = Some(Rc::clone(known));
                break;
            }
            missing.push(ancestor);
        }
        for path in missing.into_iter().rev() {
            let found = std::fs::symlink_metadata(path);
            let spot = Rc::new(Location {
                identity: found.ok().map(|found| (found.dev(), found.ino())),
                device: self.systems.device(path),
                path: path.to_owned(),
                parent,
            });
            self.known.insert(path.to_owned(), Rc::clone(&spot));
            parent = Some(spot);
        }
        parent.expect("a path has itself among its ancestors")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Locations;
    use crate::run::grants::filesystems::FileSystems;

    #[test]
    fn a_folder_that_is_mounted_twice_is_one() {
        let systems = FileSystems::parse(
            b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
              2 1 8:1 /data/work /mounted/a\\040b rw - ext4 /dev/a rw\n\
              3 1 8:2 / /other rw - ext4 /dev/b rw\n",
        );
        let mut locations = Locations::new(systems);
        let mut spot = |path: &str| locations.of(Path::new(path));
        for (inner, outer, is_within) in [
            ("/mounted/a b/c", "/data/work", true),
            ("/mounted/a b/c", "/data", true),
            ("/data/work/c", "/mounted/a b", true),
            ("/data/worker", "/mounted/a b", false),
            ("/other/data/work/c", "/data/work", false),
            ("/mounted/c", "/data/work", false),
        ] {
            let found = spot(inner).is_within(&spot(outer));
            assert_eq!(found, is_within, "{inner} in {outer}");
        }
    }

    #[test]
    fn a_folder_is_known_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(folder.path()).unwrap();
        fs_err::create_dir_all(root.join("a/b")).unwrap();
        let mut locations = Locations::new(FileSystems::default());
        let mut spot = |name: &str| locations.of(&root.join(name));
        assert!(spot("a/b/none").is_inside(&spot("a")));
        assert!(spot("a").is_within(&spot("a")) && !spot("a").is_inside(&spot("a")));
        assert!(spot("a/b").is_replaced_in(&spot("a")) && !spot("a").is_replaced_in(&spot("a")));
        assert!(!spot("ab").is_within(&spot("a")));
    }
}
