//! The digest of the source that a plugin is built from.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use bytesize::ByteSize;
use fs_err as fs;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};
use walkdir::{DirEntry, WalkDir};

use super::{error::SourceError, regular};
use crate::model::Digest;

/// Files that a plugin's source may have, those of the crates that it names by path included.
const MAX_FILES: u64 = 50_000;
/// Files and folders that are looked at to find them.
const MAX_ENTRIES: u64 = 200_000;
/// Bytes of all of these files: what is hashed at each start must not take longer than a second or two.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// How deep a folder may be nested in the source.
const MAX_DEPTH: usize = 64;
/// Crates that it may name by path.
const MAX_FOLDERS: usize = 1_000;
/// Bytes of a manifest.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Bytes that are read at once; whether it was stopped is looked for between.
const BLOCK: usize = 256 * 1024;

/// What was found and read so far of one source.
struct HashedSource<'a> {
    entries: u64,
    files: u64,
    bytes: u64,
    is_stopped: &'a dyn Fn() -> bool,
}

/// Hashes the files of `folder` and of the crates that it names by path, each with its place in its own folder: however
/// `folder` is named, and wherever all of it is moved to, the digest is the same.
///
/// Crates from a registry are not looked at, nor are lock files: a workspace's changes with every dependency of any
/// member, and a crate's own is written by the build itself.
///
/// # Errors
///
/// Fails if the source is larger than any plugin's, or when `is_stopped` says so.
pub(super) fn of_source(
    folder: &Path,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Digest, SourceError> {
    let folder =
        fs::canonicalize(folder).map_err(|error| SourceError::file("read", folder, error))?;
    let mut hasher = Sha256::new();
    let mut account = HashedSource {
        entries: 0,
        files: 0,
        bytes: 0,
        is_stopped,
    };
    for root in folders(&folder)? {
        for file in files(&root, &mut account)? {
            let place = file.strip_prefix(&root).unwrap_or(&file);
            let place = place.as_os_str().as_encoded_bytes();
            hasher.update((place.len() as u64).to_le_bytes());
            hasher.update(place);
            account.hash(&root, &file, &mut hasher)?;
        }
    }
    Ok(Digest::finish(hasher))
}

impl HashedSource<'_> {
    /// Counts an entry of a folder.
    fn enter(&mut self, root: &Path, entry: &DirEntry) -> Result<(), SourceError> {
        if (self.is_stopped)() {
            return Err(SourceError::Stopped);
        }
        self.entries += 1;
        self.files += u64::from(entry.file_type().is_file());
        if self.files > MAX_FILES {
            return Err(too_large(root, format!("more than {MAX_FILES} files")));
        }
        if self.entries > MAX_ENTRIES {
            return Err(too_large(
                root,
                format!("more than {MAX_ENTRIES} files and folders"),
            ));
        }
        if entry.depth() > MAX_DEPTH {
            return Err(too_large(
                root,
                format!("folders nested more than {MAX_DEPTH} deep"),
            ));
        }
        Ok(())
    }

    /// Hashes a file's length and content, block by block.
    fn hash(&mut self, root: &Path, file: &Path, hasher: &mut Sha256) -> Result<(), SourceError> {
        let failed = |error| SourceError::file("read", file, error);
        let opened = regular::open(file).map_err(failed)?;
        let length = opened.metadata().map_err(failed)?.len();
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > MAX_BYTES {
            return Err(too_large(
                root,
                format!("more than {} of files", ByteSize(MAX_BYTES)),
            ));
        }
        hasher.update(length.to_le_bytes());
        // One that grows meanwhile is another at the next look.
        let mut rest = opened.take(length);
        let mut block = vec![0; BLOCK];
        loop {
            if (self.is_stopped)() {
                return Err(SourceError::Stopped);
            }
            match rest.read(&mut block).map_err(failed)? {
                0 => return Ok(()),
                read => hasher.update(&block[..read]),
            }
        }
    }
}

fn too_large(folder: &Path, has: String) -> SourceError {
    SourceError::TooLarge {
        folder: folder.to_owned(),
        has,
    }
}

/// The folder, and those of all crates that it depends on by path.
pub(super) fn folders(folder: &Path) -> Result<BTreeSet<PathBuf>, SourceError> {
    let mut folders = BTreeSet::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        if folders.len() == MAX_FOLDERS {
            let has = format!("more than {MAX_FOLDERS} crates that it names by path");
            return Err(too_large(&folder, has));
        }
        let manifest = folder.join("Cargo.toml");
        match regular::read_text(&manifest, MAX_MANIFEST_BYTES) {
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
fn files(folder: &Path, account: &mut HashedSource<'_>) -> Result<Vec<PathBuf>, SourceError> {
    // The order of a folder is made in memory, and one may have any number of names; they are put into order below.
    let walk = WalkDir::new(folder).into_iter().filter_entry(|entry| {
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
        account.enter(folder, &entry)?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    files.sort_by(|one, other| one.iter().cmp(other.iter()));
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
        let text = regular::read_text(entry.path(), MAX_MANIFEST_BYTES).unwrap_or_default();
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
