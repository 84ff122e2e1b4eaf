//! Asks a chat model: a provider for every server that speaks OpenAI's chat completions.
//!
//! Input `"Say hello."`, `{ prompt = "Say hello." }` or `{ messages = […] }` is answered by the text of the model.

mod answer;
mod failure;
mod input;
mod loose_json;
mod request;
mod strip;
mod usage;

use std::collections::BTreeMap;

use answer::Reader;
use input::Input;
use runner_sdk::{Provider, Reply, Result, Test};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use strip::Strip;

struct Chat;

/// The server, the model, and what holds for every request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What `/chat/completions` is appended to.
    #[serde(default = "openai")]
    #[schemars(regex(pattern = "^https?://"))]
    base_url: String,
    /// The model, unless a test names another.
    model: String,
    /// The secret that is sent as the bearer's token; an empty name sends none.
    #[serde(default = "openai_key")]
    api_key_secret: String,
    /// Further headers; `{{secret.NAME}}` in a value is filled in by the runner.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The first message, unless the messages of a test begin with one of the system.
    system: Option<String>,
    /// How much chance there is in the answer.
    temperature: Option<f64>,
    /// The longest answer, in tokens.
    max_tokens: Option<u32>,
    /// Sends the test's seed, so that a server that knows seeds gives the same answer again.
    #[serde(default)]
    seed: bool,
    /// How to read the text of the model.
    #[serde(default)]
    output: OutputForm,
    /// Reasoning to remove from the text of the model: `think` for `<think>…</think>`, or `START*END`, or a list of these.
    #[serde(default)]
    strip: Strip,
    /// How long to wait, in milliseconds; the attempt's deadline holds in any case.
    timeout_ms: Option<u32>,
    /// The price of the model. With it, the cost of an answer is a metric.
    price: Option<Price>,
    /// Further fields of every request.
    #[serde(default)]
    extra: Map<String, Value>,
}

/// A price in dollars per million tokens.
#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Price {
    /// For tokens of the prompt.
    #[schemars(range(min = 0.0))]
    input: f64,
    /// For tokens of the prompt that the server has in a cache. By default, it is the price of the others.
    #[schemars(range(min = 0.0))]
    cached: Option<f64>,
    /// For tokens of the answer.
    #[schemars(range(min = 0.0))]
    output: f64,
}

/// How to read the text of a model.
#[derive(Deserialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum OutputForm {
    /// As it is.
    #[default]
    Text,
    /// As a JSON value, also between fences. Any other text fails the test.
    Json,
}

// It names no `requests`: what it needs follows from the configuration, and a model on one's own machine is not to be
// told that OpenAI should be granted as well. A denial says what to add.
impl Provider for Chat {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let reader = Reader::new(&test.config);
        let request = request::build(test)?;
        let url = request.url.clone();
        let response = request.send().map_err(failure::without_response)?;
        if !response.is_success() {
            return Err(failure::of(&url, &response));
        }
        reader.read(&url, &response)
    }
}

runner_sdk::export!(Chat);

fn openai() -> String {
    "https://api.openai.com/v1".to_owned()
}

fn openai_key() -> String {
    "OPENAI_API_KEY".to_owned()
}
