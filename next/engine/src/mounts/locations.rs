//! [`Locations`]: where a path is, whatever it is called, so that one is found to be inside another. [`Way`]: all the places
//! that decide what a path leads to.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{self, Path, PathBuf},
    rc::Rc,
};

use super::file_systems::FileSystems;

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

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

/// The way that a path leads, through symbolic links and `..`.
///
/// Whoever may write to the folder of one of its places can let the path lead somewhere else.
#[derive(Debug)]
pub(super) struct Way {
    /// Every place on the way, links and folders, each with no link in its own path.
    pub(super) places: Vec<PathBuf>,
    /// What the path leads to: absolute and without links.
    pub(super) end: PathBuf,
}

impl Location {
    /// Tells whether it is `folder` or somewhere in it.
    pub(super) fn is_within(&self, folder: &Self) -> bool {
        let is_below = match (&self.device, &folder.device) {
            (Some(one), Some(other)) => one.0 == other.0 && one.1.starts_with(&other.1),
            _ => false,
        };
        is_below || self.chain().any(|location| location.is(folder))
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

    /// The location itself, and the folders around it.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &Path> {
        self.chain().map(|location| location.path.as_path())
    }

    fn is(&self, other: &Self) -> bool {
        let is_same = self.identity.is_some() && self.identity == other.identity;
        is_same || self.path == other.path
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |location| location.parent.as_deref())
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

    /// Finds the location of an absolute path without links.
    pub(super) fn of(&mut self, path: &Path) -> Rc<Location> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        // As deep as a path may be, which is bounded.
        let parent = path.parent().map(|parent| self.of(parent));
        let found = fs::symlink_metadata(path).ok();
        let location = Rc::new(Location {
            identity: found.map(|found| (found.dev(), found.ino())),
            device: self.systems.device(path),
            path: path.to_owned(),
            parent,
        });
        self.known.insert(path.to_owned(), location.clone());
        location
    }
}

impl Way {
    /// Follows a path. What is not there leads where it would once it was made.
    ///
    /// # Errors
    ///
    /// Too many links, or no current folder.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let (mut places, mut links) = (Vec::new(), 0);
        let mut end = PathBuf::new();
        let mut rest = backwards(&path::absolute(path)?);
        while let Some(part) = rest.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                end.pop();
                continue;
            }
            // The root replaces what came before, if it is that.
            let next = end.join(part);
            match next.read_link() {
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    rest.extend(backwards(&target));
                }
                Ok(_) => return Err(rustix::io::Errno::LOOP.into()),
                Err(_) => end.clone_from(&next),
            }
            places.push(next);
        }
        Ok(Self { places, end })
    }
}

/// The parts of a path, last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{FileSystems, Locations, Way};

    #[test]
    fn a_folder_that_is_mounted_twice_is_one() {
        let systems = FileSystems::parse(
            b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
              2 1 8:1 /data/work /mounted/a\\040b rw - ext4 /dev/a rw\n\
              3 1 8:2 / /other rw - ext4 /dev/b rw\n",
        );
        let mut locations = Locations::new(systems);
        let mut location = |path: &str| locations.of(Path::new(path));
        for (inner, outer, is_within) in [
            ("/mounted/a b/c", "/data/work", true),
            ("/mounted/a b/c", "/data", true),
            ("/data/work/c", "/mounted/a b", true),
            ("/data/worker", "/mounted/a b", false),
            ("/other/data/work/c", "/data/work", false),
            ("/mounted/c", "/data/work", false),
        ] {
            let found = location(inner).is_within(&location(outer));
            assert_eq!(found, is_within, "{inner} in {outer}");
        }
    }

    #[test]
    fn a_folder_is_known_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        let mut locations = Locations::new(FileSystems::default());
        let mut location = |name: &str| locations.of(&root.join(name));
        assert!(location("a/b/none").is_inside(&location("a")));
        assert!(
            location("a").is_within(&location("a")) && !location("a").is_inside(&location("a"))
        );
        assert!(location("a/b").is_replaced_in(&location("a")));
        assert!(!location("a").is_replaced_in(&location("a")));
        assert!(!location("ab").is_within(&location("a")));
    }

    #[test]
    fn every_place_that_a_path_leads_through_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("../c", root.join("a/relative")).unwrap();
        symlink(root.join("a/b"), root.join("c")).unwrap();
        symlink("./a", root.join("dot")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, end, expected) in [
            ("a/b", "a/b", &["a", "a/b"][..]),
            ("c", "a/b", &["c", "a", "a/b"]),
            ("c/../b", "a/b", &["c", "a", "a/b", "a/b"]),
            (
                "a/b/../../c/x",
                "a/b/x",
                &["a", "a/b", "c", "a", "a/b", "a/b/x"],
            ),
            ("a/./relative", "a/b", &["a", "a/relative", "c", "a", "a/b"]),
            ("dot/b", "a/b", &["dot", "a", "a/b"]),
            ("none/../new", "new", &["none", "new"]),
        ] {
            let way = Way::of(&root.join(path)).unwrap();
            assert_eq!(way.end, root.join(end), "{path}");
            let mut places = way.places;
            // Those above are the same for all; a link with an absolute target leads through them again.
            places.retain(|place| place.starts_with(&root) && *place != root);
            let expected: Vec<_> = expected.iter().map(|name| root.join(name)).collect();
            assert_eq!(places, expected, "{path}");
        }
        Way::of(&root.join("loop")).unwrap_err();
    }
}
