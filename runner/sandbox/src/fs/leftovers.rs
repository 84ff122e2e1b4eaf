//! Converts the files in `/artifacts` to artifacts.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use runner_files::{open_folder, open_regular_at};
use runner_model::{media_type, row::is_host_artifact, units::show_size};
use rustix::fs::{AtFlags, CWD, FileType, statat};

use super::quota::shorten_path;
use crate::store::artifacts::{LeftContent, LeftFile, MAX_OPEN, SMALL, is_artifact_name};

/// Files that are not kept and are named in the message.
const MAX_NAMED: usize = 10;
/// Entries that are read. A guest may create as many as fit its `limits.scratch`.
const MAX_ENTRIES: usize = 10_000;

/// Adds the files in `folder` to `left`, sorted by name, up to `max_files` files and `max_bytes`
/// bytes. Returns a message about files that are not kept.
pub(super) fn collect(
    folder: &Path,
    max_files: u64,
    max_bytes: u64,
    left: &mut Vec<LeftFile>,
) -> Option<String> {
    let read = names(folder).and_then(|names| Ok((names, open_folder(CWD, folder)?)));
    let ((mut names, is_cut), folder) = match read {
        Ok(read) => read,
        Err(error) => return Some(format!("cannot read `/artifacts`: {error}")),
    };
    // The order in a folder depends on the file system.
    names.sort();
    let (mut named, mut more) = (Vec::new(), 0);
    for name in names {
        match keep(folder.as_fd(), &name, max_files, max_bytes, left) {
            Ok(file) => left.push(file),
            Err(why) if named.len() < MAX_NAMED => {
                named.push(format!("`{}` ({why})", shorten_path(&name)));
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
        message += &format!("; only the first {MAX_ENTRIES} files were read");
    }
    Some(message)
}

/// Returns the names in a folder, and whether there are more.
fn names(folder: &Path) -> io::Result<(Vec<String>, bool)> {
    let mut entries = fs::read_dir(folder)?;
    let names = entries
        .by_ref()
        .take(MAX_ENTRIES)
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    Ok((names, entries.next().is_some()))
}

/// Opens a file, or returns the reason why it is not kept.
fn keep(
    folder: BorrowedFd<'_>,
    name: &str,
    max_files: u64,
    max_bytes: u64,
    left: &[LeftFile],
) -> Result<LeftFile, String> {
    if is_host_artifact(name) {
        return Err("the runner's own artifact has this name".to_owned());
    }
    if !is_artifact_name(name) {
        return Err("its name is not 1 to 128 of `A-Z a-z 0-9 . _ -`".to_owned());
    }
    let text = |error: rustix::io::Errno| io::Error::from(error).to_string();
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(text)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err("a symbolic link".to_owned()),
        _ => return Err("not a file".to_owned()),
    }
    if found.st_nlink > 1 {
        return Err("a hard link".to_owned());
    }
    if left.iter().any(|file| file.name == name) {
        return Err("another artifact has this name".to_owned());
    }
    if left.len() as u64 >= max_files {
        return Err(format!("over `limits.artifact_files`, {max_files}"));
    }
    // The open file counts: a host call that outlived the guest may have replaced it since
    // `statat`.
    let (file, opened) = open_regular_at(folder, name).map_err(|error| error.to_string())?;
    if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino) {
        return Err("it was replaced while it was read".to_owned());
    }
    let bytes = u64::try_from(opened.st_size).unwrap_or(u64::MAX);
    let before: u64 = left.iter().map(|file| file.bytes).sum();
    if before.saturating_add(bytes) > max_bytes {
        return Err(format!("over `limits.artifacts`, {}", show_size(max_bytes)));
    }
    if bytes > SMALL
        && left.iter().filter(|file| matches!(file.content, LeftContent::File(_))).count()
            >= MAX_OPEN
    {
        let small = show_size(SMALL);
        return Err(format!("more than {MAX_OPEN} artifacts have more than {small}"));
    }
    let content = content(file, bytes).map_err(|error| error.to_string())?;
    Ok(LeftFile {
        name: name.to_owned(),
        media_type: media_type(name).to_owned(),
        bytes: match &content {
            LeftContent::Memory(content) => content.len() as u64,
            LeftContent::File(_) => bytes,
        },
        content,
    })
}

/// Reads a small file, to free its descriptor. The name of a larger one disappears with the folder.
fn content(file: File, bytes: u64) -> io::Result<LeftContent> {
    if bytes > SMALL {
        return Ok(LeftContent::File(file));
    }
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content)?;
    Ok(LeftContent::Memory(content))
}
