//! Owners of files and folders. A run decides which plugins are executed, and which of the user's files and secrets they
//! get, so commands that execute, change or delete runs refuse those of other users.
//!
//! The folder and the manifest of a run must belong to this user or root, and only the owner may write into the manifest.
//! The manifest has the digests of everything else that is executed. Other users may write into the folder, as in a shared
//! results root: the files that they put there belong to them.

use std::{io, os::fd::AsFd, path::Path};

use runner_model::visible::shown_path;
use rustix::fs::FileType;

use crate::disk::beneath::Dir;
use crate::disk::permissions::{OTHERS_WRITE, PRIVATE, TRUSTED};

/// Names of users, for messages.
const USERS: &str = "/etc/passwd";

/// Returns whether this results root is, or is below, the folder that `RUNNER_TRUST_ROOT` names.
pub(crate) fn is_trusted(root: &Dir) -> bool {
    let Some(named) = std::env::var_os(TRUSTED).filter(|path| !path.is_empty()) else {
        return false;
    };
    let Ok(named) = Dir::open(Path::new(&named)) else { return false };
    root.real_path().is_ok_and(|real| {
        let mut above = real.ancestors().filter_map(|above| Dir::open(above).ok());
        above.any(|above| named.stamp.is_same_file(&above.stamp))
    })
}

/// Returns how another user can decide on the content of an open file or folder, as the rest of a sentence. `None` if the
/// user of this process or root owns it. A folder that others may write to is not a problem by itself.
pub(crate) fn other_user(file: impl AsFd, path: &Path) -> io::Result<Option<String>> {
    let found = rustix::fs::fstat(file)?;
    if ![rustix::process::geteuid().as_raw(), 0].contains(&found.st_uid) {
        return Ok(Some(format!("belongs to {}", user(found.st_uid))));
    }
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let is_open = is_file && found.st_mode & OTHERS_WRITE != 0;
    Ok(is_open.then(|| {
        let path = shown_path(path);
        format!("can be changed by other users: if you trust it as it is, run `chmod go-w {path}`")
    }))
}

/// Returns whether an open folder belongs to this user and no other user may enter it.
pub(crate) fn is_private(folder: impl AsFd) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let found = rustix::fs::fstat(folder);
    found.is_ok_and(|found| found.st_uid == user && found.st_mode & 0o777 == PRIVATE)
}

/// Returns the name of a user.
pub(super) fn user_name(uid: u32) -> Option<String> {
    std::fs::read_to_string(USERS).ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the name and the number of a user, for people.
pub(crate) fn user(uid: u32) -> String {
    user_name(uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::{os::unix::fs::PermissionsExt as _, path::Path};

    use super::{other_user, user};

    #[test]
    fn files_that_others_can_write_are_foreign() {
        let folder = crate::tests::folder();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        for (mode, is_own) in [(0o600, true), (0o644, true), (0o660, false), (0o602, false)] {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            let found = other_user(&file, &path).unwrap();
            assert_eq!(found.is_none(), is_own, "{mode:o}: {found:?}");
        }
        let shared = File::open(folder.path()).unwrap();
        shared.set_permissions(Permissions::from_mode(0o770)).unwrap();
        assert_eq!(other_user(&shared, Path::new("")).unwrap(), None);
    }

    #[test]
    fn users_are_shown_by_name_and_number() {
        assert_eq!(user(0), "root (uid 0)");
        assert_eq!(user(424_242), "uid 424242");
    }
}
