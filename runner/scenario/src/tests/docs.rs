//! The schema, and the keys in the pages of `docs/`.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    Selection,
    key_tables::{scenario_tables, settings_tables},
    keys::{DEFAULTS, KNOWN_LIST, LIST, TEST},
    lists::TOML_LIST,
    load, parse_stored,
    reading::{Document, Form},
    resolve,
    scenario::SCENARIO,
    schema,
    settings::SETTINGS,
};

const DOCS: &str = "../../docs";
const KEYS: [&str; 2] = ["<!-- keys: written by `./update` -->\n", "<!-- /keys -->\n"];
const TOUR: &str = "src/tests/valid/tour.toml";
/// The tour has `reuse`, which is not deterministic.
const DETERMINISTIC: &str = "src/tests/valid/deterministic.toml";

/// Compares a file with its expected text. `UPDATE=1` of `./update` writes it.
fn compare(path: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, expected).unwrap();
    }
    let found = fs::read_to_string(path).unwrap();
    assert!(found == expected, "{path} is not up to date: run ./update");
}

#[test]
fn pages_list_exactly_all_keys_and_removed_names() {
    let (_, gone) = include_str!("../gone.md").split_once("\n\n| of").unwrap();
    for (page, tables) in [
        ("docs/scenarios", scenario_tables()),
        ("docs/settings", settings_tables()),
        ("CHANGELOG", format!("| of{}", gone.trim_end())),
    ] {
        let path = format!("../../{page}.md");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(KEYS[0]).unwrap();
        let (_, after) = rest.split_once(KEYS[1]).unwrap();
        let tables = format!("\n{tables}\n");
        compare(&path, &[before, KEYS[0], &tables, KEYS[1], after].concat());
    }
}

#[test]
fn published_schema_is_current() {
    let schema = serde_json::to_string_pretty(&schema()).unwrap();
    compare("../../schemas/scenario.schema.json", &(schema + "\n"));
}

/// Parses the scenarios in the pages as stored ones: the files that they name do not exist.
#[test]
fn examples_in_docs_are_valid() {
    let mut count = 0;
    for page in ["scenarios", "grants", "secrets", "network"] {
        let text = fs::read_to_string(format!("{DOCS}/{page}.md")).unwrap();
        for example in text.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            let is_whole = example.contains("[providers.") && example.contains("tests]]");
            let problems =
                is_whole.then(|| parse_stored(example, page, &Default::default()).err()).flatten();
            let problems = problems.map(|problems| problems.render(false, 100));
            assert_eq!(problems, None, "{page}: {example}");
            count += u32::from(is_whole);
        }
    }
    assert!(count > 6, "{count}");
}

/// Collects all keys of a schema, each with the title of its table.
fn note(schema: &Value, all: &mut BTreeSet<(String, String)>) {
    let title = schema["title"].as_str().unwrap_or_default();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let advice = format!("describe `{key}` in keys.md, below `## {title}`");
        assert_ne!(property["description"], "", "{advice}");
        all.insert((title.to_owned(), key.clone()));
    }
    match schema {
        Value::Array(inner) => inner.iter().for_each(|inner| note(inner, all)),
        Value::Object(inner) => inner.values().for_each(|inner| note(inner, all)),
        _ => {}
    }
}

#[test]
fn every_key_has_one_sentence() {
    let mut all = BTreeSet::new();
    let tables = [SCENARIO.schema(), SETTINGS.schema(), TOML_LIST.schema(), KNOWN_LIST.schema()];
    note(&tables.into(), &mut all);
    let mut title = "";
    for line in include_str!("../keys.md").lines() {
        title = line.strip_prefix("## ").unwrap_or(title);
        if let Some(row) = line.strip_prefix("* `") {
            let key = (title.to_owned(), row.split('`').next().unwrap().to_owned());
            assert!(all.contains(&key), "{key:?} is not a key");
        }
    }
}

/// Collects the keys of a schema that a value uses.
fn note_used(schema: &Value, value: &Value, used: &mut BTreeSet<(String, String)>) {
    let options = schema["anyOf"].as_array();
    for option in options.into_iter().flatten() {
        note_used(option, value, used);
    }
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| note_used(&schema["items"], item, used));
        }
        Value::Object(map) => {
            for (key, value) in map {
                let property = schema["properties"].get(key);
                if let (Some(_), Some(title)) = (property, schema["title"].as_str()) {
                    used.insert((title.to_owned(), key.clone()));
                }
                let inner = property.unwrap_or(&schema["additionalProperties"]);
                note_used(inner, value, used);
            }
        }
        _ => {}
    }
}

fn json_of(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let document = Document::parse(path, &text);
    let document = document.unwrap_or_else(|_| panic!("{path}"));
    document.value(&mut Vec::new())
}

#[test]
fn tour_uses_every_key() {
    let mut used = BTreeSet::new();
    for path in [TOUR, DETERMINISTIC] {
        note_used(&SCENARIO.schema(), &json_of(path), &mut used);
    }
    let mut keys = BTreeSet::new();
    note(&SCENARIO.schema(), &mut keys);
    let is_default = |key: &String| keys.contains(&(DEFAULTS.0.to_owned(), key.clone()));
    let is_repeated = |(title, key): &(String, String)| {
        [TEST.0, LIST.0].contains(&title.as_str()) && is_default(key)
    };
    let keys: BTreeSet<_> = keys.iter().filter(|key| !is_repeated(key)).cloned().collect();
    assert!(keys.len() > 80, "{keys:?}");
    let unused: Vec<_> = keys.difference(&used).collect();
    assert!(unused.is_empty(), "use these keys in {TOUR}: {unused:?}");
}

#[test]
fn valid_scenarios_are_accepted() {
    let examples = ["agent", "basic", "chat", "http", "units"];
    let examples = examples.map(|name| format!("../../scenarios/{name}.toml"));
    let own = ["src/tests/valid/smallest.toml", TOUR, DETERMINISTIC].map(str::to_owned);
    for path in own.iter().chain(&examples) {
        let mut file = tempfile::tempfile().unwrap();
        let scenario = load(Path::new(path), &Default::default());
        let suite = scenario.and_then(|scenario| {
            scenario.known_list(false)?;
            resolve(&scenario, &Selection::default(), &mut file)
        });
        let problems = suite.err().map(|problems| problems.render(false, 100));
        assert_eq!(problems, None, "{path}");
    }
}

#[test]
fn valid_scenarios_match_published_schema() {
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("scenario.json", schema()).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("scenario.json", &mut schemas).unwrap();
    let is_valid =
        |value: &Value| schemas.validate(value, index).map_err(|error| error.to_string());
    for path in ["src/tests/valid/smallest.toml", TOUR] {
        assert_eq!(is_valid(&json_of(path)), Ok(()), "{path}");
    }
    let mut wrong = json_of(TOUR);
    wrong["providers"]["echo"]["plugins"] = json!("x");
    assert!(is_valid(&wrong).is_err());
}

#[test]
fn schema_has_defaults_and_required_keys() {
    let schema = schema();
    let at = |path: &str| schema.pointer(path).unwrap_or(&Value::Null).clone();
    assert_eq!(at("/properties/timeout_minutes/default"), json!(60));
    let provider = "/properties/providers/additionalProperties";
    assert_eq!(at(&format!("{provider}/required")), json!(["plugin"]));
    let memory = format!("{provider}/properties/limits/properties/memory/default");
    assert_eq!(at(&memory), json!("256MiB"));
    assert_eq!(at("/properties/tests/items/required"), json!(["id"]));
    assert_eq!(at("/properties/tests/items/additionalProperties"), json!(false));
    // In a test list every string may be a template.
    let matches = at("/properties/test_lists/items/properties/expect/properties/matches");
    assert_eq!(matches["anyOf"][0]["format"], json!("regex"));
    assert_eq!(matches["anyOf"][1]["type"], json!("string"));
}
