//! [`write_file`]: a file that is there whole, or as it was.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// How many symbolic links lead on from each other at most, as Linux has it.
const MOST_LINKS: usize = 40;

/// Writes a file beside its place and then puts it there: whoever reads it meanwhile finds the one before or this one, whole.
///
/// A symbolic link stays, and what it leads to is written. What is no regular file, such as a device or a named pipe, is
/// written into.
///
/// # Errors
///
/// Fails as `write` does, if there can be no such file, or if the one that is there may not be written.
pub fn write_file(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // A file may be replaced that may not be written, so that is asked first.
    let open = OpenOptions::new().append(true).open(file);
    match open {
        Ok(open) => {
            let (found, place) = (open.metadata()?, end_of_links(file));
            if !found.is_file() || is_open_file(&place) {
                return write_into(open, write);
            }
            replace(&place, Some(found.permissions()), write)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            replace(&end_of_links(file), None, write)
        }
        Err(error) => Err(error),
    }
}

fn replace(
    file: &Path,
    permissions: Option<Permissions>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut written = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(file))
        // Its words have the name of a file that nobody has asked for.
        .map_err(|error| error.kind())?;
    let mut buffer = BufWriter::new(written.as_file_mut());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    if let Some(permissions) = permissions {
        written.as_file().set_permissions(permissions)?;
    }
    written.persist(file).map_err(|error| error.error)?;
    Ok(())
}

fn write_into(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = BufWriter::new(file);
    let written = write(&mut buffer).and_then(|()| buffer.flush());
    // What it still holds would be written once more.
    drop(buffer.into_parts());
    match written {
        // Whoever read it has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Where symbolic links lead, whether something is there or not.
fn end_of_links(file: &Path) -> PathBuf {
    let mut end = file.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&end) {
            Ok(next) if !is_open_file(&end) => end = folder(&end).join(next),
            _ => break,
        }
    }
    end
}

/// Tells whether a path is another name of a file that a process has open, such as `/dev/stdout`: to replace what it leads
/// to would leave the process with the old one.
fn is_open_file(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev/fd")
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
