//! Artifacts: files that an attempt adds to its row.

use crate::host;

/// Reason of a refused artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// The name is empty, longer than 128 characters, that of an artifact of the runner, or has others than ASCII letters, digits and `._-`.
    #[error("the artifact's name is not allowed")]
    BadName,
    /// The attempt's artifacts together would exceed their limit of bytes.
    #[error("the artifacts are too large")]
    TooLarge,
    /// The attempt would exceed its limit of artifacts.
    #[error("there are too many artifacts")]
    TooMany,
    /// The host cannot store it, such as on a full disk.
    #[error("the artifact cannot be stored")]
    Unavailable,
}

/// Appends bytes to an artifact. The first call creates it and sets its media type.
pub fn append(name: &str, media_type: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
    host::append_artifact(name, media_type, bytes)
}
