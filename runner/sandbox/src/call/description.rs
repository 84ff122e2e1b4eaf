//! Bounds on the description of a plugin, checked before anything uses it.

use std::fmt;

use runner_model::{ErrorClass, json, provider::Description, row::RowError};
use serde_json::Value;

use crate::message::failure;

/// Bytes of a name, a version or a request.
const MAX_WORD_BYTES: usize = 1024;
const MAX_SUMMARY_BYTES: usize = 16 * 1024;
/// Grants that a plugin may request. Each is compared with all granted ones.
const MAX_REQUESTS: usize = 256;
/// Bytes of a schema as JSON. The largest that OpenAPI tools generate of one type have 50 KiB.
const MAX_SCHEMA_BYTES: usize = 256 * 1024;
const MAX_SCHEMA_DEPTH: usize = 64;
/// Values of a schema, without keys.
const MAX_SCHEMA_VALUES: usize = 20_000;

/// Parses a schema and checks its size.
pub(crate) fn read_schema(
    what: &str,
    text: Option<&str>,
) -> Result<Option<Value>, RowError<'static>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let bytes = text.len();
    within(format_args!("bytes of the {what}"), bytes, MAX_SCHEMA_BYTES)?;
    let schema =
        json::parse(text).map_err(|error| refused(format!("the {what} is not JSON: {error}")))?;
    let mut values = 0;
    let mut pending = vec![(&schema, 1)];
    while let Some((value, depth)) = pending.pop() {
        values += 1;
        within(format_args!("levels of the {what}"), depth, MAX_SCHEMA_DEPTH)?;
        within(format_args!("values in the {what}"), values, MAX_SCHEMA_VALUES)?;
        match value {
            Value::Array(items) => pending.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(entries) => {
                pending.extend(entries.values().map(|value| (value, depth + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(Some(schema))
}

/// Refuses a description with texts that are too long, or with too many requests.
pub(crate) fn bounded(description: Description) -> Result<Description, RowError<'static>> {
    let Description { name, version, summary, requests, .. } = &description;
    within("bytes of the name", name.len(), MAX_WORD_BYTES)?;
    within("bytes of the version", version.len(), MAX_WORD_BYTES)?;
    within("bytes of the summary", summary.len(), MAX_SUMMARY_BYTES)?;
    within("requests", requests.len(), MAX_REQUESTS)?;
    for request in requests {
        within("bytes of a request", request.len(), MAX_WORD_BYTES)?;
    }
    Ok(description)
}

fn within(what: impl fmt::Display, found: usize, most: usize) -> Result<(), RowError<'static>> {
    if found > most {
        return Err(refused(format!("there are {found} {what}, and at most {most} are allowed")));
    }
    Ok(())
}

fn refused(message: String) -> RowError<'static> {
    failure(ErrorClass::Protocol, "description", message)
}

#[cfg(test)]
mod tests {
    use runner_model::provider::Description;
    use serde_json::json;

    use super::{MAX_REQUESTS, MAX_SUMMARY_BYTES, bounded, read_schema};

    #[test]
    fn oversized_description_is_refused() {
        let read = |text: &str| read_schema("input-schema", Some(text));
        let message = |text: &str| read(text).unwrap_err().message.to_string();
        assert_eq!(read("{}").unwrap(), Some(json!({})));
        assert_eq!(
            message(&format!("\"{}\"", "x".repeat(256 * 1024))),
            "there are 262146 bytes of the input-schema, and at most 262144 are allowed"
        );
        let deep = "[".repeat(65) + &"]".repeat(65);
        assert!(message(&deep).starts_with("there are 65 levels of the input-schema"));
        let wide = format!("[{}0]", "0,".repeat(20_000));
        assert!(message(&wide).starts_with("there are 20001 values in the input-schema"));
        assert!(message("{").starts_with("the input-schema is not JSON"));

        let asking = |count: usize, length: usize| Description {
            name: String::new(),
            version: String::new(),
            summary: String::new(),
            config_schema: None,
            input_schema: None,
            requests: vec!["x".repeat(length); count],
        };
        bounded(asking(MAX_REQUESTS, 1024)).unwrap();
        bounded(asking(MAX_REQUESTS + 1, 1)).unwrap_err();
        bounded(asking(1, 1025)).unwrap_err();
        let summing_up = |bytes: usize| Description { summary: "x".repeat(bytes), ..asking(0, 0) };
        bounded(summing_up(MAX_SUMMARY_BYTES)).unwrap();
        bounded(summing_up(MAX_SUMMARY_BYTES + 1)).unwrap_err();
    }
}
