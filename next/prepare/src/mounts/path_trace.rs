//! [`Way`]: all the places that decide what a path leads to.

use std::{
    ffi::OsString,
    io,
    path::{self, Path, PathBuf},
};

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// The way that a path leads, through symbolic links and `..`.
///
/// A guest that may write to the folder of one of its places can let the path lead somewhere else.
#[derive(Debug)]
pub(super) struct Way {
    /// Every place on the way, links and folders, each with no link in its own path.
    pub(super) places: Vec<PathBuf>,
    /// What the path leads to: absolute and without links.
    pub(super) end: PathBuf,
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
    use std::{fs, os::unix::fs::symlink};

    use super::Way;

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
            ("a/b/../../c/x", "a/b/x", &["a", "a/b", "c", "a", "a/b", "a/b/x"]),
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
