//! What a loss of power would leave: a copy of each file as it was at its last sync, and of each directory's names.
//!
//! Files and directories go by their inodes, so that a name which was given and not synced can be told from its file.
//! What a test makes of it is in `tests/support/power.rs`.

use std::{
    fmt::Write as _,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

static SHADOW: OnceLock<PathBuf> = OnceLock::new();

/// Keeps the shadow in this directory from now on; it may have one of an earlier process.
pub(super) fn cast(shadow: &str) {
    let is_first = SHADOW.set(shadow.into()).is_ok();
    assert!(is_first, "a process has one shadow");
}

/// Notes that a file's content is on disk.
pub(in crate::record) fn file_synced(path: &Path) -> io::Result<()> {
    let Some(shadow) = SHADOW.get() else {
        return Ok(());
    };
    keep(shadow, "files", path, &fs_err::read(path)?)
}

/// Notes that the names in a directory are on disk.
pub(in crate::record) fn directory_synced(path: &Path) -> io::Result<()> {
    let Some(shadow) = SHADOW.get() else {
        return Ok(());
    };
    let mut names = String::new();
    for entry in fs_err::read_dir(path)? {
        let entry = entry?;
        // What is gone meanwhile is not in it.
        if let Ok(metadata) = entry.metadata() {
            let name = entry.file_name();
            let line = writeln!(names, "{} {}", metadata.ino(), name.to_string_lossy());
            line.map_err(io::Error::other)?;
        }
    }
    keep(shadow, "directories", path, names.as_bytes())
}

fn keep(shadow: &Path, kind: &str, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let inode = fs_err::metadata(path)?.ino();
    let kept = shadow.join(kind).join(inode.to_string());
    // Whole or not at all: another thread may be about to be killed.
    let draft = kept.with_extension(format!("{:?}", std::thread::current().id()));
    fs_err::create_dir_all(shadow.join(kind))?;
    fs_err::write(&draft, bytes)?;
    fs_err::rename(&draft, &kept)
}
