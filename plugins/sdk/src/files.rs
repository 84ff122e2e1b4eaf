//! The test's attachments.

use crate::host;

/// Bytes of one read. The host refuses more than 32 MiB.
const AT_ONCE: u32 = 8 * 1024 * 1024;

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name in the scenario.
    pub name: String,
    /// Media type, such as `text/csv`.
    pub media_type: String,
    /// Size in bytes.
    pub size: u32,
}

/// Reason of a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The test has no attachment of this name.
    #[error("the test has no such attachment")]
    NotFound,
    /// The range ends after the attachment, or has more than 32 MiB.
    #[error("the attachment ends before the bytes asked for")]
    OutOfRange,
    /// The host cannot read the file.
    #[error("the attachment cannot be read")]
    Unavailable,
}

/// Lists the attachments.
pub fn list() -> Vec<File> {
    host::files()
}

/// Reads a whole attachment.
pub fn read(name: &str) -> Result<Vec<u8>, FileError> {
    let file = list().into_iter().find(|file| file.name == name).ok_or(FileError::NotFound)?;
    let mut bytes = Vec::with_capacity(file.size as usize);
    while let Some(rest) = file.size.checked_sub(bytes.len() as u32)
        && rest > 0
    {
        let part = read_range(name, bytes.len() as u32, rest.min(AT_ONCE))?;
        if part.is_empty() {
            return Err(FileError::OutOfRange);
        }
        bytes.extend(part);
    }
    Ok(bytes)
}

/// Reads exactly `length` bytes, at most 32 MiB, from `offset`.
pub fn read_range(name: &str, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
    host::read_file(name, offset, length)
}
