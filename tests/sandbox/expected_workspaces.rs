//! `expect.workspace`: the changes that a test allows, and what is in the files.

use std::collections::BTreeMap;

use serde_json::json;

use super::workspaces::{agent, changes};
use crate::support::runner::Runner;

/// Writes a scenario with a test for each of these expectations of the same attempt, in TOML.
fn scenario(runner: &Runner, expectations: &[&str]) {
    let mut text =
        "[providers.agent]\nplugin = \"files.wasm\"\nworkspace = { from = \"base\" }\n".to_owned();
    for (number, expected) in expectations.iter().enumerate() {
        text += &format!("[[tests]]\nid = \"t{number:02}\"\ninput = {}\n", changes());
        text += &format!("[tests.expect.workspace]\n{expected}\n");
    }
    runner.scenario(&text);
}

/// Returns the messages of the failed checks of each test's newest row, `pass` for those that pass, in the order of ids.
fn messages(runner: &Runner) -> Vec<String> {
    let rows = runner.only_run().rows();
    let found: BTreeMap<_, _> = rows
        .iter()
        .map(|row| {
            let checks = row["checks"].as_array().unwrap();
            let failed: Vec<_> = checks
                .iter()
                .filter(|check| check["verdict"] == "fail")
                .map(|check| {
                    let message = check["message"].as_str().unwrap_or("-");
                    format!("{} {message}", check["kind"].as_str().unwrap())
                })
                .collect();
            let passed = row["outcome"] == "passed";
            assert_eq!(passed, failed.is_empty(), "{row}");
            let said = if passed { "pass".to_owned() } else { failed.join("; ") };
            (row["test"].as_str().unwrap().to_owned(), said)
        })
        .collect();
    found.into_values().collect()
}

#[test]
fn changes_and_files_are_checked_and_judged_again() {
    let runner = agent("", &[]);
    let passing = [
        r#"changed = ["src/**", "made/*", "new.txt", "README", "empty"]"#,
        r#"changed = ["**"]"#,
        r#"changed = ["src", "made", "new.txt", "README", "empty"]"#,
        r#"unchanged = ["docs/**", "src/app.py/*", "*.py"]"#,
        r#"files."src/app.py" = { equals = "v = 1\nv = 2\n", contains = ["v = 1", "v = 2"], matches = "^v" }"#,
        r#"files."made/lib.py" = { equals = "" }
files."src/lib.py" = { absent = true }
files."new.txt" = { contains = "NEW", ignore_case = true, not.contains = "old" }"#,
    ];
    let failing = [
        (
            r#"changed = ["src/**"]"#,
            "workspace.changed outside of `src/**`, these changed: `README`, `empty/`, `made/lib.py`, `new.txt`",
        ),
        (
            "changed = []",
            "workspace.changed nothing may change, but these did: `README`, `empty/`, `made/lib.py`, `new.txt`, `src/app.py`, `src/lib.py`",
        ),
        (
            r#"unchanged = ["README", "src/*"]"#,
            "workspace.unchanged these may not change, but did: `README`, `src/app.py`, `src/lib.py`",
        ),
        (
            r#"files."new.txt" = { equals = "old" }"#,
            "workspace.files `new.txt`: the file differs from the expected one",
        ),
        (
            r#"files."new.txt" = { contains = "x" }"#,
            "workspace.files `new.txt`: the file does not contain \"x\"",
        ),
        (
            r#"files."new.txt" = { json = { a = 1 } }"#,
            "workspace.files `new.txt` is not JSON, and must have json = {\"a\":1}",
        ),
        (
            r#"files."new.txt" = { absent = true }"#,
            "workspace.files `new.txt` exists, and must be absent",
        ),
        (r#"files."gone" = {}"#, "workspace.files `gone` does not exist"),
        (
            r#"files."src/link" = { contains = "read" }"#,
            "workspace.files `src/link` is a link, and must have contains = [\"read\"]",
        ),
        (r#"files."src" = {}"#, "workspace.files `src` is a folder"),
    ];
    let all: Vec<_> = passing.into_iter().chain(failing.map(|(text, _)| text)).collect();
    let expected: Vec<_> =
        passing.map(|_| "pass").into_iter().chain(failing.map(|(_, said)| said)).collect();
    scenario(&runner, &all);
    runner.exec(&[]).expect(1);
    assert_eq!(messages(&runner), expected);

    // The same expectations in another order judge the stored workspaces alike.
    scenario(&runner, &vec!["changed = []"; all.len()]);
    runner.run(&["rescore"]).expect(1);
    scenario(&runner, &all);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(messages(&runner), expected);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn folders_empty_files_and_brackets_are_changes_too() {
    let runner = agent("", &[]);
    let acts = json!([
        ["write", "/work/pkg.py", ""],
        ["mkdir", "/work/pkg"],
        ["write", "/work/pkg/a.py", ""],
        ["remove", "/work/README"],
        ["mkdir", "/work/README"],
        ["write", "/work/README/x.py", ""],
        ["mkdir", "/work/[id]"],
        ["write", "/work/[id]/page.tsx", ""]
    ]);
    let test = |id: &str, expected: &str| {
        format!("[[tests]]\nid = \"{id}\"\ninput = {acts}\nexpect.workspace.{expected}\n")
    };
    runner.scenario(&format!(
        "[providers.agent]\nplugin = \"files.wasm\"\nworkspace = {{ from = \"base\" }}\n{}{}{}{}{}",
        test("a", "changed = [\"**/*.py\", \"README\", \"[id]\"]"),
        test("b", "files.\"pkg.py\" = { equals = \"\" }"),
        // A file that has become a folder is a change of its own.
        test("c", "changed = [\"**/*.py\", \"[id]/**\"]"),
        test("d", "unchanged = [\"README\", \"pkg\"]"),
        test("e", "unchanged = [\"[id]/page.tsx\"]"),
    ));
    runner.exec(&[]).expect(1);
    let said = messages(&runner);
    assert_eq!(said[..2], ["pass", "pass"]);
    assert_eq!(
        said[2],
        "workspace.changed outside of `**/*.py`, `[id]/**`, these changed: `README/`"
    );
    assert_eq!(
        said[3],
        "workspace.unchanged these may not change, but did: `README/`, `README/x.py`, `pkg/`, `pkg/a.py`"
    );
    assert_eq!(said[4], "workspace.unchanged these may not change, but did: `[id]/page.tsx`");
    let filter = "test(a) & changed(\"[id]/page.tsx\")";
    runner.run(&["show", "latest", "-E", filter]).expect(0).says(&["a@agent"]);
    runner.run(&["show", "latest", "a", "--save", "saved"]).expect(0);
    assert_eq!(std::fs::read(runner.path("saved/workspace/pkg/a.py")).unwrap(), b"");
    runner.run(&["show", "latest", "a", "--diff"]).expect(0).says(&["pkg/a.py"]);
}

#[test]
fn json_in_a_file_is_compared() {
    let runner = agent("", &[]);
    let text = r#"[providers.agent]
plugin = "files.wasm"
workspace = {}
[[tests]]
id = "a"
input = [["write", "/work/a.json", "{\"x\": [1, 2], \"y\": 3}"]]
expect.workspace.files."a.json" = { json = { x = [1, 3] } }
[[tests]]
id = "b"
input = [["write", "/work/a.json", "\uFEFF{\"x\": [1, 2], \"y\": 3}"]]
expect.workspace.files."a.json" = { json = { x = [1, 2] } }
"#;
    runner.scenario(text);
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().rows();
    let differences: Vec<_> = rows
        .iter()
        .flat_map(|row| row["checks"].as_array().unwrap())
        .filter(|check| check["verdict"] == "fail")
        .map(|check| check["differences"].clone())
        .collect();
    let expected = json!([{"path": "a.json $.x[1]", "expected": "3", "actual": "2"}]);
    assert_eq!(differences, [expected]);
}
