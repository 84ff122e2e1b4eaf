//! HTTP requests to the servers that the scenario grants.
//!
//! ```
//! use runner_sdk::serde_json::{Value, json};
//! use runner_sdk::testing::Host;
//! use runner_sdk::{NoConfig, Provider, Reply, Result, Test, http};
//!
//! struct Translate;
//!
//! impl Provider for Translate {
//!     type Input = String;
//!     type Config = NoConfig;
//!
//!     fn run(test: Test<Self>) -> Result<Reply> {
//!         let response = http::post("https://api.example.com/translate")
//!             .header("authorization", "Bearer {{secret.API_KEY}}")
//!             .json(&json!({ "text": test.input }))?
//!             .send()?;
//!         Reply::new(response.json::<Value>()?)
//!     }
//! }
//!
//! // Outside of WASM, a test sets the responses and inspects the requests.
//! let host = Host::new()
//!     .secret("API_KEY", "k")
//!     .responses([Ok(http::Response::new(200).with_json(&json!("bonjour"))?)]);
//! let (reply, calls) = host.run_recorded::<Translate>(json!("hello"), json!({}));
//! assert_eq!(reply?.output()?, "bonjour");
//! assert_eq!(calls.requests[0].method, "POST");
//! # Ok::<(), runner_sdk::Error>(())
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::host;

mod date;

/// A request. The host returns redirects and does not follow them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, such as `GET`.
    pub method: String,
    /// Scheme, host, path and query.
    pub url: String,
    /// Names and values, in Latin-1. The host replaces `{{secret.NAME}}` in a value.
    pub headers: Vec<(String, String)>,
    /// Body. `None` sends no body.
    pub body: Option<Vec<u8>>,
    /// Longest time until the response. The deadline of the attempt also applies.
    pub timeout: Option<Duration>,
}

/// Creates a `GET` request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Creates a `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

impl Request {
    /// Creates a request without headers and body.
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

    /// Sets the body to JSON, and adds `content-type` unless the request has one.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        add_json(&mut self.headers);
        Ok(self.body(serde_json::to_vec(body)?))
    }

    /// Sets the longest time until the response.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and waits for the whole response. A status such as 404 is a response, not an error.
    pub fn send(self) -> Result<Response, HttpError> {
        send(self)
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers in the order and case of the server.
    pub headers: Vec<(String, String)>,
    /// Body. Empty if the response has no body.
    pub body: Vec<u8>,
    /// Time from the start of the request to the last byte of the response.
    pub duration: Duration,
}

impl Response {
    /// Creates a response without headers and body, for tests of a provider.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), duration: Duration::ZERO }
    }

    /// Adds a header, for tests of a provider.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body, for tests of a provider.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, for tests of a provider. Adds `content-type` unless the response has one.
    pub fn with_json(mut self, body: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        add_json(&mut self.headers);
        Ok(self.with_body(serde_json::to_vec(body)?))
    }

    /// Returns whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the first value of a header. The case of `name` does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Returns the body as text, with `�` in place of invalid UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }

    /// Returns the pause that the server requests in `Retry-After`, in seconds or as a date.
    ///
    /// A date counts from the response's own `Date`, because the clocks of server and runner may differ.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let then = date::seconds(value)?;
        let now = date::seconds(self.header("date")?.trim())?;
        Some(Duration::from_secs(then.saturating_sub(now)))
    }
}

/// Reason for a missing response. Messages come from the runner, and name the server and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The scenario does not grant the server.
    #[error("{0}")]
    Denied(String),
    /// The request is invalid, such as a URL without a host.
    #[error("{0}")]
    InvalidRequest(String),
    /// The connection failed, or ended before the response.
    #[error("{0}")]
    Unreachable(String),
    /// The response took longer than the request's timeout.
    #[error("the server did not answer in time")]
    Timeout,
    /// The response is larger than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// Any other failure.
    #[error("{0}")]
    Other(String),
}

/// Sends a request and waits for the whole response. [`Request::send`] is the same.
pub fn send(request: Request) -> Result<Response, HttpError> {
    host::send(request)
}

fn add_json(headers: &mut Vec<(String, String)>) {
    let is_type = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
    if !headers.iter().any(is_type) {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Response, get, post};

    fn retry_after(headers: &[(&str, &str)]) -> Option<Duration> {
        let response = headers.iter().fold(Response::new(429), |response, (name, value)| {
            response.with_header(*name, *value)
        });
        response.retry_after()
    }

    #[test]
    fn request_is_built_step_by_step() {
        let request = post("http://x/")
            .header("Accept", "*/*")
            .json(&json!({"a": 1}))
            .unwrap()
            .timeout(Duration::from_secs(3));
        assert_eq!(request.method, "POST");
        assert_eq!(request.body.as_deref(), Some(br#"{"a":1}"#.as_slice()));
        assert_eq!(request.timeout, Some(Duration::from_secs(3)));
        assert_eq!(request.headers[1], ("content-type".into(), "application/json".into()));
        assert_eq!(get("http://x/").method, "GET");
    }

    #[test]
    fn json_keeps_an_existing_content_type() {
        let typed = post("http://x/").header("Content-Type", "application/ld+json");
        assert_eq!(typed.json(&json!(1)).unwrap().headers.len(), 1);
    }

    #[test]
    fn response_is_read_as_text_or_json() {
        let response = Response::new(201).with_json(&json!([1])).unwrap();
        assert!(response.is_success());
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert_eq!(response.json::<Value>().unwrap(), json!([1]));
        assert_eq!(response.text(), "[1]");
        assert!(Response::new(302).json::<Value>().is_err());
        assert!(!Response::new(302).is_success());
        assert_eq!(Response::new(200).with_body(b"\xff".as_slice()).text(), "�");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&[]), None);
        assert_eq!(retry_after(&[("Retry-After", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&[("retry-after", "soon")]), None);
        let then = ("retry-after", "Fri, 20 Nov 2026 12:00:30 GMT");
        let now = ("date", "Fri, 20 Nov 2026 11:59:00 GMT");
        assert_eq!(retry_after(&[then, now]), Some(Duration::from_secs(90)));
        assert_eq!(retry_after(&[then]), None);
        let late = ("date", "Fri, 20 Nov 2026 12:59:00 GMT");
        assert_eq!(retry_after(&[then, late]), Some(Duration::ZERO));
    }
}
