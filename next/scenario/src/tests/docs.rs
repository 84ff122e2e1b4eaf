//! The schema, and what the page on scenarios says of keys.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{reference, schema, table::is_later};

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
fn the_schema_has_defaults_and_required_keys() {
    let schema = schema();
    let at = |path: &str| schema.pointer(path).unwrap_or(&Value::Null).clone();
    assert_eq!(at("/properties/timeout_minutes/default"), json!(60));
    let provider = "/properties/providers/additionalProperties";
    assert_eq!(at(&format!("{provider}/required")), json!(["plugin"]));
    let memory = format!("{provider}/properties/limits/properties/memory/default");
    assert_eq!(at(&memory), json!("256MiB"));
    assert_eq!(at("/properties/tests/items/required"), json!(["id"]));
    assert_eq!(
        at("/properties/tests/items/additionalProperties"),
        json!(false)
    );
    // In a list every string may be a template.
    let matches = at("/properties/test_lists/items/properties/expect/properties/matches");
    assert_eq!(matches["anyOf"][0]["format"], json!("regex"));
    assert_eq!(matches["anyOf"][1]["type"], json!("string"));
}
