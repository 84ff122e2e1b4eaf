//! [`write_report`]: a report beside the files of its run.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::record::disk::durable;

/// Writes a report with this name into the directory of a run, in place of the one before: whoever reads it meanwhile finds
/// either of them, whole.
///
/// # Errors
///
/// Fails as `write` does, or if there can be no such file.
pub fn write_report(
    dir: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let path = dir.join(name);
    // The words of that error have the name of a file that nobody has asked for.
    let mut written = durable::temporary(dir).map_err(|error| error.kind())?;
    let mut buffer = BufWriter::with_capacity(1 << 16, written.as_file_mut());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    durable::persist(written, &path)?;
    Ok(path)
}
