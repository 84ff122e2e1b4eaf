//! Opening what is in a results root: regular files alone. To open or to read a pipe or a device may wait for ever.

use std::{
    io::{self, Read as _},
    path::Path,
};

use fs_err::{File, OpenOptions, os::unix::fs::OpenOptionsExt as _};
use rustix::fs::OFlags;

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// Opens a file as `options` say.
pub(in crate::record) fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Of regular files it changes nothing.
    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(at_once).open(path)?;
    if !file.metadata()?.is_file() {
        let problem = format!("`{}` is not a regular file", path.display());
        return Err(io::Error::other(problem));
    }
    Ok(file)
}

/// Reads a whole file.
pub(in crate::record) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
