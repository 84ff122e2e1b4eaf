//! Opening what lies in somebody's folder: only files, and only as much of them as is wanted.

use std::{
    io::{self, Read as _},
    path::Path,
};

use bytesize::ByteSize;
use fs_err::{File, OpenOptions, os::unix::fs::OpenOptionsExt as _};
use rustix::fs::OFlags;

/// Opens a regular file for reading. A pipe is not waited for, and a device is not read.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Said to a regular file it has no meaning.
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Reads a whole file that has no more than `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let most = ByteSize(most);
        return Err(io::Error::other(format!("it has more than {most}")));
    }
    Ok(bytes)
}

/// The same for a text.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read(path, most)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
