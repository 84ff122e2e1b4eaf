//! The guest `web`: what it is asked to send, what it tells of the answers, and servers that it may ask.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Request, Response, Server, Wire};

/// How soon a guest that waits for a server must be gone.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Both ways to send a request.
pub(crate) const WAYS: [&str; 2] = ["send", "wasi"];

pub(crate) fn get(url: impl Into<String>) -> Value {
    json!({ "url": url.into() })
}

/// An error of `http.send`, whose text has this part.
#[track_caller]
pub(crate) fn assert_error(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
}

/// An error of `wasi:http`, which has this part.
#[track_caller]
pub(crate) fn assert_code(answer: &Value, part: &str) {
    let error = answer["error"].as_str();
    assert!(error.is_some_and(|error| error.contains(part)), "{answer}");
}

pub(crate) fn hello() -> Server {
    Server::start(|_| Response::ok("hello"))
}

/// A server that answers with these bytes and closes the connection.
pub(crate) fn broken(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    Server::raw(move |_, wire| {
        wire.send(&answer);
    })
}

/// Waits for a server's answer for ever.
pub(crate) fn silence(_: &Request, wire: &mut Wire<'_>) {
    wire.wait_for_close();
}
