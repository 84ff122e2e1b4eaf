//! Which granted folders are refused because a guest could use one to get at more than it was granted.

use std::{
    io,
    path::{Component, Path, PathBuf, absolute},
};

use miette::Diagnostic;
use thiserror::Error;

use crate::plugin::Mount;

/// What no guest may write to, whatever it is granted.
#[derive(Clone, Debug)]
pub struct Protected {
    /// What it is, as in `the results root`.
    pub what: &'static str,
    /// Where it is, or will be.
    pub path: PathBuf,
    /// Whether what is in it may not be written to either.
    pub is_whole: bool,
}

/// Why a folder is not granted.
#[derive(Debug, Error, Diagnostic)]
pub enum FolderError {
    /// A guest could put a link to anywhere in its place.
    #[error(
        "the folder `{}`, granted as `{guest}`, lies or is linked to in `{}`, granted as `{outer_guest}` with mode `rw`: a guest could \
         put a link in its place that leads anywhere",
        inner.display(), outer.display()
    )]
    #[diagnostic(help("grant `rw` only of folders in which no other granted folder lies"))]
    Nested {
        /// The folder.
        inner: PathBuf,
        /// Where the guest finds it.
        guest: String,
        /// The folder that it is in.
        outer: PathBuf,
        /// Where a guest finds that.
        outer_guest: String,
    },
    /// A guest could change what it is granted, or what was recorded.
    #[error(
        "the folder `{}`, granted as `{guest}` with mode `rw`, would let a guest change {what}, `{}`",
        folder.display(), path.display()
    )]
    #[diagnostic(help("grant `rw` of a folder of its own, in which there is nothing else"))]
    Protected {
        /// The folder.
        folder: PathBuf,
        /// Where the guest finds it.
        guest: String,
        /// What is protected.
        what: &'static str,
        /// Where that is.
        path: PathBuf,
    },
    /// Nobody can say where something is.
    #[error("cannot find out where `{}` is: {source}", path.display())]
    Place {
        /// What is looked for.
        path: PathBuf,
        /// Why it is not found.
        source: io::Error,
    },
}

impl Protected {
    /// A file that guests may not write to.
    pub fn file(what: &'static str, path: &Path) -> Self {
        Self {
            what,
            path: path.to_owned(),
            is_whole: false,
        }
    }

    /// A folder in which guests may not write anywhere.
    pub fn folder(what: &'static str, path: &Path) -> Self {
        Self {
            is_whole: true,
            ..Self::file(what, path)
        }
    }
}

/// Checks one granted folder, beside all those that are granted at the same time.
///
/// # Errors
///
/// Fails if the folder is refused.
pub fn check_folder<'a>(
    mount: &Mount,
    all: impl IntoIterator<Item = &'a Mount>,
    protected: &[Protected],
) -> Result<(), FolderError> {
    // In the same folder again there is nothing that could be replaced.
    let is_around = |outer: &&Mount| {
        let is_inside = |place: &Path| place.starts_with(&outer.host) && place != outer.host;
        outer.is_writable && mount.places().any(is_inside)
    };
    if let Some(outer) = all.into_iter().find(is_around) {
        return Err(FolderError::Nested {
            inner: mount.host.clone(),
            guest: mount.guest.clone(),
            outer: outer.host.clone(),
            outer_guest: outer.guest.clone(),
        });
    }
    if !mount.is_writable {
        return Ok(());
    }
    for protected in protected {
        let path = resolved(&protected.path).map_err(|source| FolderError::Place {
            path: protected.path.clone(),
            source,
        })?;
        let is_inside = protected.is_whole && mount.host.starts_with(&path);
        if is_inside || path.starts_with(&mount.host) {
            return Err(FolderError::Protected {
                folder: mount.host.clone(),
                guest: mount.guest.clone(),
                what: protected.what,
                path,
            });
        }
    }
    Ok(())
}

/// Where something is, or will be once what is missing of its path is made.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let path = absolute(path)?;
    for ancestor in path.ancestors() {
        let Ok(mut found) = fs_err::canonicalize(ancestor) else {
            continue;
        };
        let missing = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
        for component in missing.components() {
            match component {
                Component::ParentDir => drop(found.pop()),
                component => found.push(component),
            }
        }
        return Ok(found);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::{FolderError, Protected, check_folder};
    use crate::plugin::Mount;

    #[test]
    fn nothing_is_granted_inside_a_writable_folder_but_that_folder_again() {
        let (ro, rw) = (false, true);
        let mount = |path: &str, is_writable| Mount::stored(Path::new(path), "/m", is_writable);
        for (inner, outer, is_refused) in [
            (mount("/a/b", ro), mount("/a", rw), true),
            (mount("/a/b", rw), mount("/a", rw), true),
            (mount("/a/b/c", rw), mount("/", rw), true),
            (mount("/a/b", rw), mount("/a", ro), false),
            (mount("/a", rw), mount("/a", rw), false),
            (mount("/a", ro), mount("/a", rw), false),
            (mount("/ab", ro), mount("/a", rw), false),
            (mount("/a", rw), mount("/a/b", ro), false),
        ] {
            let checked = check_folder(&inner, [&inner, &outer], &[]);
            let is_nested = matches!(checked, Err(FolderError::Nested { .. }));
            assert_eq!(is_nested, is_refused, "{inner:?} in {outer:?}");
            assert_eq!(checked.is_err(), is_refused);
        }
    }

    #[test]
    fn what_is_protected_is_found_through_links_and_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("open/deep")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        std::os::unix::fs::symlink("open", root.join("link")).unwrap();
        let refuses = |name: &str, protected: Protected| {
            let mount = Mount::stored(&root.join(name), "/m", true);
            check_folder(&mount, [&mount], &[protected]).is_err()
        };
        for (path, is_refused) in [
            ("open", true),
            ("open/results", true),
            ("link/results/deeper", true),
            ("none/../open/results", true),
            ("open/../other", false),
            ("other", false),
            ("opened", false),
        ] {
            let protected = Protected::file("it", &root.join(path));
            assert_eq!(refuses("open", protected), is_refused, "{path}");
        }
        assert!(!refuses(
            "open/deep",
            Protected::file("it", &root.join("link"))
        ));
        assert!(refuses(
            "open/deep",
            Protected::folder("it", &root.join("link"))
        ));
    }
}
