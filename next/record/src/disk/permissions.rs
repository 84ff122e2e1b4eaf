//! Who may read what is made: the owner alone, unless the umask says that others may write; and whether other users could
//! have put something into a folder.
//!
//! The usual umask 022, which lets everybody read, says nothing about results. A file is never open to users who cannot
//! enter its folder; in a folder that others may write to, they may also read.

use std::{io, os::unix::fs::MetadataExt as _, path::Path, sync::OnceLock};

/// What the owner may do.
const OWNER: u32 = 0o700;
/// The mode of a folder that only its owner may enter.
pub(crate) const PRIVATE: u32 = OWNER;
/// What others may do, and the bit of it that is writing: the group, and everybody else.
const OTHERS: [(u32, u32); 2] = [(0o070, 0o020), (0o007, 0o002)];
const OTHERS_WRITE: u32 = 0o022;
/// Where this is set, as in `/tmp`, everybody writes, shares nothing, and cannot replace what is not theirs.
const STICKY: u32 = 0o1000;

/// The mode of a new folder that stands for itself: a results root, or a run.
pub(crate) fn of_own_folder() -> u32 {
    by_mask(umask())
}

/// The mode of a new folder in a folder of this mode.
pub(crate) fn of_folder_in(folder: u32) -> u32 {
    by_folder(folder, umask())
}

/// The mode of a new file in a folder of this mode.
pub(crate) fn of_file_in(folder: u32) -> u32 {
    by_folder(folder, umask()) & 0o666
}

/// The umask of this process. The system call that asks for it also sets it, so it is read from `/proc`.
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

/// Fails unless the folder is owned by this user or root and writable by nobody else, and so is every folder above it,
/// which may be sticky instead. The path has no links.
pub(crate) fn check_trust(folder: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    // In a user namespace root has another number.
    let root = std::fs::metadata("/")?.uid();
    for above in folder.ancestors() {
        let found = std::fs::symlink_metadata(above)?;
        let shown = above.display();
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
    fn what_is_in_a_folder_is_shared_as_that_is() {
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
