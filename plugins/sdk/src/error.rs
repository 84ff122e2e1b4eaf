//! [`Error`]: why a provider has no reply.

use std::time::Duration;

use crate::artifacts::ArtifactError;
use crate::files::FileError;
use crate::http::HttpError;
use crate::secrets::SecretError;

/// A result whose error is a provider's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no reply. Its kind decides whether a scenario's `retries` try again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// A short name for programs, such as `unknown-unit`; empty where the kind says it all.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// How long to wait before another attempt.
    pub retry_after: Option<Duration>,
    /// Anything else.
    pub details: Option<serde_json::Value>,
}

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The provider cannot work with its configuration.
    InvalidConfig,
    /// The test's input makes no sense to the provider.
    InvalidInput,
    /// The scenario does not grant what is needed.
    Denied,
    /// A service is not there; later it may be.
    Unavailable,
    /// A service asks for patience.
    RateLimited,
    /// The runner asked to stop, and the provider did.
    Stopped,
    /// The provider itself is at fault.
    Internal,
    /// None of the others.
    Other,
}

impl Error {
    /// Makes an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: String::new(),
            message: message.into(),
            retry_after: None,
            details: None,
        }
    }

    /// Blames the configuration.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// Blames the input.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Blames a service that is not there.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Passes on that a service asks for patience.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::RateLimited, message)
    }

    /// Answers a request to stop.
    pub fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, "stopped on request")
    }

    /// Blames the provider itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a short name for programs.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Says how long to wait before another attempt.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds anything else.
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let kind = match error {
            FileError::NotFound | FileError::OutOfRange => ErrorKind::InvalidInput,
            FileError::Unavailable => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        Self::new(ErrorKind::Denied, error.to_string())
    }
}

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        let kind = match error {
            ArtifactError::BadName | ArtifactError::TooLarge | ArtifactError::TooMany => {
                ErrorKind::Internal
            }
            ArtifactError::Unavailable => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let (kind, code) = match error {
            HttpError::Denied(_) => (ErrorKind::Denied, ""),
            HttpError::InvalidRequest(_) => (ErrorKind::Internal, "invalid-request"),
            HttpError::Unreachable(_) => (ErrorKind::Unavailable, "unreachable"),
            HttpError::Timeout => (ErrorKind::Unavailable, "timeout"),
            HttpError::TooLarge(_) => (ErrorKind::Other, "too-large"),
            HttpError::Other(_) => (ErrorKind::Other, ""),
        };
        Self::new(kind, error.to_string()).code(code)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};
    use crate::http::HttpError;

    #[test]
    fn what_became_of_a_request_decides_the_kind() {
        let why = || "why".to_owned();
        for (error, kind, code, message) in [
            (HttpError::Denied(why()), ErrorKind::Denied, "", "why"),
            (HttpError::InvalidRequest(why()), ErrorKind::Internal, "invalid-request", "why"),
            (HttpError::Unreachable(why()), ErrorKind::Unavailable, "unreachable", "why"),
            (
                HttpError::Timeout,
                ErrorKind::Unavailable,
                "timeout",
                "the server did not answer in time",
            ),
            (HttpError::TooLarge(why()), ErrorKind::Other, "too-large", "why"),
            (HttpError::Other(why()), ErrorKind::Other, "", "why"),
        ] {
            assert_eq!(Error::from(error), Error::new(kind, message).code(code));
        }
    }
}
