//! The tables of keys in `docs/`, from the schemas.

use serde_json::Value;

use crate::keys::{DEFAULTS, GATE, GRADERS, LIST, PROVIDERS, TEST, TOOLS};
use crate::{reading::Form, scenario::SCENARIO, settings::SETTINGS};

/// Tables that have keys of other tables, which list them.
const SHARED: [(&str, &[&str]); 6] = [
    (TEST.0, &[DEFAULTS.0]),
    (LIST.0, &[DEFAULTS.0, TEST.0]),
    (GRADERS.form.0, &[PROVIDERS.form.0]),
    (TOOLS.form.0, &[PROVIDERS.form.0]),
    ("a rule of `[gate]`", &[GATE.0]),
    ("`[[notify.commands]]`", &["`[[notify.webhooks]]`"]),
];

/// Returns the tables of all keys in Markdown, for `docs/scenarios.md`, without those in `docs/settings.md`.
pub(crate) fn scenario_tables() -> String {
    let settings = tables(&SETTINGS.schema());
    let mut tables = tables(&SCENARIO.schema());
    tables.retain(|table| settings.iter().all(|other| other["title"] != table["title"]));
    markdown(&tables)
}

/// Returns the tables of the keys of `runner.toml` in Markdown, for `docs/settings.md`.
pub(crate) fn settings_tables() -> String {
    markdown(&tables(&SETTINGS.schema()))
}

/// Returns the schemas of a table and of those in it, each once.
fn tables(schema: &Value) -> Vec<Value> {
    let mut tables = Vec::new();
    collect(schema, &mut tables);
    tables
}

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

fn markdown(tables: &[Value]) -> String {
    let texts: Vec<_> = tables.iter().map(|schema| table(schema, tables)).collect();
    texts.join("\n")
}

/// Formats a table. A key that another table lists is only named.
fn table(schema: &Value, all: &[Value]) -> String {
    let title = words(&schema["title"]);
    let shared = SHARED.iter().find(|(name, _)| *name == title);
    let others = shared.map_or(&[][..], |(_, others)| others);
    let others: Vec<_> =
        all.iter().filter(|other| others.contains(&words(&other["title"]))).collect();
    let mut properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let mut text = format!("**{title}");
    for other in others {
        let mut keys = Vec::new();
        properties.retain(|key, property| {
            let shared = other["properties"].get(key);
            // Tables whose names have another form are of another kind.
            let is_same = |shared: &Value| {
                form(shared) == form(property)
                    && shared["propertyNames"] == property["propertyNames"]
            };
            let is_own = shared.is_none_or(|shared| !is_same(shared));
            keys.extend((!is_own).then(|| key.clone()));
            is_own
        });
        text += &format!("; also `{}` of {}", keys.join("`, `"), words(&other["title"]));
    }
    text += "**\n";
    if properties.is_empty() {
        return text;
    }
    text += "\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
    for (key, property) in &properties {
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
        let is_template = |option: &&Value| option["pattern"] == r"\{\{";
        let options = options.iter().filter(|option| !is_template(option));
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
            "array" if form(&schema["items"]) == "any" => "array".to_owned(),
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
