//! [`NumberKeys`]: the numbers among the keys of a call, with the bounds that the OpenAPI document has.

use std::collections::BTreeMap;

use axum::{extract::Query, http::Uri};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Number, Value, value::RawValue};

use super::{HttpProblem, Result};

/// The keys of an input whose values are numbers, or objects of numbers.
pub(super) struct NumberKeys(Vec<NumberKey>);

struct NumberKey {
    name: String,
    /// Schema of a number.
    schema: Value,
    is_object: bool,
}

impl NumberKeys {
    /// Returns the numbers of an input.
    pub fn of<I: JsonSchema>() -> Self {
        let schema = I::json_schema(&mut SchemaGenerator::default()).to_value();
        let keys = schema["properties"].as_object().into_iter().flatten();
        let keys = keys.filter_map(|(name, schema)| {
            let of_values = &schema["additionalProperties"];
            let schema = [schema, of_values].into_iter().find(|schema| is_number(schema))?;
            let is_object = std::ptr::eq(schema, of_values);
            Some(NumberKey { name: name.clone(), schema: schema.clone(), is_object })
        });
        Self(keys.collect())
    }

    /// Fails if a number after `?` is not within its bounds.
    pub fn check_query(&self, uri: &Uri) -> Result<()> {
        // Other problems show when the input is parsed, here and in a body.
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let pairs = query.map(|Query(pairs)| pairs).unwrap_or_default();
        pairs.iter().try_for_each(|(name, text)| match self.find(name) {
            Some(key) => check(name, &key.schema, text),
            None => Ok(()),
        })
    }

    /// Fails if a number of a body is not within its bounds. Reads the text, because a number may be too large to be parsed.
    pub fn check_body(&self, body: &[u8]) -> Result<()> {
        let parse = |text| serde_json::from_slice::<BTreeMap<String, &RawValue>>(text);
        parse(body).unwrap_or_default().iter().try_for_each(|(name, value)| match self.find(name) {
            Some(key) if key.is_object => {
                let values = parse(value.get().as_bytes()).unwrap_or_default();
                values.iter().try_for_each(|(inner, value)| {
                    check(&format!("{name}.{inner}"), &key.schema, value.get())
                })
            }
            Some(key) => check(name, &key.schema, value.get()),
            None => Ok(()),
        })
    }

    fn find(&self, name: &str) -> Option<&NumberKey> {
        self.0.iter().find(|key| key.name == name)
    }
}

fn is_number(schema: &Value) -> bool {
    has_type(schema, "number") || has_type(schema, "integer")
}

fn has_type(schema: &Value, name: &str) -> bool {
    let kinds = &schema["type"];
    kinds == name || kinds.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
}

/// Fails if a text is not a number within the bounds of a schema. `null` is the same as no key.
fn check(name: &str, schema: &Value, text: &str) -> Result<()> {
    let least = &schema["minimum"];
    let above = &schema["exclusiveMinimum"];
    let most = &schema["maximum"];
    let is_whole = has_type(schema, "integer");
    let is_within = if is_whole {
        let whole = |bound: &Value| bound.as_number().and_then(Number::as_i128);
        text.parse::<i128>().is_ok_and(|number| {
            whole(least).is_none_or(|least| least <= number)
                && whole(most).is_none_or(|most| number <= most)
        })
    } else {
        text.parse::<f64>().is_ok_and(|number| {
            least.as_f64().is_none_or(|least| least <= number)
                && above.as_f64().is_none_or(|above| above < number)
                && most.as_f64().is_none_or(|most| number <= most)
        })
    };
    if is_within || text == "null" {
        return Ok(());
    }
    let kind = if is_whole { "a whole number" } else { "a number" };
    Err(HttpProblem::keys(&match above {
        Value::Null => format!("`{name}` must be {kind} from {least} to {most}"),
        above => format!("`{name}` must be {kind} above {above}, and at most {most}"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::openapi, is_number};

    /// Fails if a number in the schema of an input has no bounds.
    fn assert_bounded(name: &str, schema: &Value) {
        let has_least = schema.get("minimum").or(schema.get("exclusiveMinimum")).is_some();
        let is_bounded = has_least && schema.get("maximum").is_some();
        assert!(!is_number(schema) || is_bounded, "`{name}` has no bounds: {schema}");
    }

    #[test]
    fn every_number_of_a_request_has_bounds() {
        let document = openapi();
        let calls = document["paths"].as_object().unwrap().values();
        for call in calls.flat_map(|path| path.as_object().unwrap().values()) {
            for key in call["parameters"].as_array().unwrap() {
                assert_bounded(&key["name"].to_string(), &key["schema"]);
            }
            let schema = &call["requestBody"]["content"]["application/json"]["schema"];
            let Some(name) = schema["$ref"].as_str() else { continue };
            let schema = document.pointer(name.trim_start_matches('#')).unwrap();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                assert_bounded(name, schema);
                assert_bounded(name, &schema["additionalProperties"]);
            }
        }
    }
}
