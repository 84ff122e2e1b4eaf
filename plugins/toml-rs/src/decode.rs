//! TOML text to tagged JSON; the command in `toml-rs-decoder` includes this file too.

use serde_json::Value as Json;
use toml::{Table, Value};

/// Decodes a document.
pub(crate) fn decode(text: &str) -> Result<Json, toml::de::Error> {
    let table: Table = toml::from_str(text)?;
    Ok(tag(&Value::Table(table)))
}

fn tag(value: &Value) -> Json {
    match value {
        Value::String(text) => toml_tagged::string(text),
        Value::Integer(number) => toml_tagged::integer(*number),
        Value::Float(number) => toml_tagged::float(*number),
        Value::Boolean(flag) => toml_tagged::boolean(*flag),
        Value::Datetime(datetime) => {
            toml_tagged::datetime(&datetime.to_string()).expect("a datetime is shown as TOML")
        }
        Value::Array(items) => items.iter().map(tag).collect(),
        Value::Table(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), tag(value)))
            .collect(),
    }
}
