//! Sends prompts to a chat model: a provider for servers with OpenAI's API of chat completions.
//!
//! The input is `"Say hello."`, `{ prompt = "Say hello." }` or `{ messages = […] }`, the output the text of the model.

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

/// Server, model, and defaults of all requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Address of the API. `/chat/completions` is appended.
    #[serde(default = "openai")]
    #[schemars(regex(pattern = "^https?://"))]
    base_url: String,
    /// Model, unless the test has another one.
    model: String,
    /// Secret that is sent as bearer token. Nothing is sent if the name is empty.
    #[serde(default = "openai_key")]
    api_key_secret: String,
    /// Further headers. The runner replaces `{{secret.NAME}}` in a value.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// System message. Left out if the messages of the test start with one.
    system: Option<String>,
    /// Sampling temperature. 0 gives the least random answers.
    temperature: Option<f64>,
    /// Maximum length of the answer, in tokens.
    max_tokens: Option<u32>,
    /// Sends the test's seed. Servers that support seeds then repeat their answers.
    #[serde(default)]
    seed: bool,
    /// Form of the model's text.
    #[serde(default)]
    output: OutputForm,
    /// Reasoning to remove from the text of the model: `think` for `<think>…</think>`, or `START*END`, or a list of these.
    #[serde(default)]
    strip: Strip,
    /// Timeout of a request, in milliseconds. The attempt's deadline also applies.
    timeout_ms: Option<u32>,
    /// Price of the model. It adds the cost of the answer as a metric.
    price: Option<Price>,
    /// Further fields of each request.
    #[serde(default)]
    extra: Map<String, Value>,
}

/// A price in dollars per million tokens.
#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Price {
    /// Price of tokens of the prompt.
    #[schemars(range(min = 0.0))]
    input: f64,
    /// Price of tokens of the prompt that the server has in a cache. The default is `input`.
    #[schemars(range(min = 0.0))]
    cached: Option<f64>,
    /// Price of tokens of the answer.
    #[schemars(range(min = 0.0))]
    output: f64,
}

/// Form of a model's text.
#[derive(Deserialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum OutputForm {
    /// Unchanged text.
    #[default]
    Text,
    /// A JSON value, also between fences. Any other text fails the test.
    Json,
}

// `requests` is empty, because the necessary grants depend on the configuration: a model on this machine needs no grant for
// OpenAI. A denial names the missing grant.
impl Provider for Chat {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let reader = Reader::new(&test.config);
        let request = request::build(test)?;
        let url = request.url.clone();
        let response = request.send().map_err(failure::without_response)?;
        if !response.is_success() {
            return Err(failure::from_response(&url, &response));
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
