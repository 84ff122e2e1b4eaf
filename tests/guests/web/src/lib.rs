//! A guest that sends the requests of its input, by `http.send` or by `wasi:http`, and returns the responses.

mod wasi;

use std::fs::OpenOptions;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runner_sdk::{
    Error, NoConfig, Provider, Reply, Result, Test,
    http::{self, HttpError},
    schemars::{self, JsonSchema},
    serde_json::{Value, json},
};
use serde::Deserialize;

struct Web;

#[derive(Deserialize, JsonSchema)]
struct Input {
    requests: Vec<Request>,
    /// Whether to answer as a grader: `pass`, with the responses as the explanation.
    #[serde(default)]
    judges: bool,
}

/// A request; what is left out is not set.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Request {
    by: By,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// Sends a body of so many bytes instead.
    size: usize,
    /// How long to wait, in milliseconds: for `http.send` in all, for `wasi:http` for a connection, then for the head
    /// of the response, then for each part of its body.
    timeout: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum By {
    Send,
    Wasi,
    /// Fills the bodies of as many requests of `wasi:http` as `size` says, and sends none.
    Hoard,
    /// Makes as many steps as `size` says, each a request that depends on the last response, the clock and random bytes.
    Agent,
    /// Makes as many steps as `size` says, each with two requests of `wasi:http` and a sleep of `timeout` at once.
    Race,
    /// Makes as many requests of `wasi:http` as `size` says, one after the other, and drops each after `timeout`.
    Drop,
    /// Makes as many requests as `size` says by each interface, one after the other, and uses up all that they give.
    Many,
    /// Sends nothing, and ends with an error of the service.
    Fail,
}

impl Provider for Web {
    type Input = Input;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        let fails = test.input.requests.last().is_some_and(|last| last.by == By::Fail);
        let answers: Vec<Value> = test.input.requests.into_iter().map(answer).collect();
        if fails {
            return Err(Error::unavailable("the service is busy"));
        }
        if test.input.judges {
            return Reply::new(json!({ "verdict": "pass", "explanation": answers }));
        }
        Reply::new(answers)
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            by: By::Send,
            method: "GET".to_owned(),
            url: String::new(),
            headers: Vec::new(),
            body: None,
            size: 0,
            timeout: None,
        }
    }
}

impl Request {
    fn body(&self) -> Option<Vec<u8>> {
        if self.size > 0 {
            return Some(vec![b'x'; self.size]);
        }
        self.body.clone().map(String::into_bytes)
    }
}

fn answer(request: Request) -> Value {
    match request.by {
        By::Send => send(&request),
        By::Wasi => wasi::send(&request).unwrap_or_else(|error| json!({ "error": error })),
        By::Hoard => json!({ "held": wasi::hoard(request.size) }),
        By::Agent => agent(&request),
        By::Race => wasi::race(&request),
        By::Drop => wasi::drop_late(&request),
        By::Many => json!({ "answered": many(&request) }),
        By::Fail => Value::Null,
    }
}

/// Returns the number of requests that were answered.
fn many(request: &Request) -> usize {
    let each = || Request { url: request.url.clone(), ..Request::default() };
    let answered = (0..request.size).map(|_| {
        let sent = [
            send(&each())["status"] == 200,
            wasi::use_up(&each(), true),
            wasi::use_up(&each(), false),
        ];
        sent.iter().filter(|is_answered| **is_answered).count()
    });
    answered.sum()
}

/// Returns the last response, after as many steps as the request says.
fn agent(request: &Request) -> Value {
    let mut last = String::new();
    for step in 1..=request.size {
        let random = RandomState::new().hash_one(step);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let body = json!({ "step": step, "last": last, "random": random, "now": now });
        let asked = Request {
            method: "POST".to_owned(),
            url: format!("{}/{step}", request.url),
            headers: request.headers.clone(),
            body: Some(body.to_string()),
            size: 0,
            ..*request
        };
        let answer = if step % 2 == 0 {
            wasi::send(&asked).unwrap_or_else(|error| json!({ "error": error }))
        } else {
            send(&asked)
        };
        last = answer["body"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
        // Only with a workspace.
        if let Ok(mut log) = OpenOptions::new().create(true).append(true).open("/work/log") {
            let _ = writeln!(log, "{step}: {last}");
        }
    }
    json!({ "last": last })
}

fn send(request: &Request) -> Value {
    let sent = http::send(http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body(),
        timeout: request.timeout.map(|timeout| Duration::from_millis(timeout.into())),
    });
    match sent {
        Ok(response) => {
            let duration = response.duration.as_millis();
            let mut shown = show(response.status, &response.headers, &response.body);
            shown["duration"] = json!(duration as u64);
            shown
        }
        Err(error) => {
            let (kind, text) = match error {
                HttpError::Denied(text) => ("denied", text),
                HttpError::InvalidRequest(text) => ("invalid-request", text),
                HttpError::Unreachable(text) => ("unreachable", text),
                HttpError::Timeout => ("timeout", String::new()),
                HttpError::TooLarge(text) => ("too-large", text),
                HttpError::Other(text) => ("other", text),
            };
            json!({ "error": kind, "text": text })
        }
    }
}

/// A response; of a long body only its size.
fn show(status: u16, headers: &[(String, String)], body: &[u8]) -> Value {
    let shown = &body[..body.len().min(1000)];
    json!({
        "status": status,
        "headers": headers,
        "body": String::from_utf8_lossy(shown),
        "size": body.len(),
    })
}

runner_sdk::export!(Web);
