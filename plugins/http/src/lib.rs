//! Sends HTTP requests: a provider for checks of an API.
//!
//! For the input `{ path = "/users/1" }`, the output is `{ "status": 200, "headers": {…}, "body": {…} }`. The scenario judges
//! it: no status is an error.

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
    /// Method. The default is `GET`.
    method: Option<String>,
    /// Whole URL.
    url: Option<String>,
    /// Path below the `base_url` of the configuration.
    path: Option<String>,
    /// Query parameters: texts, numbers, booleans, and lists of them for a name with several values.
    #[serde(default)]
    query: BTreeMap<String, Value>,
    /// Headers. They replace those of the configuration with the same name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Body as text.
    body: Option<String>,
    /// Body as a value, which is sent as JSON.
    json: Option<Value>,
    /// Timeout of the request, in milliseconds. The default is that of the configuration.
    timeout_ms: Option<u32>,
}

/// Defaults of all requests.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Address to which the `path` of a test is appended.
    #[schemars(regex(pattern = "^https?://"))]
    base_url: Option<String>,
    /// Headers of all requests.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Timeout of a request, in milliseconds. The attempt's deadline also applies.
    timeout_ms: Option<u32>,
}

impl Provider for Http {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let request = request::build(test.input, test.config)?;
        let response = request.send().map_err(request::error)?;
        reply::from_response(&response)
    }
}

runner_sdk::export!(Http);
