//! The test's attachments.

use crate::host;

/// Bytes that are asked for at once; the host hands over no more than 32 MiB.
const AT_ONCE: u32 = 8 * 1024 * 1024;

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the scenario.
    pub name: String,
    /// What its bytes are, such as `text/csv`.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u32,
}

/// Why an attachment could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The test has no attachment of this name.
    #[error("the test has no such attachment")]
    NotFound,
    /// The attachment ends before the bytes asked for, or they are more than 32 MiB.
    #[error("the attachment ends before the bytes asked for")]
    OutOfRange,
    /// The host cannot read it now.
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

/// Reads `length` bytes from `offset` on.
pub fn read_range(name: &str, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
    host::read_file(name, offset, length)
}
