//! [`PathTrace`]: all places that decide where a path leads.

use std::path::{self, Path, PathBuf};
use std::{ffi::OsString, io};

/// Links that Linux follows in one path; see path_resolution(7).
const MAX_LINKS: usize = 40;

/// The places that a path leads through, with symbolic links and `..` resolved. A guest that can write to the folder of one of
/// them can redirect the path.
#[derive(Debug)]
pub(super) struct PathTrace {
    /// All links and folders on the way. No place has a link in its own path.
    pub(super) places: Vec<PathBuf>,
    /// The end of the path, absolute and without links.
    pub(super) end: PathBuf,
}

impl PathTrace {
    /// Follows a path. Its last parts need not exist.
    ///
    /// # Errors
    ///
    /// Too many links, or no current folder.
    pub(super) fn follow(path: &Path) -> io::Result<Self> {
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
            // If the part is the root of a link's target, `join` replaces the whole path.
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

/// Returns the parts of a path in reverse order.
fn backwards(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::PathTrace;

    #[test]
    fn traces_have_every_place_of_a_path() {
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
            let way = PathTrace::follow(&root.join(path)).unwrap();
            assert_eq!(way.end, root.join(end), "{path}");
            let mut places = way.places;
            // Places above `root` are the same for all paths. A link with an absolute target leads through them again.
            places.retain(|place| place.starts_with(&root) && *place != root);
            let expected: Vec<_> = expected.iter().map(|name| root.join(name)).collect();
            assert_eq!(places, expected, "{path}");
        }
        PathTrace::follow(&root.join("loop")).unwrap_err();
    }
}
