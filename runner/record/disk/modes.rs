//! Who may read what is recorded: its owner alone, unless sharing was wanted.
//!
//! It was wanted where the user's mask lets others write, as 002 does; the usual 022, which lets everybody read, says
//! nothing about results. What lies in a directory is never open to anybody whom the directory shuts out, and where others
//! may write to a directory of a run they may read what is put there: or nobody could answer their requests.

use std::{
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use fs_err::{OpenOptions, os::unix::fs::OpenOptionsExt as _};

/// What the owner may do, who may do everything.
const OWNER: u32 = 0o700;
/// What others may do, and of that what writing is: the group, and everybody else.
const OTHERS: [(u32, u32); 2] = [(0o070, 0o020), (0o007, 0o002)];
/// What may be done with a file that is no program.
const FILE: u32 = 0o666;
/// In such a directory, as in `/tmp`, everybody writes and shares nothing.
const STICKY: u32 = 0o1000;

/// The mask of this process; before anybody has told it, one that shuts out everybody else.
static MASK: AtomicU32 = AtomicU32::new(0o077);

/// Takes the mask with which the process was started. Whoever asks the system for it has to set it, so that is done once.
pub fn follow_umask(mask: u32) {
    MASK.store(mask, Ordering::Relaxed);
}

/// Makes a directory that stands for itself: a run's.
pub(in crate::record) fn create_directory(path: &Path, is_closed: bool) -> io::Result<()> {
    let mode = if is_closed { OWNER } else { by_mask(mask()) };
    let made = std::fs::DirBuilder::new().mode(mode).create(path);
    made.map_err(|error| named(path, &error))
}

/// Makes a directory that stands for itself where it is missing, and those around it: a results root, or a content store.
pub fn create_directories(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(by_mask(mask())).create(path);
    made.map_err(|error| named(path, &error))
}

/// Makes a directory inside of one that is there, where it is missing, and those between them.
pub(in crate::record) fn create_inside(path: &Path) -> io::Result<()> {
    let mut around = path.ancestors().skip(1);
    let there = around.find(|around| around.exists());
    let mode = there.map_or(OWNER, inside);
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(mode).create(path);
    made.map_err(|error| named(path, &error))
}

/// Makes an empty file that stands for itself, `runner.db`, unless something is there.
pub(in crate::record) fn create_missing(path: &Path) {
    let mut options = OpenOptions::new();
    let mode = by_mask(mask()) & FILE;
    // Whoever opens it then says what is wrong.
    drop(options.write(true).create_new(true).mode(mode).open(path));
}

/// Lets `options` make a file at `path` with the mode that it is to have.
pub(in crate::record) fn set<'a>(options: &'a mut OpenOptions, path: &Path) -> &'a mut OpenOptions {
    options.mode(file_mode(path.parent().unwrap_or(path)))
}

/// The mode of a file that is made in `directory`; the system takes the mask from it.
pub fn file_mode(directory: &Path) -> u32 {
    let here = directory.as_os_str().is_empty();
    inside(if here { Path::new(".") } else { directory }) & FILE
}

/// Tells whether a directory is its owner's alone; one that cannot be asked is.
pub(in crate::record) fn is_closed(directory: &Path) -> bool {
    fs_err::metadata(directory).map_or(true, |found| found.mode() & 0o077 == 0)
}

/// Shuts everybody but the owner out of a directory, and of the files that are in it.
pub(in crate::record) fn close(directory: &Path) -> io::Result<()> {
    let close = |path: &Path| {
        let found = fs_err::symlink_metadata(path)?;
        let mode = found.mode() & 0o7777;
        if found.is_symlink() || mode & !OWNER & 0o777 == 0 {
            return Ok(());
        }
        let closed = std::fs::Permissions::from_mode(mode & !0o077);
        fs_err::set_permissions(path, closed)
    };
    close(directory)?;
    for entry in fs_err::read_dir(directory)? {
        close(&entry?.path())?;
    }
    Ok(())
}

fn mask() -> u32 {
    MASK.load(Ordering::Relaxed)
}

/// What may be done with something new, by the mask alone.
fn by_mask(mask: u32) -> u32 {
    let open = OTHERS.iter().filter(|(_, write)| mask & write == 0);
    open.fold(OWNER, |mode, (all, _)| mode | all)
}

fn inside(directory: &Path) -> u32 {
    match std::fs::metadata(directory) {
        Ok(found) => by_directory(found.mode(), mask()),
        Err(_) => OWNER,
    }
}

/// What may be done with something new in a directory of this mode.
fn by_directory(directory: u32, mask: u32) -> u32 {
    let by_mask = by_mask(mask);
    let open = OTHERS.iter().filter(|(all, write)| {
        let is_shared = directory & write != 0 && directory & STICKY == 0;
        directory & all != 0 && (is_shared || by_mask & all != 0)
    });
    open.fold(OWNER, |mode, (all, _)| mode | all)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    io::Error::new(
        error.kind(),
        format!("failed to create directory `{path}`: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::{by_directory, by_mask};

    #[test]
    fn sharing_is_what_a_mask_lets_others_write() {
        for (mask, expected) in [
            (0o022, 0o700),
            (0o077, 0o700),
            (0o027, 0o700),
            (0o002, 0o770),
            (0o007, 0o770),
            (0o000, 0o777),
            (0o020, 0o707),
        ] {
            assert_eq!(by_mask(mask), expected, "{mask:o}");
        }
    }

    #[test]
    fn what_is_in_a_directory_is_shared_as_that_is() {
        for (directory, mask, expected) in [
            (0o700, 0o000, 0o700),
            (0o770, 0o022, 0o770),
            (0o770, 0o000, 0o770),
            (0o755, 0o022, 0o700),
            (0o755, 0o002, 0o770),
            (0o775, 0o022, 0o770),
            (0o2770, 0o077, 0o770),
            (0o1777, 0o022, 0o700),
            (0o1777, 0o002, 0o770),
        ] {
            let found = by_directory(directory, mask);
            assert_eq!(found, expected, "{directory:o} {mask:o}");
        }
    }
}
