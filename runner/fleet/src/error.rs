//! [`FleetError`]: failures of the broker and of the connection to it.

use thiserror::Error;

/// A failure of the broker or of the connection to it. Its text is for the user.
#[derive(Debug, Error)]
pub enum FleetError {
    /// Options that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// No answer from the broker, at least for now.
    #[error("{0}")]
    Unreachable(String),
    /// A refusal, or content that is missing or wrong.
    #[error("{0}")]
    Refused(String),
}
