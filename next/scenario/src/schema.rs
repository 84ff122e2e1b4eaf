//! The JSON Schema of a scenario, and the tables of its keys for the documentation.

use serde_json::{Value, json};

use crate::{
    form::Form,
    scenario::SCENARIO,
    table::{KeyTable, Presence},
    test_keys::DEFAULTS,
};

/// The JSON Schema of a scenario.
pub fn schema() -> Value {
    let mut schema = SCENARIO.schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("A scenario of `runner`");
    schema["description"] = json!("Which tests run on which providers, and what must come.");
    schema
}

/// The tables of all keys, in Markdown, for the page on scenarios.
pub fn reference() -> String {
    let mut text = String::new();
    write_table(&SCENARIO.describe(), &mut Vec::new(), &mut text);
    text
}

/// Writes a table and those in it, each once.
fn write_table(table: &KeyTable, written: &mut Vec<&'static str>, text: &mut String) {
    if written.contains(&table.title) {
        return;
    }
    written.push(table.title);
    let note = if table.title == DEFAULTS.0 {
        "; each of these keys may also stand on a test and on a test list"
    } else {
        ""
    };
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("**{}{note}**\n\n", table.title));
    text.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    let mut keys: Vec<_> = table.keys.iter().filter(|key| !key.is_shared).collect();
    keys.sort_by_key(|key| key.key);
    for key in keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => String::new(),
            Presence::Default(default) => format!("`{default}`"),
        };
        let row = format!(
            "| `{}` | {} | {default} | {} |\n",
            key.key, key.form, key.about
        );
        text.push_str(&row);
    }
    for inner in table.keys.iter().filter_map(|key| key.inner.as_ref()) {
        write_table(inner, written, text);
    }
}
