//! [`folders`]: of which folders a plugin is made.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::digest;

/// The folder of a plugin, and those of all crates that it depends on by path: what is built is made of these.
pub fn folders(folder: &Path) -> Vec<PathBuf> {
    let found = fs::canonicalize(folder)
        .ok()
        .and_then(|folder| digest::folders(&folder).ok());
    // The folder as it is named, too: what its path leads through decides which one it is.
    let mut folders = vec![folder.to_owned()];
    folders.extend(found.into_iter().flatten());
    folders
}
