//! Workspaces of attempts: what they start as, what they leave, and that nothing of an attempt reaches another one.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::programs,
    random::{Random, times},
    run::Run,
    runner::Runner,
    running::{Running, finished},
    truth::assert_whole,
    wait::{wait_for, wait_until},
};

const PROVIDER: &str = r#"
[providers.agent]
plugin = "files.wasm"
workspace = { from = "base" }
"#;

/// Creates a base, and a scenario with these tests: an id with the acts of its guest.
pub fn agent(keys: &str, tests: &[(&str, Value)]) -> Runner {
    let runner = Runner::new(&["files"]);
    for (file, text) in [("README", "read me\n"), ("src/app.py", "v = 1\n"), ("src/lib.py", "")] {
        let path = runner.path("base").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    symlink("../README", runner.path("base/src/link")).unwrap();
    fs::create_dir(runner.path("base/empty")).unwrap();
    let mut scenario = format!("{keys}\n{PROVIDER}");
    for (id, acts) in tests {
        scenario += &format!("[[tests]]\nid = \"{id}\"\n");
        // A list of lists of texts is the same in both languages.
        scenario += &format!("input = {acts}\n");
    }
    runner.scenario(&scenario);
    runner
}

/// The acts of an attempt that changes a bit of everything.
pub fn changes() -> Value {
    json!([
        ["read", "/work/README"],
        ["list", "/work"],
        ["readlink", "/work/src/link"],
        ["append", "/work/src/app.py", "v = 2\n"],
        ["read", "/work/src/app.py"],
        ["write", "/work/new.txt", "new"],
        ["remove", "/work/README"],
        ["mkdir", "/work/made"],
        ["rename", "/work/src/lib.py", "/work/made/lib.py"],
        ["rmdir", "/work/empty"]
    ])
}

/// Returns the changes that a row names, by path, with the contents that the run has of them.
fn changes_of(run: &Run, row: &Value) -> BTreeMap<String, Value> {
    let artifact = |name: &str| {
        let artifacts = row["artifacts"].as_array()?;
        let found = artifacts.iter().find(|artifact| artifact["name"] == name)?;
        let digest = found["sha256"].as_str().unwrap().to_owned();
        Some((run.bytes(&format!("artifacts/{}/{digest}", &digest[..2])), digest))
    };
    let Some((list, digest)) = artifact("workspace.jsonl") else { return BTreeMap::new() };
    assert_eq!(row["workspace"]["changes"], digest);
    let contents = artifact("workspace.contents").map(|(contents, _)| contents).unwrap_or_default();
    let lines = String::from_utf8(list).unwrap();
    let change = |line: &str| {
        let mut change: Value = serde_json::from_str(line).unwrap();
        if let Some(at) = change["at"].as_u64() {
            let bytes = change["bytes"].as_u64().unwrap();
            let content = &contents[at as usize..(at + bytes) as usize];
            change["content"] = String::from_utf8_lossy(content).into();
        }
        let keys = change.as_object_mut().unwrap();
        for key in ["at", "sha256", "mode"] {
            keys.remove(key);
        }
        let path = keys.remove("path").unwrap();
        (path.as_str().unwrap().to_owned(), change)
    };
    lines.lines().map(change).collect()
}

/// Asserts that a row has exactly what [`changes`] does.
fn assert_changed(run: &Run, row: &Value) {
    let found = changes_of(run, row);
    let expected = json!({
        "README": {"change": "removed", "kind": "file"},
        "empty": {"change": "removed", "kind": "folder"},
        "made": {"change": "added", "kind": "folder"},
        "made/lib.py": {"change": "added", "kind": "file"},
        "new.txt": {"change": "added", "kind": "file", "bytes": 3, "content": "new"},
        "src/app.py": {"change": "changed", "kind": "file", "bytes": 12, "content": "v = 1\nv = 2\n"},
        "src/lib.py": {"change": "removed", "kind": "file"},
    });
    assert_eq!(json!(found), expected);
    let counts = &row["workspace"];
    assert_eq!(
        [&counts["added"], &counts["changed"], &counts["removed"]],
        [&json!(3), &json!(1), &json!(3)]
    );
    assert_eq!(counts["partial"], Value::Null);
}

/// Returns the text of all files of a folder, by path.
pub fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut find = Command::new("find");
    let listed = finished(find.arg(folder).args(["-printf", "%P %y %m %l\n"])).stdout;
    let entry = |line: &str| {
        let path = line.split(' ').next().unwrap();
        (line.to_owned(), fs::read_to_string(folder.join(path)).unwrap_or_default())
    };
    listed.lines().map(entry).collect()
}

#[test]
fn every_attempt_starts_from_the_base_and_leaves_its_changes() {
    let runner = agent("[defaults]\nrepeat = 20\n", &[("a", changes()), ("b", changes())]);
    let before = tree(&runner.path("base"));
    runner.exec(&["-j", "4"]).expect(0);
    let run = assert_whole(&runner, 40);
    for row in run.rows() {
        assert_eq!(row["output"][0]["ok"], "read me\n", "{row}");
        assert_eq!(row["output"][1]["ok"], json!(["README", "empty", "src"]));
        assert_eq!(row["output"][2]["ok"], "../README");
        assert_eq!(row["output"][4]["ok"], "v = 1\nv = 2\n");
        assert_changed(&run, &row);
    }
    assert_eq!(tree(&runner.path("base")), before);
    runner.run(&["verify"]).expect(0);
}

/// Returns the file with this content in the copies of the bases that the first worker has.
fn copied_file(temporary: &Path, content: &str) -> Option<PathBuf> {
    let session = fs::read_dir(temporary).unwrap().next()?.unwrap().path();
    let folders = fs::read_dir(session.join("worker-1")).ok()?.map(|entry| entry.unwrap());
    let mut copies =
        folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("base"));
    let mut files = fs::read_dir(copies.next()?.path()).unwrap().map(|entry| entry.unwrap().path());
    files.find(|file| fs::read_to_string(file).is_ok_and(|text| text == content))
}

/// Creates a folder for temporary files and one of gates. A grader judges the first test, and the grader and each other test wait
/// for a gate.
fn gated() -> Runner {
    let runner = agent("", &[]);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    for folder in ["tmp", "gate"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    let grants = "grants.fs = [{ path = \"gate\", mount = \"/gate\", mode = \"rw\" }]";
    runner.scenario(&format!(
        r#"{PROVIDER}
        {grants}
        [graders.slow]
        plugin = "files-command.wasm"
        args = ['[["await", "/gate/slow"], ["read", "/work/README"]]']
        workspace = "read"
        limits.scratch = "1MiB"
        {grants}
        [[tests]]
        id = "a"
        input = [["read", "/work/README"]]
        expect.graders = ["slow"]
        [[tests]]
        id = "b"
        input = [["await", "/gate/b"], ["panic"]]
        expect.error = "trap"
        [[tests]]
        id = "c"
        input = [["await", "/gate/c"], ["read", "/work/README"]]"#
    ));
    runner
}

/// As a user's program does that edits a file with a further link in place, or an agent that has found a way out.
#[test]
fn trials_with_a_changed_copy_of_their_base_run_again() {
    for end in ["in time", "killed", "stopped"] {
        let runner = gated();
        let temporary = runner.path("tmp");
        let open =
            |gates: &[&str]| gates.iter().for_each(|one| runner.write(&format!("gate/{one}"), ""));
        let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "1"]);
        if end == "killed" {
            // In the row of the attempt that was running when its worker was killed. No trial has run again.
            command.env("RUNNER_FAULT", "rows-write:kill:3");
        }
        let mut running = Running::start(command.env("TMPDIR", &temporary));
        running.wait_for_rows(1);
        let copied = copied_file(&temporary, "read me\n").expect("the worker has a copy");
        fs::write(&copied, "poison\n").unwrap();
        let selections = match end {
            "stopped" => {
                running.end_by(Signal::INT).0.expect(130).says(&["copy of a base was changed"]);
                1
            }
            _ => {
                // An attempt that did not end by itself has the copies compared.
                open(&["b"]);
                wait_until(
                    "the dead worker's folder is removed, or all processes are dead",
                    || !running.is_alive() || !copied.parent().unwrap().parent().unwrap().exists(),
                );
                // The output of the first attempt is graded before its trial can run again.
                let live = end == "in time";
                if live {
                    open(&["slow", "c"]);
                }
                let ran = running.finish();
                assert_eq!(ran.code, live.then_some(0), "{ran:?}");
                ran.says(&["README` in worker 1's copy of a base was changed: 2 trials run again"]);
                if live { 2 } else { 1 }
            }
        };
        if end != "in time" {
            open(&["slow", "b", "c"]);
            runner.run(&["list"]).says(&["incomplete"]);
            runner.run(&["resume"]).expect(0);
        }
        runner.run(&["verify"]).expect(0);
        let run = runner.only_run();
        let newest = |id: &str| run.rows_of(id).pop().unwrap();
        for id in ["a", "c"] {
            let row = newest(id);
            let read = row["output"].as_array().unwrap().last().unwrap();
            assert_eq!(read["ok"], "read me\n", "{id}");
        }
        let again = ["a", "b"].map(|id| newest(id)["attempt"].as_u64());
        assert_eq!(again, [Some(2); 2], "{end}: {:?}", run.rows());
        let added = &run.manifest()["sessions"][0]["added"];
        assert_eq!(added.as_array().map(Vec::len), Some(selections), "{end}: {added}");
    }
}

#[test]
fn rescore_judges_again_after_a_changed_copy() {
    let acts = json!([["await", "/gate/slow"], ["read", "/work/README"]]);
    let grader = |acts: &Value| {
        let grants = "grants.fs = [{ path = \"gate\", mount = \"/gate\", mode = \"rw\" }]";
        format!(
            "[graders.slow]\nplugin = \"files-command.wasm\"\nargs = ['{acts}']\nworkspace = \"read\"\n\
             limits.scratch = \"1MiB\"\n{grants}\n{PROVIDER}\n\
             [[tests]]\nid = \"a\"\ninput = []\nexpect.graders = [\"slow\"]\n"
        )
    };
    let runner = agent("", &[]);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    let temporary = runner.path("tmp");
    fs::create_dir(&temporary).unwrap();
    fs::create_dir(runner.path("gate")).unwrap();
    runner.write("gate/slow", "");
    runner.scenario(&grader(&acts));
    runner.exec(&[]).expect(0);
    fs::remove_file(runner.path("gate/slow")).unwrap();
    let mut more = acts;
    more.as_array_mut().unwrap().push(json!(["list", "/work"]));
    runner.scenario(&grader(&more));
    let rescore = Running::start(runner.command(&["rescore"]).env("TMPDIR", &temporary));
    let copied = wait_for("a worker has a copy", || copied_file(&temporary, "read me\n"));
    fs::write(copied, "poison\n").unwrap();
    runner.write("gate/slow", "");
    snapshot(&rescore.finish().expect(0));
    let row = runner.only_run().rows_of("a").pop().unwrap();
    let grade: Value =
        serde_json::from_str(row["grades"][0]["explanation"].as_str().unwrap()).unwrap();
    assert_eq!(grade[1]["ok"], "read me\n", "{row}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn killed_run_keeps_and_makes_all_changes() {
    let trials = times(400, 1500);
    let runner = agent(&format!("[defaults]\nrepeat = {trials}\n"), &[("a", changes())]);
    let mut random = Random::new();
    let mut running = runner.start(&["-j", "2"]);
    for round in 1..4 {
        running.wait_for_rows(random.below(20) + 20 * (round - 1) + 1);
        let workers = running.workers();
        running.kill();
        wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
        running = runner.started(&["resume", "latest", "-j", "2", "--json"]);
    }
    running.finish().expect(0);
    let run = assert_whole(&runner, trials);
    for row in run.rows().iter().filter(|row| row["outcome"] == "passed") {
        assert_changed(&run, row);
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn interrupted_attempt_leaves_partial_changes() {
    let acts = |end: Value| json!([["write", "/work/half", "x"], end]);
    let run_for = |timeout: &str| {
        let runner = agent(
            &format!("[defaults]\ntimeout = \"{timeout}\"\n"),
            &[("slow", acts(json!(["sleep"]))), ("trap", acts(json!(["panic"])))],
        );
        runner.exec(&[]).expect(1);
        runner
    };
    let has_written = |runner: &Runner| {
        let run = runner.only_run();
        let rows = run.rows();
        rows.len() == 2 && rows.iter().all(|row| !changes_of(&run, row).is_empty())
    };
    let mut runner = run_for("500ms");
    // A slow machine needs more time for the write.
    if !has_written(&runner) {
        runner = run_for("20s");
    }
    let run = runner.only_run();
    for (test, outcome) in [("slow", "timeout"), ("trap", "error")] {
        let row = run.row(test);
        assert_eq!(
            (&row["outcome"], &row["workspace"]["partial"]),
            (&json!(outcome), &json!(true))
        );
        let half = json!({"change": "added", "kind": "file", "bytes": 1, "content": "x"});
        assert_eq!(json!(changes_of(&run, &row)), json!({"half": half}));
    }
}

#[test]
fn limits_of_a_workspace_hold() {
    let runner = agent(
        "",
        &[
            ("fits", json!([["write", "/work/x", "0123456789"]])),
            ("kept", json!([["write", "/work/x", "01234567890"]])),
            ("full", json!([["fill", "/work/src/app.py", 1000], ["read", "/work/README"]])),
        ],
    );
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let limits =
        "workspace = { from = \"base\" }\nlimits = { workspace = 10, scratch = \"64KiB\" }";
    runner.scenario(&scenario.replace("workspace = { from = \"base\" }", limits));
    let finished = runner.exec(&[]).expect(1);
    finished.says(&["have more than `limits.workspace`, 10 B"]);
    let run = runner.only_run();
    assert_eq!(run.row("fits")["outcome"], "passed");
    for test in ["kept", "full"] {
        let row = run.row(test);
        assert_eq!(
            (&row["error"]["class"], &row["artifacts"]),
            (&json!("limit"), &Value::Null),
            "{row}"
        );
    }
}

#[test]
fn guests_cannot_leave_artifacts_of_the_runner() {
    let runner = Runner::new(&[]);
    let [program, _] = programs("files-command");
    runner.link(&program, "files-command.wasm");
    let list = json!({"path": "good", "change": "added", "kind": "file", "bytes": 4, "at": 0});
    let mut acts = json!([
        ["write", "/artifacts/workspace.jsonl", format!("{list}\n")],
        ["write", "/artifacts/workspace.contents", "good"],
        ["write", "/artifacts/WORKSPACE.jsonl", "x"],
        ["write", "/artifacts/transcript.json", "{}"],
        ["write", "/artifacts/Output.json", "1"],
        ["write", "/artifacts/mine.json", "{}"],
    ]);
    let provider = |name: &str, keys: &str, acts: &Value| {
        format!(
            "[providers.{name}]\nplugin = \"files-command.wasm\"\nargs = ['{acts}']\n\
             workspace = {{ {keys} }}\nlimits.scratch = \"64KiB\"\n"
        )
    };
    // With no change and with `keep = "none"`, the runner adds no list of its own.
    let unchanged = provider("unchanged", "", &acts);
    acts.as_array_mut().unwrap().push(json!(["write", "/work/bad", "x"]));
    let scenario = [unchanged, provider("unkept", "keep = \"none\"", &acts)].concat();
    runner.scenario(&format!("{scenario}[[tests]]\nid = \"a\"\n"));
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    for provider in ["unchanged", "unkept"] {
        let trial = format!("a@{provider}#1");
        let row = run.rows().into_iter().find(|row| row["trial"] == trial).unwrap();
        let names = row["artifacts"].as_array().unwrap().iter().map(|file| &file["name"]);
        assert_eq!(names.collect::<Vec<_>>(), ["mine.json"], "{row}");
        assert_eq!(row["workspace"]["changes"], Value::Null);
        let logs = runner.run(&["logs", "latest", &trial]).expect(0);
        snapshot(&logs);
    }
    let diff = runner.run(&["show", "latest", "a@unkept#1", "--diff"]);
    assert!(!diff.stdout.contains("good"), "{}", diff.stdout);
}

#[test]
fn full_scratch_leaves_a_file_of_the_base_as_it_is() {
    let acts =
        json!([["append", "/work/one", "x"], ["append", "/work/two", "x"], ["size", "/work/two"]]);
    let runner = agent("", &[("a", acts)]);
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let limits = "workspace = { from = \"base\" }\nlimits = { scratch = \"64KiB\" }";
    runner.scenario(&scenario.replace("workspace = { from = \"base\" }", limits));
    for name in ["one", "two"] {
        fs::write(runner.path("base").join(name), vec![b'y'; 40_000]).unwrap();
    }
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row = run.row("a");
    let answers = row["output"].as_array().unwrap();
    // The file is copied as a whole before its first byte is written.
    let has_worked: Vec<_> = answers.iter().map(|answer| answer.get("ok").is_some()).collect();
    assert_eq!(has_worked, [true, false, true], "{row}");
    assert_eq!(answers[2]["ok"], 40_000);
    let changes = changes_of(&run, &row);
    let sizes: Vec<_> = changes.iter().map(|(path, one)| (&**path, &one["bytes"])).collect();
    assert_eq!(sizes, [("one", &json!(40_001))]);
}

#[test]
fn rescored_merged_and_repeated_runs_keep_changes() {
    let runner = agent("", &[("a", changes()), ("b", changes())]);
    for shard in ["1/2", "2/2"] {
        runner.exec(&["--shard", shard]).expect(0);
    }
    let shards: Vec<_> = runner.runs().iter().map(|run| format!("results/{}", run.id())).collect();
    runner.run(&["merge", "--into", "results/whole", &shards[0], &shards[1]]).expect(0);
    let merged = runner.runs().into_iter().find(|run| run.id() == "whole").unwrap();
    for row in merged.rows() {
        assert_changed(&merged, &row);
    }
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&(scenario + "expect = { contains = \"new\" }\n"));
    runner.run(&["rescore", merged.id()]).expect(1);
    for row in merged.rows() {
        assert_changed(&merged, &row);
    }
    runner.run(&["verify"]).expect(0);
    fs::remove_dir_all(runner.path("base")).unwrap();
    let called =
        runner.run(&["plugin", "run", "--from", merged.id(), "--trial", "a@agent#1", "--json"]);
    let document = called.expect(0).document();
    assert_eq!(document["row"]["workspace"]["added"], 3, "{document}");
}

#[test]
fn repeated_trial_starts_from_the_base_of_its_provider() {
    let runner = agent("", &[("a", json!([["read", "/work/README"], ["list", "/work"]]))]);
    fs::create_dir(runner.path("other")).unwrap();
    fs::write(runner.path("other/README"), "read this, too\n").unwrap();
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let second = PROVIDER.replace("agent", "second").replace("base", "other");
    runner.scenario(&(scenario + "expect.workspace.unchanged = [\"README\"]\n" + &second));
    runner.exec(&[]).expect(0);
    for row in runner.only_run().rows() {
        let trial = row["trial"].as_str().unwrap();
        let call = ["plugin", "run", "--from", "latest", "--trial", trial, "--json"];
        let document = runner.run(&call).expect(0).document();
        assert_eq!(document["output"], row["output"]);
    }
}
