//! JSON schemas of documents and files, and `runner schema`.

use std::{cell::RefCell, collections::BTreeSet, env, fs, path::PathBuf, sync::LazyLock};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{guests::root, runner::Runner, runner::tests};

/// The published schemas, without room for unknown keys.
pub(crate) struct Published {
    compiled: &'static Compiled,
    seen: RefCell<BTreeSet<String>>,
}

/// Schemas that are compiled once for all tests.
struct Compiled {
    schemas: Schemas,
    indexes: Vec<(String, SchemaIndex)>,
}

/// Returns the name and the title of each schema.
fn names(runner: &Runner) -> Vec<(String, String)> {
    let listed = runner.run(&["schema"]).expect(0).stdout;
    let lines = listed.lines().skip(1).map(|line| line.split_once("  ").unwrap());
    lines.map(|(name, title)| (name.to_owned(), title.trim().to_owned())).collect()
}

fn path(name: &str, title: &str) -> PathBuf {
    if name == "openapi" {
        return root().join("schemas/openapi.json");
    }
    let folder = if title.starts_with("Document") { "documents/" } else { "" };
    root().join(format!("schemas/{folder}{name}.schema.json"))
}

impl Published {
    pub(crate) fn read() -> Self {
        static COMPILED: LazyLock<Compiled> = LazyLock::new(Compiled::read);
        Self { compiled: &COMPILED, seen: RefCell::default() }
    }

    /// Returns the problem of a value. `None` if it is valid.
    pub(crate) fn problem(&self, name: &str, value: &Value) -> Option<String> {
        let Compiled { schemas, indexes } = self.compiled;
        let found = indexes.iter().find(|(known, _)| known == name);
        let (_, index) = found.unwrap_or_else(|| panic!("there is no schema `{name}`"));
        self.seen.borrow_mut().insert(name.to_owned());
        let error = schemas.validate(value, *index).err()?;
        Some(format!("{name}: {error:#}"))
    }

    /// Returns the names of schemas that no value was compared with.
    pub(crate) fn unseen(&self) -> Vec<&str> {
        let names = self.compiled.indexes.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !self.seen.borrow().contains(*name)).collect()
    }
}

impl Compiled {
    fn read() -> Self {
        let names = names(&Runner::new(&[]));
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.enable_format_assertions();
        let mut indexes = Vec::new();
        for (name, title) in names.into_iter().filter(|(name, _)| name != "openapi") {
            let text = fs::read_to_string(path(&name, &title)).unwrap();
            let mut schema = serde_json::from_str(&text).unwrap();
            close(&mut schema, false);
            let address = format!("urn:test:{name}");
            schema["$id"] = address.clone().into();
            compiler.add_resource(&address, schema).unwrap();
            indexes.push((name, compiler.compile(&address, &mut schemas).unwrap()));
        }
        Self { schemas, indexes }
    }
}

/// Forbids keys that a schema does not name. `is_part` is for alternatives of an object's other keys.
fn close(schema: &mut Value, is_part: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    let has_keys = schema.contains_key("properties");
    if has_keys && !is_part {
        schema.entry("unevaluatedProperties").or_insert(false.into());
    }
    for (key, inner) in schema.iter_mut() {
        match (key.as_str(), inner) {
            ("oneOf" | "anyOf" | "allOf", Value::Array(all)) => {
                all.iter_mut().for_each(|one| close(one, has_keys));
            }
            ("properties" | "$defs", Value::Object(all)) => {
                all.values_mut().for_each(|one| close(one, false));
            }
            ("items" | "additionalProperties", one) => close(one, false),
            _ => {}
        }
    }
}

#[test]
fn printed_schemas_are_the_published_ones() {
    let runner = Runner::new(&[]);
    let mut published = BTreeSet::new();
    for (name, title) in names(&runner) {
        let (printed, path) =
            (runner.run(&["schema", &name]).expect(0).stdout, path(&name, &title));
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &printed).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == printed, "{path:?} is not up to date: run ./update");
        let schema: Value = serde_json::from_str(&printed).unwrap();
        assert!(name == "openapi" || schema["title"].is_string(), "{name}");
        for trace in ["::", "](", "`None`"] {
            assert!(!printed.contains(trace), "{name} has a trace of Rust: {trace}");
        }
        published.insert(path);
    }
    for folder in ["schemas", "schemas/documents"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_schema = path.to_str().unwrap().ends_with(".schema.json");
            assert!(!is_schema || published.contains(&path), "{path:?} is of no schema");
        }
    }
    snapshot(&runner.run(&["schema", "rows"]).expect(2));
}

/// Adds the keys of a schema that have no description. No page describes them.
fn add_undescribed(schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        // An alternative with one key, or with a constant, is described as a whole.
        let is_form =
            properties.is_some_and(|all| all.len() == 1) && schema.get("description").is_some();
        let is_known =
            is_form || ["description", "const"].iter().any(|key| property.get(key).is_some());
        if !is_known {
            found.insert(format!("{place}: {key}"));
        }
    }
    match schema {
        Value::Object(map) => map.values().for_each(|inner| add_undescribed(inner, place, found)),
        Value::Array(all) => all.iter().for_each(|inner| add_undescribed(inner, place, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_every_schema_is_described() {
    let runner = Runner::new(&[]);
    let mut found = BTreeSet::new();
    for (name, _) in names(&runner).into_iter().filter(|(name, _)| name != "openapi") {
        let printed = runner.run(&["schema", &name]).expect(0).stdout;
        add_undescribed(&serde_json::from_str(&printed).unwrap(), &name, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Files of a run, and files that users write. `real_output_matches_its_schema` compares the other schemas.
#[test]
fn files_match_their_schemas() {
    let runner = Runner::hostile(&tests("says | { do = \"log\" } |"));
    let published = Published::read();
    let check = |name: &str, value: &Value| assert_eq!(published.problem(name, value), None);
    let started = runner.exec(&["--detach", "--json"]).expect(0).document();
    check("started", &started);
    runner.run(&["wait"]).expect(0);
    let run = runner.only_run();
    check("manifest", &run.manifest());
    for (file, name) in [("index.jsonl", "row"), ("logs.jsonl", "log")] {
        let text = run.text(file);
        assert_ne!(text, "");
        text.lines().for_each(|line| check(name, &serde_json::from_str(line).unwrap()));
    }
    let toml = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    check("scenario", &toml(&fs::read_to_string(runner.path("scenario.toml")).unwrap()));
    let settings = "[retention]\nolder_than = \"30d\"\nkeep_last = 500\nmax_size = \"20GiB\"\n";
    check("settings", &toml(settings));
    assert!(published.problem("settings", &toml("[retention]\nkeep = 1\n")).is_some());
}

#[test]
fn changed_rows_are_refused_by_the_schema() {
    let runner = Runner::hostile(&tests("one | { do = \"echo\", value = 1 } |"));
    runner.exec(&[]).expect(0);
    let (row, published) = (runner.only_run().rows().remove(0), Published::read());
    let problem = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut row = row.clone();
        change(row.as_object_mut().unwrap());
        published.problem("row", &row)
    };
    assert_eq!(problem(&|_| ()), None);
    for key in ["v", "trial", "outcome", "usage", "fingerprint", "final", "crc"] {
        assert!(problem(&|row| drop(row.remove(key))).is_some(), "{key}");
    }
    for (key, value) in [
        ("v", json!(5)),
        ("outcome", json!("good")),
        ("started_at", json!("today")),
        ("seq", json!("1")),
        ("fingerprint", json!("xyz")),
        ("score", json!(null)),
        ("unknown", json!(1)),
    ] {
        assert!(problem(&|row| drop(row.insert(key.into(), value.clone()))).is_some(), "{key}");
    }
}

#[test]
fn changed_events_are_refused_by_the_schema() {
    let published = Published::read();
    let is_valid = |event: Value| published.problem("event", &event).is_none();
    assert!(is_valid(json!({"v": 1, "n": 1, "event": "unpaused"})));
    assert!(is_valid(json!({"v": 1, "n": 2, "event": "paused", "by": null})));
    for event in [
        json!({"v": 1, "n": 1, "event": "unpaused", "by": null}),
        json!({"v": 1, "n": 1, "event": "other"}),
        json!({"v": 1, "event": "unpaused"}),
        json!({"v": 2, "n": 1, "event": "unpaused"}),
        json!({"v": 1, "n": 2, "event": "paused"}),
        json!({"v": 1, "n": 2, "event": "notice", "text": 1}),
    ] {
        assert!(!is_valid(event.clone()), "{event}");
    }
}
