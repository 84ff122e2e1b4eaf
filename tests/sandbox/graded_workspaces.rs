//! Workspaces of graders: what an attempt has left, built again, with hidden files in the place of planted ones.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::workspace_changes::{added, replace_list};
use super::workspaces::{agent, changes, tree};
use crate::messages::outputs::snapshot;
use crate::support::{
    guests::programs, run::Run, runner::Runner, running::Running, truth::assert_whole,
    wait::wait_until,
};

/// Returns the table of a grader that performs acts. It passes, and explains the results.
fn grader(name: &str, keys: &str, acts: &Value) -> String {
    format!("[graders.{name}]\nplugin = \"files-command.wasm\"\nargs = ['{acts}']\n{keys}\n")
}

/// Creates the scenario of [`agent`] whose tests name all of these graders.
pub fn graded(keys: &str, graders: &[(&str, &str, Value)], tests: &[(&str, Value)]) -> Runner {
    let tables: String =
        graders.iter().map(|(name, keys, acts)| grader(name, keys, acts)).collect();
    let runner = agent(&format!("{keys}\n{tables}"), tests);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    let names: Vec<_> = graders.iter().map(|(name, ..)| name).collect();
    change(&runner, "[[tests]]\n", &format!("[[tests]]\nexpect = {{ graders = {names:?} }}\n"));
    runner
}

pub fn change(runner: &Runner, from: &str, to: &str) {
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    assert!(scenario.contains(from));
    runner.scenario(&scenario.replace(from, to));
}

/// Returns the results of the acts of each grader.
fn found(row: &Value) -> BTreeMap<String, Value> {
    let grades = row["grades"].as_array().unwrap();
    let result = |grade: &Value| {
        let text = grade["explanation"].as_str().unwrap_or_else(|| panic!("{row}"));
        let name = grade["grader"].as_str().unwrap().to_owned();
        (name, serde_json::from_str(text).unwrap_or_else(|_| panic!("{row}")))
    };
    grades.iter().map(result).collect()
}

/// Replaces errors by `null`.
fn without_errors(results: &Value) -> Vec<Value> {
    results.as_array().unwrap().iter().map(|result| result["ok"].clone()).collect()
}

#[test]
fn empty_files_are_graded() {
    let acts = json!([["write", "/work/src/app.py", ""], ["write", "/work/new", ""]]);
    let read = json!([["read", "/work/src/app.py"], ["read", "/work/new"]]);
    let runner = graded("", &[("reader", "workspace = \"read\"", read)], &[("a", acts)]);
    runner.exec(&[]).expect(0);
    let rows = runner.only_run().rows();
    assert_eq!(without_errors(&found(rows.last().unwrap())["reader"]), [json!(""), json!("")]);
}

/// A link costs little, and is a whole file where the changes are read and written.
#[test]
fn each_hard_link_counts_as_a_file() {
    let mut acts = vec![json!(["write", "/work/big", "x".repeat(100_000)])];
    acts.extend((0..10).map(|number| json!(["link", "/work/big", format!("/work/{number}")])));
    let runner = agent("", &[("a", json!(acts))]);
    change(
        &runner,
        "from = \"base\" }\n",
        "from = \"base\" }\nlimits = { workspace = \"1000KB\" }\n",
    );
    runner.exec(&[]).expect(1);
    let row = runner.only_run().row("a");
    assert_eq!(row["error"]["class"], "limit", "{row}");
    assert!(row["error"]["message"].as_str().unwrap().contains("`limits.workspace`"), "{row}");
}

/// The changes have the path without the secret, so the file of the base stays.
#[test]
fn secret_in_a_path_does_not_keep_graders_from_the_workspace() {
    let acts =
        json!([["remove", "/work/hunter2hunter2/a"], ["write", "/work/hunter2hunter2/b", "x"]]);
    let read = json!([["read", "/work/[secret KEY]/b"], ["read", "/work/hunter2hunter2/a"]]);
    let runner = graded("", &[("reader", "workspace = \"read\"", read)], &[("a", acts)]);
    let keys = "workspace = { from = \"base\" }\n";
    change(&runner, keys, &format!("{keys}grants = {{ secrets = [\"KEY\"] }}\n"));
    fs::create_dir(runner.path("base/hunter2hunter2")).unwrap();
    runner.write("base/hunter2hunter2/a", "a");
    let mut exec = runner.command(&["exec", "scenario.toml"]);
    Running::start(exec.env("KEY", "hunter2hunter2")).finish().expect(0);
    let rows = runner.only_run().rows();
    let graded = rows.iter().find(|row| row["outcome"] == "passed").unwrap();
    assert_eq!(without_errors(&found(graded)["reader"]), [json!("x"), json!("a")], "{graded}");
}

/// The row before the grade has the same artifacts. It is superseded, and its damage costs nothing by itself.
#[test]
fn damaged_changes_of_a_graded_trial_are_damage() {
    let read = json!([["read", "/work/x"]]);
    let acts = json!([["write", "/work/x", "x"]]);
    let runner = graded("", &[("reader", "workspace = \"read\"", read)], &[("a", acts)]);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.run(&["verify"]).expect(0);
    let rows = run.bytes("index.jsonl");
    replace_list(&run, "a", &added("../x", 1, 0));
    runner.run(&["verify"]).expect(1).says(&["its changes are lost", "`../x`"]);
    run.write("index.jsonl", rows);
    let digest = run.row("a")["workspace"]["changes"].as_str().unwrap().to_owned();
    fs::remove_file(run.dir.join(format!("artifacts/{}/{digest}", &digest[..2]))).unwrap();
    runner.run(&["verify"]).expect(1).says(&["its artifact `workspace.jsonl` is lost"]);
}

#[test]
fn graders_get_the_tree_that_the_attempt_left() {
    let read = json!([
        ["list", "/work"],
        ["list", "/work/src"],
        ["read", "/work/src/app.py"],
        ["read", "/work/made/lib.py"],
        ["readlink", "/work/src/link"],
        ["read", "/work/README"],
        ["write", "/work/new.txt", "x"],
        ["append", "/work/src/app.py", "x"],
        ["write", "/work/more", "x"],
        ["mkdir", "/work/folder"],
        ["remove", "/work/new.txt"],
        ["rename", "/work/new.txt", "/work/more"],
        ["set-times", "/work/new.txt", 5, "follow"],
        // A name elsewhere would be a way to write to the base.
        ["link", "/work/data", "/scratch/data"],
        ["rename", "/work/data", "/scratch/data"],
        ["read", "/work/data"]
    ]);
    let write = json!([
        ["read", "/work/src/app.py"],
        ["append", "/work/src/app.py", "x"],
        ["read", "/work/src/app.py"],
        ["read", "/work/new.txt"],
        ["write", "/work/new.txt", "x"],
        ["remove", "/work/made/lib.py"],
        ["list", "/work/made"],
        ["write", "/work/README", "x"],
        ["list", "/work"],
        ["read", "/work/data"],
        ["append", "/work/data", "x"],
        ["read", "/work/data"]
    ]);
    let graders = [
        ("reader", "workspace = \"read\"\nlimits = { scratch = \"64KiB\" }", read),
        ("writer", "workspace = \"write\"", write.clone()),
        ("other", "workspace = \"write\"", write),
    ];
    let tests = [("a", changes()), ("b", changes())];
    let runner = graded("[defaults]\nrepeat = 10\n", &graders, &tests);
    runner.write("base/data", "data");
    let before = tree(&runner.path("base"));
    runner.exec(&["-j", "4"]).expect(0);
    let run = assert_whole(&runner, 20);
    let rows = run.rows();
    let rows: Vec<_> = rows.iter().filter(|row| row["outcome"] == "passed").collect();
    assert_eq!(rows.len(), 20);
    for row in rows {
        let found = found(row);
        let (old, new) = ("v = 1\nv = 2\n", "v = 1\nv = 2\nx");
        let mut read = vec![
            json!(["data", "made", "new.txt", "src"]),
            json!(["app.py", "link"]),
            json!(old),
            json!(""),
            json!("../README"),
        ];
        read.resize(15, Value::Null);
        read.push(json!("data"));
        // Only errors: a write that works is `null`, too.
        let errors = found["reader"].as_array().unwrap()[5..15].iter();
        assert!(errors.clone().all(|result| result["err"].is_string()), "{row}");
        assert_eq!(without_errors(&found["reader"]), read, "{row}");
        let all = json!(["README", "data", "made", "new.txt", "src"]);
        let written =
            json!([old, null, new, "new", null, null, [], null, all, "data", null, "datax"]);
        for name in ["writer", "other"] {
            assert_eq!(json!(without_errors(&found[name])), written, "{row}");
            assert!(!found[name].to_string().contains("err"), "{row}");
        }
        assert_eq!(row["workspace"]["added"], 3);
    }
    assert_eq!(tree(&runner.path("base")), before);
    runner.run(&["verify"]).expect(0);
}

/// Acts of a grader that look at its files and next to them.
fn look() -> Value {
    json!([
        ["list", "/work/tests"],
        ["read", "/work/tests/check.py"],
        ["list", "/work/tests/deep"],
        ["read", "/work/tests/deep/x"],
        ["readlink", "/work/tests/up"],
        ["list", "/work/checks"],
        ["list", "/work/checks/inner"],
        ["read", "/work/checks/inner/one.txt"],
        ["list", "/work/src"],
        ["read", "/work/src/app.py"],
        ["read", "/work/README"]
    ])
}

const HIDDEN: &str = "workspace = \"read\"
hidden = { \"/work/tests\" = \"hidden/{{input.0.1}}\", \"/work/checks/inner/one.txt\" = \"one.txt\" }";

fn hidden(runner: &Runner) {
    fs::create_dir_all(runner.path("hidden/a/deep")).unwrap();
    runner.write("hidden/a/check.py", "hidden");
    runner.write("hidden/a/deep/x", "deep");
    runner.write("one.txt", "one");
    runner.link("deep/x".as_ref(), "hidden/a/up");
}

/// Returns the results of [`look`] with the hidden files.
fn looked(check: &str) -> Value {
    json!([
        {"ok": ["check.py", "deep", "up"]},
        {"ok": check},
        {"ok": ["x"]},
        {"ok": "deep"},
        {"ok": "deep/x"},
        {"ok": ["inner"]},
        {"ok": ["one.txt"]},
        {"ok": "one"},
        {"ok": ["app.py", "lib.py", "link"]},
        {"ok": "v = 1\n"},
        {"ok": "read me\n"}
    ])
}

#[test]
fn hidden_files_replace_planted_ones() {
    // The first act chooses the hidden folder, and fails.
    let planted: [(&str, &[Value]); 7] = [
        ("nothing", &[]),
        ("file", &[json!(["write", "/work/tests", "x"]), json!(["write", "/work/checks", "x"])]),
        (
            "folder",
            &[
                json!(["mkdir", "/work/tests"]),
                json!(["write", "/work/tests/conftest.py", "x"]),
                json!(["write", "/work/tests/check.py", "x"]),
                json!(["mkdir", "/work/tests/deep"]),
                json!(["mkdir", "/work/tests/deep/er"]),
                json!(["symlink", "../../README", "/work/tests/deep/x"]),
                json!(["mkdir", "/work/checks"]),
                json!(["mkdir", "/work/checks/inner"]),
                json!(["mkdir", "/work/checks/inner/one.txt"]),
                json!(["write", "/work/checks/inner/one.txt/y", "x"]),
            ],
        ),
        (
            "link",
            &[json!(["symlink", "src", "/work/tests"]), json!(["symlink", "src", "/work/checks"])],
        ),
        (
            "link inside",
            &[
                json!(["mkdir", "/work/checks"]),
                json!(["symlink", "../src", "/work/checks/inner"]),
                json!(["symlink", "src/app.py", "/work/tests"]),
            ],
        ),
        (
            "link to a file",
            &[
                json!(["mkdir", "/work/checks"]),
                json!(["mkdir", "/work/checks/inner"]),
                json!(["symlink", "../../README", "/work/checks/inner/one.txt"]),
                json!(["mkdir", "/work/tests"]),
                json!(["symlink", "../README", "/work/tests/check.py"]),
            ],
        ),
        (
            "hard link",
            &[
                json!(["mkdir", "/work/tests"]),
                json!(["link", "/work/README", "/work/tests/check.py"]),
                json!(["mkdir", "/work/checks"]),
                json!(["mkdir", "/work/checks/inner"]),
                json!(["link", "/work/src/app.py", "/work/checks/inner/one.txt"]),
            ],
        ),
    ];
    let acts = |planted: &[Value]| {
        let mut acts = vec![json!(["read", "a"])];
        acts.extend_from_slice(planted);
        json!(acts)
    };
    let tests: Vec<_> = planted.iter().map(|(name, planted)| (*name, acts(planted))).collect();
    let runner = graded("", &[("look", HIDDEN, look())], &tests);
    hidden(&runner);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    for (name, _) in tests {
        let row = run.row(name);
        let results = row["output"].as_array().unwrap();
        assert!(results[1..].iter().all(|result| result["err"].is_null()), "{name}: {row}");
        assert_eq!(found(&row)["look"], looked("hidden"), "{name}");
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn graders_that_judged_code_can_end_are_named() {
    let json = format!("{HIDDEN}\noutput = \"json\"");
    let folder = "workspace = \"read\"\ngrants.fs = [{ path = \"hidden\", mount = \"/hidden\" }]";
    for (keys, is_named) in
        [(HIDDEN, true), (folder, true), (&json, false), ("workspace = \"read\"", false)]
    {
        let acts = json!([["read", "a"]]);
        let runner = graded("", &[("look", keys, look())], &[("a", acts)]);
        hidden(&runner);
        let printed = runner.run(&["validate", "scenario.toml"]).expect(0).stderr;
        let warning = "warning: grader `look` judges by its exit code alone";
        assert_eq!(printed.contains(warning), is_named, "{keys}: {printed}");
    }
}

/// Returns the newest start, attempt and outcome of each trial.
fn attempts(run: &Run) -> BTreeMap<String, (Value, Value)> {
    let rows = run.rows();
    let attempt = |row: &Value| {
        let trial = row["trial"].as_str().unwrap().to_owned();
        (trial, (row["started_at"].clone(), row["attempt"].clone()))
    };
    rows.iter().map(attempt).collect()
}

#[test]
fn changed_hidden_files_are_judged_without_a_call_of_the_provider() {
    let acts = json!([["read", "a"], ["write", "/work/new", "x"]]);
    let runner = graded("", &[("look", HIDDEN, look())], &[("a", acts.clone()), ("b", acts)]);
    hidden(&runner);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = attempts(&run);
    snapshot(&runner.run(&["rescore"]).expect(0));
    runner.write("hidden/a/check.py", "changed");
    let ran = runner.run(&["rescore", "--dry-run"]).expect(0);
    ran.says(&["2 trials"]);
    runner.run(&["rescore"]).expect(0);
    for test in ["a", "b"] {
        let rows = run.rows_of(test);
        assert_eq!(found(rows.last().unwrap())["look"], looked("changed"));
    }
    assert_eq!(attempts(&run), before);
    snapshot(&runner.run(&["rescore"]).expect(0));
    runner.run(&["verify"]).expect(0);

    // Without the changes, there is nothing to judge.
    let row = &run.rows_of("a")[0];
    let digest = row["workspace"]["changes"].as_str().unwrap();
    let artifact = format!("artifacts/{}/{digest}", &digest[..2]);
    let content = run.bytes(&artifact);
    run.write(&artifact, "damaged");
    runner.write("hidden/a/check.py", "again");
    let ran = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
    snapshot(&ran);
    run.write(&artifact, content);

    // A call outside of the run has the files that the run was made with.
    fs::remove_dir_all(runner.path("hidden")).unwrap();
    fs::remove_dir_all(runner.path("base")).unwrap();
    let call = ["plugin", "run", "--from", run.id(), "--trial", "a@agent#1", "--grader", "look"];
    let called = runner.run(&[&call[..], &["--json"]].concat()).expect(0).document();
    let text = called["grade"]["explanation"].as_str().unwrap_or_else(|| panic!("{called}"));
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), looked("hidden"));
}

#[test]
fn runs_with_the_old_key_of_hidden_files_continue() {
    let acts = json!([["read", "a"], ["write", "/work/new", "x"]]);
    let runner = graded("", &[("look", HIDDEN, look())], &[("a", acts)]);
    hidden(&runner);
    runner.exec(&["--journal"]).expect(0);
    let run = runner.only_run();
    run.change_scenario("\nhidden = {", "\nfiles = {");
    runner.run(&["trust", "--yes"]).expect(0);
    for command in ["show", "verify", "report", "rescore"] {
        runner.run(&[command]).expect(0);
    }
    let call = ["plugin", "run", "--from", run.id(), "--trial", "a@agent#1", "--grader", "look"];
    runner.run(&call).expect(0);
    runner.exec(&["--replay", run.id()]).expect(0);
    assert_eq!(run.rows().len(), 2);
    runner.write("hidden/a/check.py", "changed");
    runner.run(&["rescore", run.id()]).expect(0);
    // With the stored files.
    runner.run(&["resume", run.id(), "--rerun", "all"]).expect(0);
    let rows = run.rows_of("a");
    let checks: Vec<_> = rows.iter().filter(|row| row["outcome"] == "passed").collect();
    for (row, check) in checks.iter().zip(["hidden", "changed", "hidden"]) {
        assert_eq!(found(row)["look"], looked(check));
    }
    assert_eq!(checks.len(), 3);
}

/// `keep` changes no fingerprint, and a list that is missing must not look like an attempt that changed nothing.
#[test]
fn changes_that_were_not_kept_are_not_judged() {
    let named = "expect = { graders = [\"look\"] }";
    let expects = [
        (named, "passed"),
        ("expect.workspace = { changed = [], files.a.contains = \"x\" }", "failed"),
        ("expect.workspace = { unchanged = [\"a\"] }", "failed"),
    ];
    for (expect, outcome) in expects {
        let acts = json!([["write", "/work/a", "new"]]);
        let runner = graded("", &[("look", "workspace = \"read\"", json!([]))], &[("t", acts)]);
        let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        change(&runner, named, "");
        change(&runner, "from = \"base\" }", "from = \"base\", keep = \"none\" }");
        runner.exec(&[]).expect(0);
        let run = runner.only_run();
        assert_eq!(run.row("t")["workspace"]["added"], 1);
        for (filter, count) in [("changed(a)", 0), ("!changed(a)", 0), ("!changed(a) | test(t)", 1)]
        {
            let shown = runner.run(&["show", "-E", filter, "--json"]).expect(0).document();
            assert_eq!(shown["rows"].as_array().unwrap().len(), count, "{filter}");
        }

        runner.scenario(&scenario.replace(named, expect));
        let explained = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
        snapshot(&explained);
        snapshot(&runner.run(&["rescore"]).expect(0));
        assert_eq!(run.rows().len(), 1);
        runner.run(&["resume", "latest", "--accept-changes"]);
        let row = run.rows().pop().unwrap();
        assert_eq!((&row["outcome"], &row["workspace"]["added"]), (&json!(outcome), &json!(1)));
        assert!(row["workspace"]["changes"].is_string(), "{row}");
    }
}

#[test]
fn killed_run_calls_its_graders_with_the_stored_files() {
    let acts = json!([["read", "a"], ["write", "/work/new", "x"]]);
    let keys = "[defaults]\nrepeat = 200\n";
    let runner = graded(keys, &[("look", HIDDEN, look())], &[("a", acts)]);
    hidden(&runner);
    let mut running = runner.start(&["-j", "2"]);
    for round in 1..4 {
        running.wait_for_rows(10 * round);
        let workers = running.workers();
        running.kill();
        wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
        let _ = fs::remove_dir_all(runner.path("hidden"));
        running = runner.started(&["resume", "latest", "-j", "2", "--json"]);
    }
    running.finish().expect(0);
    let run = assert_whole(&runner, 200);
    for row in run.rows().iter().filter(|row| row["outcome"] == "passed") {
        assert_eq!(found(row)["look"], looked("hidden"));
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn failed_attempt_is_not_graded() {
    let acts = json!([["write", "/work/half", "x"], ["panic"]]);
    let grader = ("look", "workspace = \"read\"", json!([["list", "/work"]]));
    let runner = graded("", &[grader], &[("a", acts)]);
    runner.exec(&[]).expect(1);
    let row = runner.only_run().row("a");
    assert_eq!((&row["outcome"], &row["grades"]), (&json!("error"), &Value::Null), "{row}");
    assert_eq!(row["workspace"]["partial"], true);
}

#[test]
fn grader_of_an_empty_workspace_gets_what_was_added() {
    let acts = json!([["read", "a"], ["mkdir", "/in/d"], ["write", "/in/d/f", "x"]]);
    let keys = "workspace = \"write\"\nlimits = { scratch = \"16KiB\" }";
    let look = json!([["list", "/in"], ["read", "/in/d/f"], ["fill", "/in/d/f", 1000]]);
    let runner = graded("", &[("look", keys, look)], &[("a", acts)]);
    change(&runner, "workspace = { from = \"base\" }", "workspace = { mount = \"/in\" }");
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("a");
    let found = without_errors(&found(&row)["look"]);
    assert_eq!(found[..2], [json!(["d"]), json!("x")]);
    // Its own limit bounds what it writes.
    let size = found[2][0].as_u64().unwrap();
    assert!(size > 0 && size <= 16 << 10, "{row}");
}

/// The grader runs the program in the tree as a tool, and compares its output. The program looks for the hidden files, too.
const SAFE_FORM: &str = r#"
[defaults]
repeat = 3
[tools.app]
plugin = "files-command.wasm"
args = ['[["read", "/work/src/app.py"], ["list", "/work/src"], ["read", "/work/tests/answer"]]']
description = "The program"
[graders.cases]
plugin = "bundled:cases"
config.tool = "app"
input.cases = [{ input = {}, output = '[{"ok":"right"},{"ok":["app.py","lib.py","link"]},{"err":"noent"}]' }]
workspace = "read"
hidden = { "/work/tests" = "hidden" }
grants.tools = ["app"]
"#;

#[test]
fn verdict_after_attacks_is_that_of_an_honest_tree() {
    let plant = |path: &str| json!(["write", format!("/work/{path}"), "import os; os._exit(0)"]);
    let symlink = |target: &str, path: &str| json!(["symlink", target, format!("/work/{path}")]);
    let attacks = [
        ("honest", vec![]),
        ("conftest", vec![plant("conftest.py"), plant("tests.py")]),
        ("modules", ["unittest.py", "sitecustomize.py", "json.py"].map(plant).to_vec()),
        ("links", vec![symlink("src", "tests"), symlink("../..", "up"), plant("up/x")]),
        ("hard links", vec![json!(["link", "/work/src/app.py", "/work/app.py"])]),
        ("above", vec![plant("../x"), plant("src/../../x"), json!(["list", "/work/.."])]),
        (
            "mount",
            vec![
                json!(["rename", "/work", "/scratch/work"]),
                json!(["rename", "/work/src", "/scratch/src"]),
                json!(["rmdir", "/work"]),
            ],
        ),
        ("full quota", vec![json!(["fill", "/work/full", 100_000_000])]),
        ("many files", vec![json!(["flood", "/work"])]),
        (
            "open at the end",
            vec![
                json!(["open", "a", "/work/src/lib.py", "a"]),
                json!(["open", "r", "/work/src/app.py", "r"]),
                json!(["held", "a", "write", "more"]),
            ],
        ),
    ];
    let honest = json!(["write", "/work/src/app.py", "right"]);
    let acts = |attack: &[Value]| {
        let mut acts = vec![honest.clone()];
        acts.extend_from_slice(attack);
        json!(acts)
    };
    let tests = attacks.iter().map(|(name, attack)| (*name, acts(attack)));
    let mut tests: Vec<_> = tests.collect();
    tests.push(("idle", json!([plant("tests.py")])));
    let runner = agent(SAFE_FORM, &tests);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    fs::create_dir(runner.path("hidden")).unwrap();
    runner.write("hidden/answer", "right");
    change(&runner, "[[tests]]\n", "[[tests]]\nexpect = { graders = [\"cases\"] }\n");
    let from = "from = \"base\" }\n";
    change(&runner, from, &format!("{from}limits = {{ scratch = \"512KiB\" }}\n"));
    runner.exec(&["-j", "4"]).expect(1);
    let run = assert_whole(&runner, 33);
    for row in run.rows().iter().filter(|row| row["final"] == true) {
        let expected = if row["test"] == "idle" { "failed" } else { "passed" };
        assert_eq!(row["outcome"], expected, "{row}");
    }
}
