//! Tells whether other users could have put something into a folder.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

const OTHERS_WRITE: u32 = 0o022;
/// In such a folder, as `/tmp` is one, others cannot replace what is not theirs.
const STICKY: u32 = 0o1000;

/// Fails unless the folder is owned by this user or root and writable by nobody else, and so is every folder above it,
/// which may be sticky instead. The path has no links.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
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
