//! What lies in folders, and what may lie there that is no file.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A folder and everything below it, in order.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().into_path()).collect()
}

/// Every file below a folder; what a link leads to is not below it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths = paths(folder);
    paths.retain(|path| fs_err::symlink_metadata(path).unwrap().is_file());
    paths
}

/// Every file below a folder, with what it holds.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let content = fs_err::read(&path).unwrap();
        (path, content)
    };
    files(folder).into_iter().map(read).collect()
}

/// Puts a named pipe in a place.
pub(crate) fn pipe(path: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}
