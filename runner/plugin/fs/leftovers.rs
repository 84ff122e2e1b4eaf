//! What a command left in `/artifacts`, as artifacts.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use fs_err::{self as fs, os::unix::fs::OpenOptionsExt as _};

use crate::plugin::sandbox::artifacts::{ArtifactCollector, is_artifact_name};

/// How many of what is not kept are named.
const MAX_NAMED: usize = 10;
/// How many files and folders are looked at. A guest may make as many as its `limits.scratch` has room for, and has ended.
const MAX_ENTRIES: usize = 10_000;

/// Adds the files in `folder` to `artifacts`, in the order of their names; returns what there is to say about others.
pub(super) fn collect(folder: &Path, artifacts: &mut ArtifactCollector) -> Option<String> {
    let (mut named, mut more) = (Vec::new(), 0);
    let (mut names, is_cut) = match names(folder) {
        Ok(names) => names,
        Err(error) => return Some(format!("cannot read `/artifacts`: {error}")),
    };
    names.sort();
    for name in names {
        match keep(folder, &name, artifacts) {
            Ok(()) => {}
            Err(why) if named.len() < MAX_NAMED => {
                named.push(format!("`{}` ({why})", name.escape_debug()));
            }
            Err(_) => more += 1,
        }
    }
    if named.is_empty() && !is_cut {
        return None;
    }
    let mut message = format!("not kept from `/artifacts`: {}", named.join(", "));
    if more > 0 {
        message += &format!(" and {more} more");
    }
    if is_cut {
        message += &format!("; only {MAX_ENTRIES} files of all that are there were looked at");
    }
    Some(message)
}

/// The names of what is in a folder, and whether there are more.
fn names(folder: &Path) -> io::Result<(Vec<String>, bool)> {
    let mut entries = fs::read_dir(folder)?;
    let names = entries.by_ref().take(MAX_ENTRIES);
    let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<_>>()?;
    Ok((names, entries.next().is_some()))
}

fn keep(folder: &Path, name: &str, artifacts: &mut ArtifactCollector) -> Result<(), String> {
    if !is_artifact_name(name) {
        return Err("its name is not 1 to 128 of `A-Z a-z 0-9 . _ -`".to_owned());
    }
    let path = folder.join(name);
    let found = path.symlink_metadata().map_err(|error| error.to_string())?;
    if found.is_symlink() {
        return Err("a symbolic link".to_owned());
    }
    if !found.is_file() {
        return Err("not a file".to_owned());
    }
    if found.nlink() > 1 {
        return Err("a hard link".to_owned());
    }
    artifacts.keep(name, found.len(), || open(&path))
}

/// Opens what has just been seen to be a file; nothing if a link has taken its place.
fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}
