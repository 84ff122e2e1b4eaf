//! The crate `toml-span` as a TOML decoder. It reads TOML 1.1 without dates and times, which it does not support on purpose.

use parser::value::{Value, ValueInner};
use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
use serde_json::Value as Json;
use toml_tagged::Case;

struct TomlSpan;

impl Provider for TomlSpan {
    type Input = Case;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        toml_tagged::answer(test.input, decode)
    }
}

runner_sdk::export!(TomlSpan);

fn decode(text: &str) -> Result<Json, parser::Error> {
    parser::parse(text).map(|value| tag(&value))
}

fn tag(value: &Value<'_>) -> Json {
    match value.as_ref() {
        ValueInner::String(text) => toml_tagged::string(text),
        ValueInner::Integer(number) => toml_tagged::integer(*number),
        ValueInner::Float(number) => toml_tagged::float(*number),
        ValueInner::Boolean(flag) => toml_tagged::boolean(*flag),
        ValueInner::Array(items) => items.iter().map(tag).collect(),
        ValueInner::Table(entries) => {
            entries.iter().map(|(key, value)| (key.name.to_string(), tag(value))).collect()
        }
    }
}
