//! [`open_private`]: a folder that nobody else can put anything into, and files in it, looked at through the handles that
//! are then used.
//!
//! A path is read anew at every use, and whoever may write to one of the folders that it leads through can put another
//! folder into its place between a look and a use. So every folder from `/` on is opened through the one above it, and what
//! is opened is asked for its owner and mode.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat},
    process::geteuid,
};

/// The owner of what belongs to the system.
const ROOT: u32 = 0;
/// Group or others may write.
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = OFlags::empty();

/// Opens a folder that is ours alone, below folders that nobody but us and the system can change.
///
/// # Errors
///
/// Fails with the reason if anybody else could put something in its place or into it.
pub(super) fn open_private(folder: &Path) -> io::Result<OwnedFd> {
    // Links on the way are followed once, here; what they lead to is looked at part by part.
    let folder = fs_err::canonicalize(folder)?;
    let opened = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut place = PathBuf::from("/");
    let mut handle = openat(CWD, &place, opened | LOOK, Mode::empty())?;
    let names: Vec<_> = folder
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    for (index, name) in names.iter().enumerate() {
        check_ancestor(&place, &fstat(&handle)?)?;
        let is_last = index + 1 == names.len();
        let flags = if is_last { opened } else { opened | LOOK };
        handle = openat(&handle, *name, flags, Mode::empty())?;
        place.push(name);
    }
    let found = fstat(&handle)?;
    if found.st_uid != geteuid().as_raw() {
        return Err(refused(&place, "belongs to somebody else"));
    }
    if mode(&found).intersects(OTHERS_WRITE) {
        return Err(refused(&place, "may be written to by others"));
    }
    Ok(handle)
}

/// Opens a file in such a folder for reading, if it is a regular file of our own that nobody else may write to.
pub(super) fn open_file(folder: &impl AsFd, name: &str) -> io::Result<File> {
    // A pipe in its place is not waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty())?);
    let found = fstat(&file)?;
    let is_private = FileType::from_raw_mode(found.st_mode).is_file()
        && found.st_uid == geteuid().as_raw()
        && !mode(&found).intersects(OTHERS_WRITE)
        // Under another name somebody may have it who had it before.
        && found.st_nlink == 1;
    if !is_private {
        return Err(io::Error::other(
            "it is not a regular file that belongs to us alone",
        ));
    }
    Ok(file)
}

/// A path that leads to what is open, whatever has become of its name.
pub(super) fn path_of(file: &impl AsFd) -> PathBuf {
    format!("/dev/fd/{}", file.as_fd().as_raw_fd()).into()
}

fn check_ancestor(place: &Path, found: &Stat) -> io::Result<()> {
    let is_known = [ROOT, geteuid().as_raw()].contains(&found.st_uid);
    if !is_known {
        return Err(refused(place, "above it belongs to somebody else"));
    }
    if mode(found).intersects(OTHERS_WRITE) && !mode(found).contains(Mode::SVTX) {
        return Err(refused(place, "above it may be written to by others"));
    }
    Ok(())
}

fn mode(found: &Stat) -> Mode {
    Mode::from_raw_mode(found.st_mode)
}

fn refused(place: &Path, why: &str) -> io::Error {
    io::Error::other(format!("the folder `{}` {why}", place.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
    };

    use super::{open_file, open_private, path_of};

    fn reason(folder: &Path) -> String {
        open_private(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_private_if_nobody_else_can_change_it_or_what_is_above_it() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        let set = |name: &str, mode: u32| {
            fs_err::set_permissions(place(name), Permissions::from_mode(mode)).unwrap();
        };
        fs_err::create_dir_all(place("above/cache")).unwrap();
        set("above/cache", 0o700);
        open_private(&place("above/cache")).unwrap();

        for mode in [0o775, 0o757, 0o777] {
            set("above", mode);
            assert!(reason(&place("above/cache")).contains("above it may be written to by others"));
        }
        set("above", 0o1777);
        open_private(&place("above/cache")).unwrap();
        set("above/cache", 0o1777);
        assert!(reason(&place("above/cache")).contains("may be written to by others"));
        set("above/cache", 0o700);

        symlink(place("above/cache"), place("link")).unwrap();
        open_private(&place("link")).unwrap();
        set("above", 0o777);
        assert!(reason(&place("link")).contains("above it may be written to by others"));
    }

    #[test]
    fn what_takes_the_place_of_a_folder_after_the_look_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        for (name, content) in [("cache", "ours"), ("other", "theirs")] {
            fs_err::create_dir(place(name)).unwrap();
            fs_err::write(place(name).join("a"), content).unwrap();
        }
        let folder = open_private(&place("cache")).unwrap();
        fs_err::rename(place("cache"), place("away")).unwrap();
        fs_err::rename(place("other"), place("cache")).unwrap();
        let file = open_file(&folder, "a").unwrap();
        fs_err::remove_file(place("away/a")).unwrap();
        fs_err::write(place("away/a"), "theirs").unwrap();
        assert_eq!(fs_err::read_to_string(path_of(&file)).unwrap(), "ours");
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("above/cache");
        fs_err::create_dir_all(&cache).unwrap();
        let give = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
        fs_err::write(cache.join("a"), "x").unwrap();
        give(&cache.join("a"), 12_345);
        open_file(&open_private(&cache).unwrap(), "a").unwrap_err();
        give(&cache, 12_345);
        assert!(reason(&cache).contains("belongs to somebody else"));
        give(&cache, 0);
        give(&root.path().join("above"), 12_345);
        assert!(reason(&cache).contains("above it belongs to somebody else"));
    }

    #[test]
    fn a_file_is_ours_alone_or_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = open_private(root.path()).unwrap();
        let path = root.path().join("a");
        fs_err::write(&path, "x").unwrap();
        open_file(&folder, "a").unwrap();
        fs_err::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        open_file(&folder, "a").unwrap_err();
        fs_err::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        symlink(&path, root.path().join("link")).unwrap();
        open_file(&folder, "link").unwrap_err();
        fs_err::hard_link(&path, root.path().join("second")).unwrap();
        open_file(&folder, "a").unwrap_err();
        open_file(&folder, ".").unwrap_err();
    }
}
