//! Opening what is in a results root: regular files alone. To open or to read a pipe or a device may wait for ever.

use std::{
    fs::FileType,
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
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
    open_flagged(options, path, OFlags::empty())
}

/// The same to write into it, which is never done by way of a symbolic link: what that leads to is somebody else's.
pub(in crate::record) fn open_to_write(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    open_flagged(options, path, OFlags::NOFOLLOW)
}

fn open_flagged(options: &mut OpenOptions, path: &Path, flags: OFlags) -> io::Result<File> {
    // Of regular files it changes nothing.
    let at_once = flags | OFlags::NONBLOCK;
    match options
        .custom_flags(at_once.bits().cast_signed())
        .open(path)
    {
        Ok(file) => match file.metadata()?.file_type() {
            kind if kind.is_file() => Ok(file),
            kind => Err(no_file(path, kind)),
        },
        Err(error) => match fs_err::symlink_metadata(path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_symlink() && !flags.contains(OFlags::NOFOLLOW) => Err(error),
            Ok(kind) if !kind.is_file() => Err(no_file(path, kind)),
            _ => Err(error),
        },
    }
}

fn no_file(path: &Path, kind: FileType) -> io::Error {
    let path = path.display();
    io::Error::other(match kind.is_symlink() {
        true => format!(
            "`{path}` is a symbolic link, and nothing is written through one: put the file itself in its place, or remove the link"
        ),
        false => format!(
            "`{path}` is {}, and not a regular file: remove it, or move it away",
            name_of(kind)
        ),
    })
}

/// What something in a folder is, as it is called in a sentence.
pub fn name_of(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_file() => "a file",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

/// Reads a whole file.
pub(in crate::record) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use fs_err::OpenOptions;

    use super::{open, open_to_write};

    #[test]
    fn a_symbolic_link_is_read_through_and_never_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, dangling] = ["file", "link", "dangling"].map(|n| directory.path().join(n));
        fs_err::write(&file, "abc").unwrap();
        symlink("file", &link).unwrap();
        symlink("new", &dangling).unwrap();
        open(&link).unwrap();
        for path in [&link, &dangling] {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            let error = open_to_write(&mut options, path).unwrap_err();
            let says = format!("`{}` is a symbolic link", path.display());
            assert!(error.to_string().starts_with(&says), "{error}");
        }
        assert_eq!(fs_err::read_to_string(&file).unwrap(), "abc");
        assert!(!directory.path().join("new").exists());
    }
}
