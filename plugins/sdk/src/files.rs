//! The test's attachments.

use crate::host;

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
    /// The attachment ends before the bytes asked for.
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
    let file = list()
        .into_iter()
        .find(|file| file.name == name)
        .ok_or(FileError::NotFound)?;
    read_range(name, 0, file.size)
}

/// Reads `length` bytes from `offset` on.
pub fn read_range(name: &str, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
    host::read_file(name, offset, length)
}
