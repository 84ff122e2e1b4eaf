//! The JSON Schema of a scenario, and the tables of its keys for the documentation.

use serde_json::{Value, json};

use crate::reading::{Form, TEMPLATE};
use crate::{keys::DEFAULTS, scenario::SCENARIO, settings::SETTINGS};

/// The draft that editors support.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Returns the JSON Schema of a scenario.
pub fn schema() -> Value {
    let mut schema = SCENARIO.schema();
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("A scenario of `runner`");
    schema["description"] = json!("Tests, the providers they run on, and the expected outputs.");
    schema
}

/// Returns the JSON Schema of `runner.toml`.
pub fn settings_schema() -> Value {
    let mut schema = SETTINGS.schema();
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!("`runner.toml` of a results root");
    schema
}

/// Returns the tables of all keys in Markdown, for `docs/scenarios.md`.
pub fn reference() -> String {
    tables_of(&SCENARIO.schema())
}

/// Returns the tables of the keys of `runner.toml` in Markdown, for `docs/settings.md`.
#[cfg(test)]
pub(crate) fn settings_reference() -> String {
    tables_of(&SETTINGS.schema())
}

fn tables_of(schema: &Value) -> String {
    let mut tables = Vec::new();
    collect(schema, &mut tables);
    tables.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// Collects the schemas of a table and of those in it, each once.
fn collect(schema: &Value, tables: &mut Vec<Value>) {
    if let Some(properties) = schema["properties"].as_object() {
        if tables.iter().any(|table| table["title"] == schema["title"]) {
            return;
        }
        tables.push(schema.clone());
        properties.values().for_each(|inner| collect(inner, tables));
    }
    let inner = ["items", "additionalProperties"].iter().filter_map(|key| schema.get(key));
    let options = schema["anyOf"].as_array().into_iter().flatten();
    inner.chain(options).for_each(|inner| collect(inner, tables));
}

fn table(schema: &Value) -> String {
    let defaults = DEFAULTS.schema();
    let is_defaults = schema["title"] == defaults["title"];
    let note = if is_defaults { "; tests and test lists may have these keys, too" } else { "" };
    let mut text = format!("**{}{note}**\n\n", words(&schema["title"]));
    text += "| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if !is_defaults && defaults["properties"].get(key) == Some(property) {
            continue;
        }
        let mut required = schema["required"].as_array().into_iter().flatten();
        let default = match property.get("default") {
            Some(default) => format!("`{default}`"),
            None if required.any(|name| name == key) => "required".to_owned(),
            None => String::new(),
        };
        let (form, description) = (form(property), words(&property["description"]));
        text += &format!("| `{key}` | {form} | {default} | {description} |\n");
    }
    text
}

fn words(text: &Value) -> &str {
    text.as_str().unwrap_or_default()
}

/// Returns the kind of a value for people.
fn form(schema: &Value) -> String {
    const MAX_NAMED: usize = 4;
    if let Some(options) = schema["anyOf"].as_array() {
        let options = options.iter().filter(|option| option["pattern"] != TEMPLATE);
        return options.map(form).collect::<Vec<_>>().join(" or ");
    }
    match (&schema["enum"], &schema["type"]) {
        (Value::Array(words), _) if words.len() > MAX_NAMED => "a word".to_owned(),
        (Value::Array(words), _) => {
            let words = words.iter().map(|word| format!("`{word}`"));
            words.collect::<Vec<_>>().join(" or ")
        }
        (_, Value::String(kind)) => match kind.as_str() {
            "object" => "table".to_owned(),
            "array" => {
                let items = form(&schema["items"]).replace(" or ", "s or ");
                format!("array of {}s", items.trim_start_matches("a "))
            }
            kind => schema["title"].as_str().unwrap_or(kind).to_owned(),
        },
        (_, Value::Array(kinds)) => match &schema["title"] {
            Value::String(title) => title.clone(),
            _ => kinds.iter().map(words).collect::<Vec<_>>().join(" or "),
        },
        _ => "any".to_owned(),
    }
}
