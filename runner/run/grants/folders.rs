//! Which granted folders are refused because a guest could use one to get at more than it was granted.
//!
//! In a folder that a guest may write to may lie nothing that the runner reads or writes. The rule is by place and identity;
//! because of it, what is written in a run's directory after a guest ran can be written by path.

use std::{
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use miette::Diagnostic;
use thiserror::Error;

use super::{
    filesystems::FileSystems,
    locations::{Location, Locations},
};
use crate::{
    plugin::{Mount, Way, is_private_folder},
    record,
};

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
    /// A guest would see processes, devices, and the runner itself.
    #[error(
        "the folder `{}`, granted as `{guest}`, {}: there the kernel shows processes, devices and its own settings, and \
         with them the runner's environment",
        folder.display(), kernels_words(folder, place)
    )]
    #[diagnostic(help(
        "grant folders of plain files; nothing in `/proc`, `/sys` or `/dev` is granted, nor a folder around them"
    ))]
    Kernel {
        /// The folder.
        folder: PathBuf,
        /// Where the guest finds it.
        guest: String,
        /// Where the kernel's file system is.
        place: PathBuf,
    },
    /// A guest could let the path of something lead elsewhere.
    #[error(
        "the folder `{}`, granted as `{guest}` with mode `rw`, would let a guest change {what}, `{}`, whose path leads through \
         `{}`: a guest could put a link there that leads anywhere",
        folder.display(), path.display(), place.display()
    )]
    #[diagnostic(help(
        "name it by a path that leads past the folder, or grant `rw` of another one"
    ))]
    OnTheWay {
        /// The folder.
        folder: PathBuf,
        /// Where the guest finds it.
        guest: String,
        /// What is protected.
        what: &'static str,
        /// How that is named.
        path: PathBuf,
        /// What of its path is in the folder.
        place: PathBuf,
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
    /// A file that guests may not write to, or a folder that they may not put something else in the place of.
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

/// Checks the folders that are granted at the same time; what is returned has their order.
///
/// What is compared is where things are and what they are: by another name, through a link or at another mount of the same
/// file system it is the same folder. A file that has a second name, a hard link, in a granted folder is not found.
pub fn check_folders(mounts: &[&Mount], protected: &[Protected]) -> Vec<Option<FolderError>> {
    let mut locations = Locations::new(FileSystems::mounted());
    let granted: Vec<_> = mounts
        .iter()
        .map(|mount| locations.of(&mount.host))
        .collect();
    let mut errors: Vec<_> = mounts
        .iter()
        .zip(&granted)
        .map(|(mount, spot)| {
            kernels(mount, locations.systems())
                .or_else(|| nested(mount, spot, mounts, &granted, &mut locations))
                .or_else(|| owned(mount, spot))
        })
        .collect();
    if mounts.iter().all(|mount| !mount.is_writable) {
        return errors;
    }
    for protected in protected {
        let way = Way::of(&protected.path);
        let end = way.as_ref().ok().map(|way| locations.of(&way.end));
        for ((mount, folder), error) in mounts.iter().zip(&granted).zip(&mut errors) {
            if !mount.is_writable || error.is_some() {
                continue;
            }
            *error = match (&way, &end) {
                (Ok(way), Some(end)) => open(mount, folder, protected, way, end, &mut locations),
                (Err(source), _) => Some(FolderError::Place {
                    path: protected.path.clone(),
                    source: io::Error::new(source.kind(), source.to_string()),
                }),
                (Ok(_), None) => None,
            };
        }
    }
    errors
}

/// Refuses what the kernel shows as files.
fn kernels(mount: &Mount, systems: &FileSystems) -> Option<FolderError> {
    let place = systems.kernels(&mount.host)?;
    Some(FolderError::Kernel {
        folder: mount.host.clone(),
        guest: mount.guest.clone(),
        place,
    })
}

/// Refuses a folder that a guest could put another one in the place of.
fn nested(
    mount: &Mount,
    spot: &Location,
    mounts: &[&Mount],
    granted: &[Rc<Location>],
    locations: &mut Locations,
) -> Option<FolderError> {
    let mut all = mounts.iter().zip(granted);
    let (outer, _) = all.find(|(outer, folder)| {
        // In the same folder again there is nothing that could be replaced.
        outer.is_writable
            && (spot.is_inside(folder)
                || mount
                    .places()
                    .any(|place| locations.of(place).is_replaced_in(folder)))
    })?;
    Some(FolderError::Nested {
        inner: mount.host.clone(),
        guest: mount.guest.clone(),
        outer: outer.host.clone(),
        outer_guest: outer.guest.clone(),
    })
}

/// Refuses to let a guest write where the runner keeps something, whichever process of it that is: in the directory of a
/// run, or in the private folder of an attempt.
fn owned(mount: &Mount, spot: &Location) -> Option<FolderError> {
    let is_private = |folder: &Path| folder.file_name().is_some_and(is_private_folder);
    let mut around = spot.ancestors().filter(|_| mount.is_writable);
    let (what, path) = around.find_map(|folder| {
        if record::is_run(folder) {
            return Some(("a run", folder));
        }
        is_private(folder).then_some(("the private folder of an attempt", folder))
    })?;
    Some(FolderError::Protected {
        folder: mount.host.clone(),
        guest: mount.guest.clone(),
        what,
        path: path.to_owned(),
    })
}

/// Refuses a folder in which something protected is, or through which its path leads.
fn open(
    mount: &Mount,
    folder: &Location,
    protected: &Protected,
    way: &Way,
    end: &Location,
    locations: &mut Locations,
) -> Option<FolderError> {
    if end.is_within(folder) || (protected.is_whole && folder.is_within(end)) {
        return Some(FolderError::Protected {
            folder: mount.host.clone(),
            guest: mount.guest.clone(),
            what: protected.what,
            path: way.end.clone(),
        });
    }
    let mut places = way.places.iter();
    let place = places.find(|place| locations.of(place).is_replaced_in(folder))?;
    Some(FolderError::OnTheWay {
        folder: mount.host.clone(),
        guest: mount.guest.clone(),
        what: protected.what,
        path: protected.path.clone(),
        place: place.clone(),
    })
}

fn kernels_words(folder: &Path, place: &Path) -> String {
    let place_shown = place.display();
    match folder.starts_with(place) {
        true => format!("is in `{place_shown}`"),
        false => format!("has `{place_shown}` in it"),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use fs_err as fs;

    use super::{FolderError, Protected, check_folders};
    use crate::plugin::Mount;

    fn check(mounts: &[&Mount], protected: &[Protected]) -> Option<FolderError> {
        check_folders(mounts, protected).swap_remove(0)
    }

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
            let checked = check(&[&inner, &outer], &[]);
            let is_nested = matches!(checked, Some(FolderError::Nested { .. }));
            assert_eq!(is_nested, is_refused, "{inner:?} in {outer:?}");
            assert_eq!(checked.is_some(), is_refused);
        }
    }

    #[test]
    fn what_is_protected_is_found_through_links_and_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("open/deep")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        symlink("open", root.join("link")).unwrap();
        symlink("../other", root.join("open/out")).unwrap();
        symlink("open/out/file", root.join("twice")).unwrap();
        let refuses = |name: &str, protected: Protected| {
            let mount = Mount::stored(&root.join(name), "/m", true);
            check(&[&mount], &[protected]).is_some()
        };
        for (path, is_refused) in [
            ("open", true),
            ("open/results", true),
            ("link/results/deeper", true),
            ("none/../open/results", true),
            ("open/../other", false),
            ("other", false),
            ("opened", false),
            // They end elsewhere, and a guest decides where.
            ("open/out", true),
            ("open/out/none", true),
            ("twice", true),
            ("open/deep/../../other", true),
        ] {
            let protected = Protected::file("it", &root.join(path));
            assert_eq!(refuses("open", protected), is_refused, "{path}");
        }
        let link = root.join("link");
        assert!(!refuses("open/deep", Protected::file("it", &link)));
        assert!(refuses("open/deep", Protected::folder("it", &link)));
        // Where nothing may be written nothing is changed.
        let mount = Mount::stored(&root.join("open"), "/m", false);
        assert!(check(&[&mount], &[Protected::file("it", &root.join("open/out"))]).is_none());
    }

    #[test]
    fn a_run_and_a_private_folder_are_known_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let private = format!("runner-attempt-{}", "0".repeat(32));
        for folder in ["run/artifacts", "running", &private] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["run/benchmark.json", "run/index.jsonl"] {
            fs::write(root.join(file), "").unwrap();
        }
        for (folder, is_refused) in [
            ("run", true),
            ("run/artifacts", true),
            (&private, true),
            ("running", false),
        ] {
            for is_writable in [true, false] {
                let mount = Mount::stored(&root.join(folder), "/m", is_writable);
                let checked = check(&[&mount], &[]);
                assert_eq!(checked.is_some(), is_refused && is_writable, "{folder}");
            }
        }
    }
}
