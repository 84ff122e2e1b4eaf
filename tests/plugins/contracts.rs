//! Plugins of every published contract are linked and run; those of contracts to come are refused by name.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::runner::Runner;

/// The published contracts, and what they hash to: they never change.
const PUBLISHED: [(&str, &str); 1] = [(
    "0.1.0",
    "cb3d74953cee04c72be1c2602de85b0e4ab213ac24ef7db5b2d92c8048024853",
)];

/// Interfaces that plugins export: what is added to one is missing in the plugins that exist.
const EXPORTED: [&str; 2] = ["interface provider", "interface lifecycle"];

#[test]
fn a_published_contract_never_changes() {
    for (version, expected) in PUBLISHED {
        let text = published(version);
        assert!(text.contains(&format!("package runner:provider@{version};")));
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected, "{version}");
    }
}

#[test]
fn todays_contract_has_everything_that_was_published() {
    let today = fs_err::read_to_string("schemas/provider.wit").unwrap();
    for (version, _) in PUBLISHED {
        assert_eq!(broken(&published(version), &today), [""; 0], "{version}");
    }

    // It would be noticed.
    let published = published("0.1.0");
    for (old, new, names) in [
        ("score: option<f64>,", "score: option<f32>,", "record check"),
        (
            "stopped, internal, other",
            "stopped, other",
            "enum error-kind",
        ),
        (
            "message: string);",
            "message: string, more: bool);",
            "progress",
        ),
        (
            "teardown: func();",
            "teardown: func();\n  pause: func();",
            "interface lifecycle",
        ),
        (
            "interface secrets {",
            "interface secret {",
            "interface secrets",
        ),
        ("  import files;\n", "", "world plugin"),
    ] {
        let changed = published.replace(old, new);
        assert_ne!(changed, published, "{old}");
        let broken = broken(&published, &changed);
        assert!(
            broken.iter().any(|item| item.contains(names)),
            "{names}: {broken:?}"
        );
    }
    let more = published.replace(
        "  remaining: func() -> ms;",
        "  remaining: func() -> ms;\n  emit: func(chunk: json);",
    );
    assert_eq!(
        broken(&published, &(more + "interface streams { open: func(); }")),
        [""; 0]
    );
}

fn published(version: &str) -> String {
    fs_err::read_to_string(format!("tests/contracts/{version}/provider.wit")).unwrap()
}

/// What of the `old` contract is not as it was in the `new` one, which may have more functions, interfaces and worlds.
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

/// The items of every interface and world, without comments and in one line each.
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
fn plugins_of_contract_0_1_0_are_linked_and_run_in_each_world() {
    let runner = Runner::new(&[
        "contract-0-1-0-pure",
        "contract-0-1-0-plugin",
        "contract-0-1-0-lifecycle",
    ]);
    runner.write("a.txt", "one");
    runner.scenario(
        r#"
        [providers.pure]
        plugin = "contract-0-1-0-pure.wasm"
        [providers.plugin]
        plugin = "contract-0-1-0-plugin.wasm"
        [providers.lifecycle]
        plugin = "contract-0-1-0-lifecycle.wasm"
        [providers.reused]
        plugin = "contract-0-1-0-lifecycle.wasm"
        reuse = "instance"
        [[tests]]
        id = "pure"
        input = [1]
        providers = ["pure"]
        expect = { equals = [1] }
        [[tests]]
        id = "everything"
        repeat = 2
        providers = ["plugin", "lifecycle", "reused"]
        files = { "a.txt" = "a.txt" }
        [[tests]]
        id = "busy"
        input = "later"
        providers = ["plugin", "lifecycle", "reused"]
        expect = { error = "rate-limited" }
        "#,
    );
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    let rows = run.rows();
    assert_eq!(rows.len(), 10);
    for row in rows.iter().filter(|row| row["test"] == "everything") {
        assert_eq!(
            row["output"],
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
        assert_eq!(row["summary"], "everything was called");
        assert_eq!(row["artifacts"][0]["name"], "left.txt");
        assert_eq!(row["metrics"][0]["value"], 6.0);
    }
    let log = run.read("runner.log");
    // Three attempts with a fresh instance each, and one instance for three.
    assert_eq!(log.matches("info: torn down").count(), 4, "{log}");
    let contracts = run.manifest()["providers"].as_array().unwrap().clone();
    assert!(
        contracts
            .iter()
            .all(|provider| provider["contract"] == "0.1.0")
    );
}

#[test]
fn a_plugin_of_a_newer_contract_is_refused_with_both_versions() {
    let runner = Runner::new(&[]);
    let newer = |version: &str| {
        format!(
            "is built for version {version} of the contract `runner:provider`, and this runner speaks 0.1.0; it needs \
             a newer runner"
        )
    };
    let scenario = "[providers.p]\nplugin = \"newer.wasm\"\n[[tests]]\nid = \"a\"\n";
    runner.scenario(scenario);
    runner.wat(
        "newer.wasm",
        r#"(component (instance $i) (export "runner:provider/provider@0.2.0" (instance $i)))"#,
    );
    runner.refused(&[], &["provider `p`", "newer.wasm", &newer("0.2.0")]);

    // It exports what this runner knows, and imports a function that came later.
    runner.wat(
        "newer.wasm",
        r#"(component
             (import "runner:provider/http@0.1.9" (instance (export "open" (func))))
             (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#,
    );
    runner.refused(&[], &["provider `p`", "newer.wasm", &newer("0.1.9")]);
}
