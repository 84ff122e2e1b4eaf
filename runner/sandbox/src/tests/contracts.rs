//! Plugins of every published contract are linked and run.

use std::{collections::BTreeMap, fs};

use runner_model::digest;
use serde_json::{Value, json};

use super::support::{Bench, error, guests, output, run_fresh};
use crate::{AttachedFile, Call, Ended, inspect};

/// Published contracts and their hashes, which never change.
const PUBLISHED: [(&str, &str); 2] = [
    ("0.1.0", "cb3d74953cee04c72be1c2602de85b0e4ab213ac24ef7db5b2d92c8048024853"),
    ("0.1.1", "980cb2d097ebc58efc6f3abe93d88aae616109b5a383db20a233740324205280"),
];

/// Interfaces that plugins export. Existing plugins would lack any addition to them.
const EXPORTED: [&str; 2] = ["interface provider", "interface lifecycle"];

#[test]
fn published_contract_never_changes() {
    for (version, expected) in PUBLISHED {
        let text = published(version);
        assert!(text.contains(&format!("package runner:provider@{version};")));
        assert_eq!(digest(text.as_bytes()).to_string(), expected, "{version}");
    }
}

#[test]
fn current_contract_contains_every_published_one() {
    let today = include_str!("../../../../plugins/sdk/wit/provider.wit");
    for (version, _) in PUBLISHED {
        assert_eq!(broken(&published(version), today), [""; 0], "{version}");
    }
    // Shows that `broken` notices a change.
    let published = published("0.1.0");
    for (old, new, names) in [
        ("score: option<f64>,", "score: option<f32>,", "record check"),
        ("stopped, internal, other", "stopped, other", "enum error-kind"),
        ("message: string);", "message: string, more: bool);", "progress"),
        ("teardown: func();", "teardown: func();\n  pause: func();", "interface lifecycle"),
        ("interface secrets {", "interface secret {", "interface secrets"),
        ("  import files;\n", "", "world plugin"),
    ] {
        let changed = published.replace(old, new);
        assert_ne!(changed, published, "{old}");
        let broken = broken(&published, &changed);
        assert!(broken.iter().any(|item| item.contains(names)), "{names}: {broken:?}");
    }
    let more = published.replace(
        "  remaining: func() -> ms;",
        "  remaining: func() -> ms;\n  emit: func(chunk: json);",
    );
    assert_eq!(broken(&published, &(more + "interface streams { open: func(); }")), [""; 0]);
}

fn published(version: &str) -> String {
    // Guests of one version share its text, which is in the folder of one of them.
    let guest = if version == "0.1.0" { "pure" } else { "everything" };
    let version = version.replace('.', "-");
    let path = format!("tests/guests/contract-{version}-{guest}/provider.wit");
    fs::read_to_string(guests::root().join(path)).unwrap()
}

/// Returns the items of the `old` contract that differ in the `new` one. The new one may have more
/// functions, interfaces and worlds.
fn broken(old: &str, new: &str) -> Vec<String> {
    let new = blocks(new);
    let mut broken = Vec::new();
    for (name, items) in blocks(old) {
        let Some(today) = new.get(&name) else {
            broken.push(name);
            continue;
        };
        let is_frozen = EXPORTED.contains(&name.as_str()) || name.starts_with("world ");
        if is_frozen && items != *today {
            broken.push(name);
            continue;
        }
        let missing = items.into_iter().filter(|item| !today.contains(item));
        broken.extend(missing.map(|item| format!("{name}: {item}")));
    }
    broken
}

/// Returns the items of each interface and world, without comments, one per line.
fn blocks(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut blocks = BTreeMap::new();
    let (mut name, mut item, mut items, mut depth) = (String::new(), String::new(), Vec::new(), 0);
    for word in text.split_inclusive([';', '{', '}', ' ']) {
        let (word, end) = word.split_at(word.len() - 1);
        item.push_str(word);
        match end {
            "{" if depth == 0 => name = std::mem::take(&mut item).trim().to_owned(),
            "}" if depth == 1 => {
                blocks.insert(std::mem::take(&mut name), std::mem::take(&mut items));
            }
            " " if item.ends_with(' ') => {}
            _ => item.push_str(end),
        }
        depth += i32::from(end == "{") - i32::from(end == "}");
        if (end == ";" || end == "}") && depth <= 1 {
            let whole = std::mem::take(&mut item).trim().to_owned();
            if depth == 1 && !whole.is_empty() {
                items.push(whole);
            }
        }
    }
    blocks
}

#[test]
fn contract_0_1_0_plugins_run_in_each_world() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, "one").unwrap();
    let files = [AttachedFile { name: "a.txt".to_owned(), bytes: 3, path }];
    let run = |world: &str, input: &str| -> Ended {
        let guest = guests::component(&format!("contract-0-1-0-{world}"));
        let inspection = inspect(&fs::read(&guest).unwrap()).unwrap();
        assert_eq!(inspection.contract.as_deref(), Some("0.1.0"));
        let call = Call { files: &files, ..bench.call(input) };
        let plugin = bench.guest(&guest);
        bench.runtime.block_on(run_fresh(&plugin, call))
    };
    assert_eq!(output(&run("pure", "[1]")), "[1]");
    for world in ["plugin", "lifecycle"] {
        let ended = run(world, "null");
        let value: Value = serde_json::from_str(output(&ended)).unwrap();
        assert_eq!(
            value,
            json!({
                "stop_requested": false,
                "has_time": true,
                "names": [["a.txt", "text/plain", 3]],
                "read": {"Ok": "one"},
                "missing": {"Err": "not-found"},
                "secret": {"Err": "denied"},
                "artifact": true,
                "is_denied": true,
            })
        );
        assert_eq!(ended.artifacts[0].name, "left.txt");
        assert_eq!(error(&run(world, "\"later\"")), ("rate-limited", "busy", "\"later\""));
    }
}
