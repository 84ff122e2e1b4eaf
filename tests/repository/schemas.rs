//! The contracts in `schemas/`, and the keys that the reference lists, are those of the program.
//!
//! `UPDATE=1` writes them anew.

use std::path::Path;

use clap::ValueEnum as _;
use runner::{cli::SchemaName, record, scenario, serve, view};
use serde_json::Value;

use crate::support::{fresh::expect_file, runner::Runner};

#[test]
fn the_published_schemas_are_those_of_the_program() {
    for (name, schema) in schemas() {
        let path = format!("schemas/{name}.schema.json");
        expect_file(Path::new(&path), &format!("{schema:#}\n"));
    }
}

#[test]
fn every_schema_is_printed_by_its_name() {
    let runner = Runner::new(&[]);
    let names = SchemaName::value_variants();
    let names = names.iter().filter_map(SchemaName::to_possible_value);
    let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
    let mut contracts = schemas();
    let events = contracts.iter().position(|(name, _)| *name == "events");
    contracts.insert(events.unwrap() + 1, ("openapi", serve::openapi()));
    let published: Vec<_> = contracts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, published);
    for (name, schema) in contracts {
        let printed = runner.run(&["schema", name]).expect(0).stdout;
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed, schema, "{name}");
    }
}

/// Every contract that has a JSON Schema, by its name.
fn schemas() -> Vec<(&'static str, Value)> {
    let formats = [
        ("scenario", scenario::json_schema()),
        ("settings", scenario::settings_schema()),
        ("row", record::row_schema()),
        ("log-line", record::log_line_schema()),
        ("benchmark", record::benchmark_schema()),
        ("events", view::events_schema()),
    ];
    let documents = view::SCHEMAS.iter().map(|(name, make)| (*name, make()));
    formats.into_iter().chain(documents).collect()
}

#[test]
fn the_published_sql_is_that_of_the_program() {
    expect_file(Path::new("schemas/database.sql"), &record::database_sql());
}

#[test]
fn the_published_api_is_that_of_the_program() {
    expect_file(
        Path::new("schemas/openapi.json"),
        &format!("{:#}\n", serve::openapi()),
    );
}

#[test]
fn the_published_contract_is_that_of_the_sdk() {
    let contract = fs_err::read_to_string("plugins/sdk/wit/provider.wit").unwrap();
    expect_file(Path::new("schemas/provider.wit"), &contract);
}

#[test]
fn every_schema_has_a_title_and_a_description_for_each_key() {
    for (_, schema) in schemas() {
        assert!(schema["title"].is_string());
        let mut silent = Vec::new();
        find_silent(&schema, "", &mut silent);
        assert_eq!(silent, [""; 0], "{}", schema["title"]);
    }
}

#[test]
fn the_pages_of_scenarios_and_settings_list_every_key() {
    for (path, schema, tables) in [
        ("docs/scenarios.md", scenario::json_schema(), &TABLES[..]),
        ("docs/settings.md", scenario::settings_schema(), &SETTINGS),
    ] {
        let page = fs_err::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(KEYS_BEGIN).unwrap();
        let (_, after) = rest.split_once(KEYS_END).unwrap();
        let tables = key_tables(&schema, tables);
        let expected = format!("{before}{KEYS_BEGIN}\n{tables}{KEYS_END}{after}");
        expect_file(Path::new(path), &expected);
    }
}

const KEYS_BEGIN: &str = "<!-- keys: written by `UPDATE=1 cargo test schemas` -->";
const KEYS_END: &str = "<!-- /keys -->";

/// The tables of a scenario in reading order: a heading, and where it is in the schema.
const TABLES: [(&str, &str); 14] = [
    ("Top level", ""),
    (
        "`[defaults]`; each of these keys may also stand on a test and on a test list",
        "/properties/defaults",
    ),
    ("`retries`", "/properties/defaults/properties/retries"),
    ("`[run]`", "/properties/run"),
    ("`[notify]`", "/properties/notify"),
    (
        "`[[notify.webhooks]]`",
        "/properties/notify/properties/webhooks/items",
    ),
    (
        "`[providers.NAME]`",
        "/properties/providers/additionalProperties",
    ),
    (
        "`limits` of a provider",
        "/properties/providers/additionalProperties/properties/limits",
    ),
    (
        "`grants` of a provider",
        "/properties/providers/additionalProperties/properties/grants",
    ),
    (
        "a table in `secrets` of its grants",
        "/properties/providers/additionalProperties/properties/grants/properties/secrets/items/anyOf/1",
    ),
    (
        "`fs` of its grants",
        "/properties/providers/additionalProperties/properties/grants/properties/fs/items",
    ),
    ("`[[tests]]`", "/properties/tests/items"),
    ("`expect`", "/properties/tests/items/properties/expect"),
    ("`[[test_lists]]`", "/properties/test_lists/items"),
];

/// The same of settings.
const SETTINGS: [(&str, &str); 7] = [
    ("Top level", ""),
    ("`[retention]`", "/properties/retention"),
    ("`[notify]`", "/properties/notify"),
    (
        "`[[notify.webhooks]]`",
        "/properties/notify/properties/webhooks/items",
    ),
    (
        "`secret` and `url` of a webhook",
        "/properties/notify/properties/webhooks/items/properties/secret",
    ),
    (
        "`[[notify.commands]]`",
        "/properties/notify/properties/commands/items",
    ),
    ("`[serve]`", "/properties/serve"),
];

fn key_tables(schema: &Value, tables: &[(&str, &str)]) -> String {
    let defaults = &schema["properties"]["defaults"]["properties"];
    let mut text = String::new();
    for &(heading, pointer) in tables {
        let table = schema.pointer(pointer).expect("the schema has the table");
        text.push_str(&format!(
            "\n**{heading}**\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n"
        ));
        for (key, property) in table["properties"].as_object().unwrap() {
            let is_default =
                pointer != "/properties/defaults" && defaults.get(key) == Some(property);
            if !is_default {
                text.push_str(&row(key, property, &table["required"]));
            }
        }
    }
    text + "\n"
}

fn row(key: &str, property: &Value, required: &Value) -> String {
    let is_required = required
        .as_array()
        .is_some_and(|keys| keys.contains(&key.into()));
    let default = match &property["default"] {
        _ if is_required => "required".to_owned(),
        Value::Null => String::new(),
        value => format!("`{value}`"),
    };
    let meaning = property["description"].as_str().unwrap();
    format!("| `{key}` | {} | {default} | {meaning} |\n", kind(property))
}

/// Says in a few words what a value must be.
fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return match words.len() {
            0..=3 => join(words.iter().map(|word| format!("`{word}`"))),
            _ => "a word".to_owned(),
        };
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return join(choices.iter().map(kind));
    }
    match schema["examples"][0].as_str() {
        Some("10s") => return "duration".to_owned(),
        Some("64MiB") => return "size".to_owned(),
        Some(example) => return format!("such as `{example:?}`"),
        None => {}
    }
    match &schema["type"] {
        Value::Array(types) => join(types.iter().map(|name| word(name, schema))),
        name => word(name, schema),
    }
}

fn word(name: &Value, schema: &Value) -> String {
    match name.as_str() {
        Some("object") => "table".to_owned(),
        Some("array") => match &schema["items"] {
            Value::Object(item) if item.contains_key("anyOf") => {
                "array of strings or tables".to_owned()
            }
            Value::Object(item) if item["type"] == "object" => "array of tables".to_owned(),
            Value::Object(item) if item["type"] == "string" => "array of strings".to_owned(),
            _ => "array".to_owned(),
        },
        Some(name) => name.to_owned(),
        None => "any".to_owned(),
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

fn find_silent(schema: &Value, path: &str, silent: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                // The tag of an event is a constant, described beside it.
                let is_silent = |property: &Value| {
                    property.get("description").is_none() && property.get("const").is_none()
                };
                let names = properties
                    .iter()
                    .filter(|(_, property)| is_silent(property));
                silent.extend(names.map(|(name, _)| format!("{path}/{name}")));
            }
            for (key, value) in map {
                find_silent(value, &format!("{path}/{key}"), silent);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| find_silent(item, path, silent)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
