//! Requests to what the scenario grants.

use std::time::Duration;

use crate::host;

/// A request. Redirects are returned, not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Scheme, host, path and query.
    pub url: String,
    /// Latin-1; `{{secret.NAME}}` in a value is filled in by the host.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// How long to wait; the attempt's deadline holds in any case.
    pub timeout: Option<Duration>,
}

impl Request {
    /// Makes a request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout: None,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// From sending to the last byte.
    pub duration: Duration,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The scenario does not grant it.
    #[error("the request is not granted: {0}")]
    Denied(String),
    /// The request makes no sense.
    #[error("the request is not valid: {0}")]
    InvalidRequest(String),
    /// Nobody answers.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server did not answer in time")]
    Timeout,
    /// The response is larger than the limit.
    #[error("the response is too large: {0}")]
    TooLarge(String),
    /// None of the others.
    #[error("{0}")]
    Other(String),
}

/// Sends a request and waits for the whole response.
pub fn send(request: Request) -> Result<Response, HttpError> {
    host::send(request)
}
