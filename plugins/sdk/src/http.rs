//! Requests to what the scenario grants.
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
//! // Outside WASM a test says what the server answers, and sees what it was asked.
//! let host = Host::new()
//!     .secret("API_KEY", "k")
//!     .responses([Ok(http::Response::new(200).with_json(&json!("bonjour"))?)]);
//! let (reply, seen) = host.run_and_look::<Translate>(json!("hello"), json!({}));
//! assert_eq!(reply?.output()?, "bonjour");
//! assert_eq!(seen.requests[0].method, "POST");
//! # Ok::<(), runner_sdk::Error>(())
//! ```

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::host;

mod date;

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

/// Begins a `GET` request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Begins a `POST` request.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
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

    /// Sets the body to JSON, and `content-type` unless it is there already.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        add_json(&mut self.headers);
        Ok(self.body(serde_json::to_vec(body)?))
    }

    /// Waits no longer than this.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and waits for the whole response, whatever its status is.
    pub fn send(self) -> Result<Response, HttpError> {
        send(self)
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

impl Response {
    /// Makes a response without headers and body, for tests of a provider.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), duration: Duration::ZERO }
    }

    /// Adds a header to a response that a test makes.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body of a response that a test makes.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body of a response that a test makes to JSON, and `content-type` unless it is there already.
    pub fn with_json(mut self, body: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        add_json(&mut self.headers);
        Ok(self.with_body(serde_json::to_vec(body)?))
    }

    /// Tells whether the status is one of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first value of a header, whose name is written in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as text; what is not UTF-8 in it becomes `�`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }

    /// How long the server asks to wait before the next request: its `Retry-After`, in seconds or as a date.
    ///
    /// A date counts from the response's own `Date`, so that it does not matter whose clock is right.
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

/// Why there is no response, in the words of the runner: they name the server, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The scenario does not grant it.
    #[error("{0}")]
    Denied(String),
    /// The request makes no sense.
    #[error("{0}")]
    InvalidRequest(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server did not answer in time")]
    Timeout,
    /// The response is larger than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// None of the others.
    #[error("{0}")]
    Other(String),
}

/// Sends a request and waits for the whole response.
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
    fn a_request_is_built_step_by_step() {
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
    fn a_content_type_that_is_there_stays() {
        let typed = post("http://x/").header("Content-Type", "application/ld+json");
        assert_eq!(typed.json(&json!(1)).unwrap().headers.len(), 1);
    }

    #[test]
    fn a_response_is_read_as_what_it_should_be() {
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
    fn a_server_says_when_to_come_back() {
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
