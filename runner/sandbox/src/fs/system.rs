//! System calls that the other files share.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::{ffi::OsStr, fs::File, future, panic, path::PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlink};
use rustix::io::Errno;
use tokio::task;

/// Runs blocking work on another thread, because all guests of a worker share this one.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down, and drops this future, too.
            Err(_) => future::pending().await,
        },
    }
}

/// What is at a path, for opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// Nothing, or nothing in the folder.
    Nothing,
    /// A file, folder or symbolic link.
    Ordinary,
    /// A pipe, socket or device. Opening one may block.
    Special,
}

/// Looks at a path below `folder`. Takes less time than a wake of another thread.
///
/// # Errors
///
/// No answer: the system has no such call, something was moved meanwhile, or too much is open.
pub(super) fn look_up(folder: &File, path: &str, follows: bool) -> rustix::io::Result<EntryKind> {
    match stat_below(folder, path, follows) {
        Err(error @ (Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::MFILE | Errno::NFILE)) => {
            Err(error)
        }
        Err(_) => Ok(EntryKind::Nothing),
        Ok(found) => Ok(match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile | FileType::Directory | FileType::Symlink => EntryKind::Ordinary,
            _ => EntryKind::Special,
        }),
    }
}

/// Returns whether renaming one path to the other one would replace a folder, which must be empty.
pub(super) fn replaces_folder(from: &File, from_path: &str, to: &File, to_path: &str) -> bool {
    match (stat_below(from, from_path, false), stat_below(to, to_path, false)) {
        (Ok(from), Ok(to)) => {
            // A folder that is renamed to itself stays.
            let is_same = (from.st_dev, from.st_ino) == (to.st_dev, to.st_ino);
            !is_same
                && [from, to].iter().all(|found| FileType::from_raw_mode(found.st_mode).is_dir())
        }
        _ => false,
    }
}

fn stat_below(folder: &File, path: &str, follows: bool) -> rustix::io::Result<Stat> {
    fstat(find_below(folder, path, follows)?)
}

/// Finds a file, folder or link below `folder`, without opening it.
pub(super) fn find_below(
    folder: impl AsFd,
    path: &str,
    follows: bool,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follows);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(folder, path, flags, Mode::empty(), resolve)
}

/// Returns the path of an open file or folder. A removed one has the last name that it had, and
/// ` (deleted)`.
pub(super) fn path_of(file: &impl AsFd) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let path = readlink(link, Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
}
