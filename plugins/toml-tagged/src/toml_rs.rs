//! The crate `toml` as a decoder.

use serde_json::Value as Json;
use toml::{Table, Value};

/// Decodes a document.
pub fn decode(text: &str) -> Result<Json, toml::de::Error> {
    let table: Table = toml::from_str(text)?;
    Ok(tag(&Value::Table(table)))
}

fn tag(value: &Value) -> Json {
    match value {
        Value::String(text) => crate::string(text),
        Value::Integer(number) => crate::integer(*number),
        Value::Float(number) => crate::float(*number),
        Value::Boolean(flag) => crate::boolean(*flag),
        Value::Datetime(datetime) => {
            crate::datetime(&datetime.to_string()).expect("a datetime is shown as TOML")
        }
        Value::Array(items) => items.iter().map(tag).collect(),
        Value::Table(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), tag(value))).collect()
        }
    }
}
