//! Modes of new files and folders, and the check that no other user can change a folder.
//!
//! New entries are private, unless the umask lets others write: the usual 022, which lets all users read, does not show
//! that results are meant for others. A file is never open to users who cannot enter its folder. In a folder that
//! others may write to, they may also read.

use std::{io, os::fd::AsFd, os::unix::fs::MetadataExt as _, path::Path, sync::OnceLock};

use runner_model::visible::shown_path;
use rustix::fs::{Mode, RawMode};

/// Names a folder. The settings, runs and requests of all results roots in it are used, even if others wrote them.
pub(crate) const TRUSTED: &str = "RUNNER_TRUST_ROOT";
const OWNER: u32 = 0o700;
/// Mode of a folder that only its owner may enter.
pub(crate) const PRIVATE: u32 = OWNER;
/// Permissions of the group and of all others, each with its write bit.
const OTHERS: [(u32, u32); 2] = [(0o070, 0o020), (0o007, 0o002)];
pub(crate) const OTHERS_WRITE: u32 = 0o022;
/// In a sticky folder such as `/tmp` all users can write, but cannot replace files of others: it is not shared.
const STICKY: u32 = 0o1000;

/// Returns the mode of a new results root or run.
pub(crate) fn of_own_folder() -> u32 {
    by_mask(umask())
}

/// Returns the mode of a new folder in a folder with mode `folder`.
pub(crate) fn of_folder_in(folder: u32) -> u32 {
    by_folder(folder, umask())
}

/// Returns the mode of a new file in a folder with mode `folder`.
pub(crate) fn of_file_in(folder: u32) -> u32 {
    by_folder(folder, umask()) & 0o666
}

/// Returns the mode of a new file among files of the user.
pub(crate) fn of_user_file() -> u32 {
    0o666 & !umask()
}

/// Returns the mode of a new folder among files of the user.
pub(crate) fn of_user_folder() -> u32 {
    0o777 & !umask()
}

/// Returns the umask. The system call that returns it also sets it, so it is read from `/proc`.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o077)
    })
}

fn by_mask(mask: u32) -> u32 {
    let shared = OTHERS.iter().filter(|(_, write)| mask & write == 0);
    shared.fold(OWNER, |mode, (all, _)| mode | all)
}

fn by_folder(folder: u32, mask: u32) -> u32 {
    let by_mask = by_mask(mask);
    let shared = OTHERS.iter().filter(|(all, write)| {
        let is_shared = folder & write != 0 && folder & STICKY == 0;
        folder & all != 0 && (is_shared || by_mask & all != 0)
    });
    shared.fold(OWNER, |mode, (all, _)| mode | all)
}

/// Adds the permissions of `mode` that the umask has removed from an entry with mode `found`: the umask of one member of a
/// group must not lock out the others. Ignores errors, because some file systems have no modes.
pub(super) fn share(entry: impl AsFd, found: u32, mode: u32) {
    if found & mode != mode {
        let _ = rustix::fs::fchmod(entry, Mode::from_raw_mode((found & 0o7777 | mode) as RawMode));
    }
}

/// Fails unless the folder belongs to this user or root, only the owner can write to it, and the same is true of every
/// folder above, which may also be sticky. The path must have no links.
pub(crate) fn check_trust(folder: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    // Root has another number in a user namespace.
    let root = std::fs::metadata("/")?.uid();
    for above in folder.ancestors() {
        let found = std::fs::symlink_metadata(above)?;
        let shown = shown_path(above);
        if ![user, 0, root].contains(&found.uid()) {
            return Err(io::Error::other(format!(
                "{shown} belongs to another user (uid {}), who could change what is in it: use a folder of your own",
                found.uid()
            )));
        }
        let is_sticky = above != folder && found.mode() & STICKY != 0;
        if found.mode() & OTHERS_WRITE != 0 && !is_sticky {
            return Err(io::Error::other(format!(
                "other users may write into {shown}: run `chmod go-w {shown}`, or use another folder"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{by_folder, by_mask};

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
    fn entries_are_shared_as_their_folder() {
        for (folder, mask, expected) in [
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
            assert_eq!(by_folder(folder, mask), expected, "{folder:o} {mask:o}");
        }
    }
}
