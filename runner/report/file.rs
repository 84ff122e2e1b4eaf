//! [`write_file`]: a file that is there whole, or as it was.

use std::{
    fs::Permissions,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Writes a file beside its place and then puts it there: whoever reads it meanwhile finds the one before or this one, whole.
///
/// # Errors
///
/// Fails as `write` does, or if there can be no such file.
pub fn write_file(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut written = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        // Its words have the name of a file that nobody has asked for.
        .map_err(|error| error.kind())?;
    let mut buffer = BufWriter::new(written.as_file_mut());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    written.persist(file).map_err(|error| error.error)?;
    Ok(())
}
