//! Entries of the cache of compiled plugins. An entry is machine code that runs as it is. It is
//! opened only in a folder that no other user can change, below folders that no other user can
//! change, and through the handles that were checked: a path is resolved again at each use, so
//! another user who can write to one of its folders could replace the next one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component as PathPart, Path, PathBuf};

use crc32fast::Hasher;
use runner_files::open_regular_at;
use runner_model::{Digest, cache::Trailer, visible::shown_path};
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};
use rustix::process::geteuid;
use wasmtime::{Engine, Module, Precompiled, component::Component};

/// Loaded code.
pub(crate) enum Code {
    Component(Component),
    Module(Module),
}

/// Loads the code of an entry with a correct checksum.
#[expect(unsafe_code, reason = "the one place where our own compiled code is loaded")]
pub(crate) fn deserialize(engine: &Engine, entry: &File) -> wasmtime::Result<Code> {
    // For components wasmtime has a function for paths only.
    let path = path_of(entry);
    // SAFETY: our own compiler wrote the file, and nothing writes to it afterwards: it is in a
    // folder that only this user can change, or has no name. The path leads to the open file, so it
    // is the file with the correct checksum. wasmtime refuses entries of other versions by their
    // header.
    unsafe {
        Ok(match Engine::detect_precompiled_file(&path)? {
            Some(Precompiled::Module) => Code::Module(Module::deserialize_file(engine, &path)?),
            _ => Code::Component(Component::deserialize_file(engine, &path)?),
        })
    }
}

/// Opens an entry. `None` if it does not exist or is damaged.
///
/// # Errors
///
/// Another user could change the folder.
pub(crate) fn open_entry(folder: &Path, name: &str) -> io::Result<Option<(File, Trailer)>> {
    let file = open(folder, name)?;
    Ok(file.and_then(|file| {
        let trailer = check(&file).ok().flatten()?;
        Some((file, trailer))
    }))
}

/// Reads the source of a development form, and the digest of its loader. `None` if it does not exist.
///
/// # Errors
///
/// Another user could change the folder, or the file cannot be read.
pub(crate) fn read_source(folder: &Path, name: &str) -> io::Result<Option<(Digest, Vec<u8>)>> {
    let Some(mut file) = open(folder, name)? else { return Ok(None) };
    let (mut loader, mut source) = ([0; 64], Vec::new());
    file.read_exact(&mut loader)?;
    file.read_to_end(&mut source)?;
    let loader = str::from_utf8(&loader).ok().and_then(Digest::parse);
    Ok(loader.map(|loader| (loader, source)))
}

/// Opens a file of the cache. `None` if it does not exist.
fn open(folder: &Path, name: &str) -> io::Result<Option<File>> {
    let folder = match open_private(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        folder => folder?,
    };
    Ok(open_file(&folder, name).ok())
}

/// Reads the trailer and compares its checksum. `None` if the file is damaged, which wasmtime would
/// not notice.
pub(crate) fn check(mut file: &File) -> io::Result<Option<Trailer>> {
    let code = file.seek(SeekFrom::End(0))?.saturating_sub(Trailer::LENGTH as u64);
    let mut end = Vec::with_capacity(Trailer::LENGTH);
    file.seek(SeekFrom::Start(code))?;
    file.read_to_end(&mut end)?;
    let Some((_, trailer)) = Trailer::split(&end) else {
        return Ok(None);
    };
    file.rewind()?;
    let mut rest = file.take(code);
    let mut hasher = Hasher::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match rest.read(&mut block)? {
            0 => break,
            bytes => hasher.update(&block[..bytes]),
        }
    }
    Ok((hasher.finalize() == trailer.crc).then_some(trailer))
}

/// Opens a folder of this user, below folders that only this user and root can change.
fn open_private(folder: &Path) -> io::Result<OwnedFd> {
    // Follows links once. Then each part of the real path is checked.
    let folder = folder.canonicalize()?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut place = PathBuf::from("/");
    let mut handle = openat(CWD, &place, flags | OFlags::PATH, Mode::empty())?;
    for part in folder.components() {
        let PathPart::Normal(name) = part else {
            continue;
        };
        check_ancestor(&place, &fstat(&handle)?)?;
        handle = openat(&handle, name, flags | OFlags::PATH, Mode::empty())?;
        place.push(name);
    }
    let stat = fstat(&handle)?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(refused(&place, "belongs to another user"));
    }
    if others_write(&stat) {
        return Err(refused(&place, "can be written to by other users: `chmod go-w` it"));
    }
    Ok(handle)
}

fn check_ancestor(place: &Path, stat: &Stat) -> io::Result<()> {
    const ROOT: u32 = 0;
    if stat.st_uid != ROOT && stat.st_uid != geteuid().as_raw() {
        return Err(refused(place, "above it belongs to another user"));
    }
    // In a sticky folder such as `/tmp`, other users cannot replace our entries.
    let is_sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
    if others_write(stat) && !is_sticky {
        return Err(refused(place, "above it can be written to by other users"));
    }
    Ok(())
}

fn refused(place: &Path, why: &str) -> io::Error {
    io::Error::other(format!("the folder `{}` {why}", shown_path(place)))
}

fn others_write(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

/// Opens a regular file of this user that no other user can write to.
fn open_file(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let (file, stat) = open_regular_at(folder, name)?;
    let is_ours = stat.st_uid == geteuid().as_raw() && !others_write(&stat);
    is_ours.then_some(file).ok_or_else(|| io::Error::other("it is not a file of this user alone"))
}

/// Returns a path to an open file, which stays valid if the file is renamed.
fn path_of(file: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

#[cfg(test)]
#[path = "../tests/cache.rs"]
mod tests;
