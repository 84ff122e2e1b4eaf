//! [`schema_settings`]: the form of all JSON Schemas.

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Map, Value, json};

/// Returns the settings for schemas of printed documents, or of requests.
pub fn schema_settings(is_printed: bool) -> SchemaSettings {
    let settings = SchemaSettings::draft2020_12().with_transform(tidy);
    if is_printed { settings.for_serialize() } else { settings.for_deserialize() }
}

/// Removes the traces of Rust: names of number types, links, and the `null` of keys that are absent instead.
fn tidy(schema: &mut Schema) {
    transform_subschemas(&mut tidy, schema);
    let Some(schema) = schema.as_object_mut() else { return };
    schema.retain(|key, value| key != "format" || value == "date-time");
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required =
        |name: &str| required.as_array().is_some_and(|keys| keys.contains(&json!(name)));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(property) = property.as_object_mut() {
            tidy_property(property, is_required(name));
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = if text.starts_with("Always [`") {
            "The version.".to_owned()
        } else {
            text.replace("[`", "`").replace("`]", "`").replace('\n', " ")
        };
    }
}

fn tidy_property(property: &mut Map<String, Value>, is_required: bool) {
    if let Some(Value::String(text)) = property.get_mut("description") {
        *text = if is_required {
            text.replace("`None`", "`null`")
        } else {
            text.replace(". `None`", ". Absent").replace("`None`", "Absent")
        };
    }
    if is_required {
        return;
    }
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &mut types[..] {
            property["type"] = only.take();
        }
    }
    if let Some(Value::Array(options)) = property.get_mut("anyOf") {
        options.retain(|option| option["type"] != "null");
        if let [Value::Object(only)] = &mut options[..] {
            let only = std::mem::take(only);
            property.remove("anyOf");
            property.extend(only);
        }
    }
}
