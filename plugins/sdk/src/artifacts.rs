//! Files that an attempt leaves behind.

use crate::host;

/// Why an artifact was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// Names are made of letters, digits and `._-`, at most 128 of them.
    #[error("the artifact's name is not allowed")]
    BadName,
    /// The attempt's artifacts would be larger than its limit.
    #[error("the artifacts are too large")]
    TooLarge,
    /// The attempt would have more artifacts than its limit.
    #[error("there are too many artifacts")]
    TooMany,
    /// The host cannot store it now.
    #[error("the artifact cannot be stored")]
    Unavailable,
}

/// Adds bytes to the end of an artifact, which begins with the first; the media type of the first counts.
pub fn append(name: &str, media_type: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
    host::append_artifact(name, media_type, bytes)
}
