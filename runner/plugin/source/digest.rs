//! The digest of the source that a plugin is built from.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};
use walkdir::{DirEntry, WalkDir};

use super::SourceError;
use crate::model::Digest;

/// Hashes the files of `folder` and of the crates that it names by path, each with its place in its own folder: however
/// `folder` is named, and wherever all of it is moved to, the digest is the same.
///
/// Crates from a registry are not looked at, nor are lock files: a workspace's changes with every dependency of any
/// member, and a crate's own is written by the build itself.
pub(super) fn of_source(folder: &Path) -> Result<Digest, SourceError> {
    let folder =
        fs::canonicalize(folder).map_err(|error| SourceError::file("read", folder, error))?;
    let mut hasher = Sha256::new();
    for root in folders(&folder)? {
        for file in files(&root)? {
            let bytes = fs::read(&file).map_err(|error| SourceError::file("read", &file, error))?;
            let place = file.strip_prefix(&root).unwrap_or(&file);
            let place = place.as_os_str().as_encoded_bytes();
            for part in [place, &bytes] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
    }
    Ok(Digest::finish(hasher))
}

/// The folder, and those of all crates that it depends on by path.
pub(super) fn folders(folder: &Path) -> Result<BTreeSet<PathBuf>, SourceError> {
    let mut folders = BTreeSet::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let manifest = folder.join("Cargo.toml");
        match fs::read_to_string(&manifest) {
            Ok(text) => {
                let found = path_dependencies(&text);
                pending.extend(found.iter().map(|path| normal(&folder.join(path))));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SourceError::file("read", &manifest, error)),
        }
        pending.retain(|pending| !folders.contains(pending));
        folders.insert(folder);
    }
    Ok(folders)
}

/// The `path` of every dependency; a manifest that is not TOML is cargo's to complain about.
fn path_dependencies(manifest: &str) -> Vec<String> {
    let Ok(manifest) = manifest.parse::<Table>() else {
        return Vec::new();
    };
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(|table| table.values());
    let tables = targets.filter_map(Value::as_table).chain([&manifest]);
    let dependencies = tables.flat_map(|table| {
        ["dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|key| table.get(key)?.as_table())
    });
    dependencies
        .flat_map(|table| table.values())
        .filter_map(|dependency| Some(dependency.get("path")?.as_str()?.to_owned()))
        .collect()
}

/// The files of a folder in order, without what was built or installed, what is hidden, and lock files; nor is a
/// scenario beside the source part of it, or what comes of running it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let walk = WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().as_encoded_bytes();
            let is_left_out = match entry.file_type().is_dir() {
                true => matches!(
                    name,
                    b"dist" | b"target" | b"node_modules" | b"__pycache__" | b"results"
                ),
                false => name == b"Cargo.lock" || is_scenario(entry),
            };
            entry.depth() == 0 || !(is_left_out || name.starts_with(b"."))
        });
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| SourceError::file("read", folder, error.into()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Whether a file is a scenario that uses the plugin beside it: by its name, so that one that is being written is none of
/// the source either, or because it has the tables of one.
fn is_scenario(entry: &DirEntry) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    if !name.ends_with(b".toml") {
        return false;
    }
    let has_tables = || {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let table: Table = text.parse().unwrap_or_default();
        table.get("providers").is_some_and(Value::is_table)
    };
    name.starts_with(b"scenario") || (entry.depth() == 1 && has_tables())
}

/// Takes `a/b/../c` as `a/c`, so that one crate reached by two ways is one folder.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        let can_go_up = matches!(normal.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::ParentDir if can_go_up => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}
