//! The schema, and what the page on scenarios says of keys.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use crate::{
    form::Form,
    reference,
    scenario::SCENARIO,
    schema,
    table::{KeyTable, is_later},
};

/// Documented at the first edition, and not coming back.
const GONE: &[(&str, &str)] = &[("`[run]`", "poison_after")];
/// Tables that are in no table which is read.
const LATER_TABLES: &[&str] = &[
    "`[notify]`",
    "`[[notify.webhooks]]`",
    "`grants` of a provider",
    "a table in `secrets` of its grants",
    "`fs` of its grants",
];

/// The title of a table and a key in it, of each key in Markdown tables.
fn keys_of(markdown: &str) -> BTreeSet<(String, String)> {
    let mut title = "";
    let mut keys = BTreeSet::new();
    for line in markdown.lines() {
        if let Some(heading) = line
            .strip_prefix("**")
            .and_then(|line| line.strip_suffix("**"))
        {
            title = heading.split(';').next().unwrap();
        } else if let Some(row) = line.strip_prefix("| `") {
            keys.insert((title.to_owned(), row.split('`').next().unwrap().to_owned()));
        }
    }
    keys
}

#[test]
fn the_page_of_scenarios_lists_every_key_and_no_other() {
    let page = fs::read_to_string("../../docs/scenarios.md").unwrap();
    let (_, page) = page.split_once("## Every key").unwrap();
    let documented = keys_of(page);
    let read = keys_of(&reference());
    assert!(read.len() > 50, "{read:?}");
    let undocumented: Vec<_> = read.difference(&documented).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    for (title, key) in documented.difference(&read) {
        let is_known = is_later(title, key)
            || GONE.contains(&(title, key))
            || LATER_TABLES.contains(&title.as_str());
        assert!(is_known, "{title} {key}");
    }
    for (title, key) in &read {
        assert!(!is_later(title, key), "{title} {key}");
    }
}

#[test]
fn the_schema_has_every_key() {
    fn check(table: &KeyTable, schema: &serde_json::Value) {
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), table.keys.len(), "{}", table.title);
        assert_eq!(schema["additionalProperties"], json!(false));
        for key in &table.keys {
            let property = &properties[key.key];
            assert_eq!(property["description"], json!(key.about));
            if let Some(inner) = &key.inner {
                let places = [
                    property,
                    &property["items"],
                    &property["additionalProperties"],
                ];
                let schema = places
                    .into_iter()
                    .find(|schema| schema["properties"].is_object());
                check_inner(inner, schema.unwrap());
            }
        }
    }
    // Where templates may be, a key's schema stands beside that of a template.
    fn check_inner(table: &KeyTable, schema: &serde_json::Value) {
        if schema["properties"]
            .as_object()
            .unwrap()
            .values()
            .any(|key| key["anyOf"].is_array())
        {
            assert_eq!(
                schema["properties"].as_object().unwrap().len(),
                table.keys.len()
            );
        } else {
            check(table, schema);
        }
    }
    check(&SCENARIO.describe(), &schema());
    assert_eq!(
        SCENARIO.schema()["properties"]["timeout_minutes"]["default"],
        json!(60)
    );
    assert_eq!(
        schema()["properties"]["test_lists"]["items"]["required"],
        json!(["files"])
    );
    assert_eq!(
        schema()["properties"]["providers"]["additionalProperties"]["properties"]["limits"]["properties"]
            ["memory"]["default"],
        json!("256MiB")
    );
}
