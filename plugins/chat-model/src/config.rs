//! [`Config`], the configuration of a provider that asks a chat model.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::strip::Strip;

/// Server, model, and defaults of all requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API of the server: `openai` for chat completions, `anthropic` for messages.
    #[serde(default)]
    pub(crate) api: Api,
    /// Address of the API, to which `/chat/completions` or `/messages` is appended. The default is that of OpenAI,
    /// `https://api.openai.com/v1`, or of Anthropic, `https://api.anthropic.com/v1`.
    #[schemars(regex(pattern = "^https?://"))]
    pub(crate) base_url: Option<String>,
    /// Model, unless the test has another one.
    pub(crate) model: String,
    /// Secret that is sent as key. The default is `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`. Nothing is sent if the name is empty.
    pub(crate) api_key_secret: Option<String>,
    /// Further headers. The runner replaces `{{secret.NAME}}` in a value.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// System message. Left out if the messages of the test start with one.
    pub(crate) system: Option<String>,
    /// Sampling temperature. 0 gives the least random answers.
    pub(crate) temperature: Option<f64>,
    /// Maximum length of an answer, in tokens. The default is that of the server, and 8192 for `anthropic`, or 4096 for its first models.
    pub(crate) max_tokens: Option<u32>,
    /// Sends the test's seed. Servers that support seeds then repeat their answers. `anthropic` has no seeds.
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

/// Form of requests and answers.
#[derive(Deserialize, Serialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Chat completions of OpenAI and many other servers.
    #[default]
    OpenAi,
    /// Messages of Anthropic.
    Anthropic,
}

impl Api {
    /// Returns the address of the vendor, the path of requests, and the name of the key.
    pub(crate) fn defaults(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OpenAi => ("https://api.openai.com/v1", "chat/completions", "OPENAI_API_KEY"),
            Self::Anthropic => ("https://api.anthropic.com/v1", "messages", "ANTHROPIC_API_KEY"),
        }
    }
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
