//! [`Error`], the failure of a test that has no reply.

use std::time::Duration;

use crate::artifacts::ArtifactError;
use crate::files::FileError;
use crate::http::HttpError;
use crate::records::RecordError;
use crate::secrets::SecretError;
use crate::tools::{ToolError, ToolErrorKind};
use crate::transcript::TranscriptError;

/// A [`std::result::Result`] with [`Error`] as its error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure to get a reply. Its kind decides whether the scenario's `retries` repeat the attempt.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Kind of the failure, which decides about retries.
    pub kind: ErrorKind,
    /// Short name for programs, such as `unknown-unit`. Empty if `kind` is enough.
    pub code: String,
    /// Reason, as a sentence for people.
    pub message: String,
    /// Least pause before a retry. `None` leaves it to the scenario.
    pub retry_after: Option<Duration>,
    /// Further data, for programs.
    pub details: Option<serde_json::Value>,
}

/// Kind of an [`Error`]. The scenario's `retries` repeat attempts that ended with [`Unavailable`](Self::Unavailable) or
/// [`RateLimited`](Self::RateLimited).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The configuration of the provider is invalid.
    InvalidConfig,
    /// The input of the test is invalid.
    InvalidInput,
    /// The scenario does not grant the necessary access.
    Denied,
    /// A service does not respond, and may respond later.
    Unavailable,
    /// A service limits the rate of requests.
    RateLimited,
    /// The provider stopped at the runner's request.
    Stopped,
    /// The provider has a fault.
    Internal,
    /// Any other failure.
    Other,
}

impl Error {
    /// Creates an error without code, pause and details.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: String::new(),
            message: message.into(),
            retry_after: None,
            details: None,
        }
    }

    /// Creates an error of the kind [`InvalidConfig`](ErrorKind::InvalidConfig).
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// Creates an error of the kind [`InvalidInput`](ErrorKind::InvalidInput).
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Creates an error of the kind [`Unavailable`](ErrorKind::Unavailable).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Creates an error of the kind [`RateLimited`](ErrorKind::RateLimited).
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::RateLimited, message)
    }

    /// Creates an error of the kind [`Stopped`](ErrorKind::Stopped), for [`stop_requested`](crate::control::stop_requested).
    pub fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, "stopped on request")
    }

    /// Creates an error of the kind [`Internal`](ErrorKind::Internal).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Sets a short name for programs.
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Sets the least pause before a retry.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets further data, for programs.
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

impl From<ToolError> for Error {
    fn from(error: ToolError) -> Self {
        let kind = match error.kind {
            ToolErrorKind::Denied => ErrorKind::Denied,
            // The provider made the input, so the fault is the provider's.
            ToolErrorKind::InvalidInput => ErrorKind::Internal,
            ToolErrorKind::Stopped => ErrorKind::Stopped,
            ToolErrorKind::Timeout
            | ToolErrorKind::Trap
            | ToolErrorKind::Limit
            | ToolErrorKind::Failed => ErrorKind::Other,
        };
        let code = format!("tool-{}", error.kind);
        Self { details: error.details, ..Self::new(kind, error.message).code(code) }
    }
}

impl From<TranscriptError> for Error {
    fn from(error: TranscriptError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        Self::internal(error.to_string())
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
    use crate::tools::{ToolError, ToolErrorKind};

    #[test]
    fn http_error_decides_the_kind() {
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

    #[test]
    fn tool_error_decides_the_kind() {
        for (error, kind, code) in [
            (ToolErrorKind::Denied, ErrorKind::Denied, "tool-denied"),
            (ToolErrorKind::InvalidInput, ErrorKind::Internal, "tool-invalid-input"),
            (ToolErrorKind::Stopped, ErrorKind::Stopped, "tool-stopped"),
            (ToolErrorKind::Trap, ErrorKind::Other, "tool-trap"),
        ] {
            let details = serde_json::json!({ "stderr": "no" });
            let error =
                ToolError { details: Some(details.clone()), ..ToolError::new(error, "why") };
            let expected = Error::new(kind, "why").code(code).details(details);
            assert_eq!(Error::from(error), expected);
        }
    }
}
