//! [`Config`], the configuration of a provider that asks a chat model.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::strip::Strip;

/// Server, model, and defaults of all requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the API. `/chat/completions` is appended.
    #[serde(default = "openai")]
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) base_url: String,
    /// Model, unless the test has another one.
    pub(crate) model: String,
    /// Secret that is sent as bearer token. Nothing is sent if the name is empty.
    #[serde(default = "openai_key")]
    pub(crate) api_key_secret: String,
    /// Further headers. The runner replaces `{{secret.NAME}}` in a value.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// System message. Left out if the messages of the test start with one.
    pub(crate) system: Option<String>,
    /// Sampling temperature. 0 gives the least random answers.
    pub(crate) temperature: Option<f64>,
    /// Maximum length of the answer, in tokens.
    pub(crate) max_tokens: Option<u32>,
    /// Sends the test's seed. Servers that support seeds then repeat their answers.
    #[serde(default)]
    pub(crate) seed: bool,
    /// Form of the model's text.
    #[serde(default)]
    pub(crate) output: OutputForm,
    /// Reasoning to remove from the text of the model: `think` for `<think>…</think>`, or `START*END`, or a list of these.
    #[serde(default)]
    pub(crate) strip: Strip,
    /// Timeout of a request, in milliseconds. The attempt's deadline also applies.
    pub(crate) timeout_ms: Option<u32>,
    /// Price of the model. It adds the cost of the answer as a metric.
    pub(crate) price: Option<Price>,
    /// Further fields of each request.
    #[serde(default)]
    pub(crate) extra: Map<String, Value>,
}

/// A price in dollars per million tokens.
#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Price of tokens of the prompt.
    #[schemars(range(min = 0.0))]
    pub(crate) input: f64,
    /// Price of tokens of the prompt that the server has in a cache. The default is `input`.
    #[schemars(range(min = 0.0))]
    pub(crate) cached: Option<f64>,
    /// Price of tokens of the answer.
    #[schemars(range(min = 0.0))]
    pub(crate) output: f64,
}

/// Form of a model's text.
#[derive(Deserialize, JsonSchema, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputForm {
    /// Unchanged text.
    #[default]
    Text,
    /// A JSON value, also between fences. Any other text fails the test.
    Json,
}

fn openai() -> String {
    "https://api.openai.com/v1".to_owned()
}

fn openai_key() -> String {
    "OPENAI_API_KEY".to_owned()
}
