//! Sends HTTP requests: a provider for checks of an API.
//!
//! Input `{ path = "/users/1" }` is answered by `{ "status": 200, "headers": {…}, "body": {…} }`, and the scenario judges
//! it: a status is never an error here.

mod reply;
mod request;

use std::collections::BTreeMap;

use runner_sdk::{Provider, Reply, Result, Test};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

struct Http;

/// The request.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct Input {
    /// `GET` if there is none.
    method: Option<String>,
    /// Where to send it: a whole URL.
    url: Option<String>,
    /// Where to send it, below the `base_url` of the configuration.
    path: Option<String>,
    /// What is added to the URL: texts, numbers, booleans, and lists of them for a name that is there more than once.
    #[serde(default)]
    query: BTreeMap<String, Value>,
    /// Headers; those of the configuration hold for names that are not here.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body as it is.
    body: Option<String>,
    /// The body as a value, which is sent as JSON.
    json: Option<Value>,
    /// How long to wait, in milliseconds.
    timeout_ms: Option<u32>,
}

/// What holds for every request.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What `path` of a test is appended to.
    #[schemars(regex(pattern = "^https?://"))]
    base_url: Option<String>,
    /// Headers of every request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// How long to wait, in milliseconds; the attempt's deadline holds in any case.
    timeout_ms: Option<u32>,
}

impl Provider for Http {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let request = request::build(test.input, test.config)?;
        let response = request.send().map_err(request::blame)?;
        reply::of(&response)
    }
}

runner_sdk::export!(Http);
