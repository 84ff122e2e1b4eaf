//! Test lists whose records a plugin prints.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::guests;
use crate::support::processes::Process;
use crate::support::random::times;
use crate::support::runner::Runner;
use crate::support::running::Running;
use crate::support::wait::wait_until;

const ECHO: &str = "[providers.p]\nplugin = \"bundled:echo\"\n";

/// Writes a scenario with a list of the plugin `list.wasm`, which has these keys.
fn list(keys: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.link(&guests::list(), "list.wasm");
    runner.scenario(&format!("{ECHO}[[test_lists]]\nplugin = \"list.wasm\"\n{keys}\n"));
    runner
}

/// Writes a scenario with a list whose plugin prints `list.jsonl`.
fn cat(records: &str) -> Runner {
    let runner =
        list("config = { do = \"cat\" }\nattachments = { \"list.jsonl\" = \"list.jsonl\" }\n");
    runner.write("list.jsonl", records);
    runner
}

/// A suite of JavaScript in the form of test262.
fn front_matter() -> Runner {
    let runner = list(
        r#"
        config = { do = "front-matter" }
        grants.fs = [{ path = "suite", mount = "/suite" }]
        id = "{{row.name}}"
        input = "{{row.source}}"
        meta = { about = "{{row.description}}", negative = "{{row.negative}}" }
        "#,
    );
    fs::create_dir_all(runner.path("suite/numbers")).unwrap();
    let sum = "/*---\ndescription: >\n  Adds two numbers:\n  the sum is exact\nfeatures: [BigInt, let]\n---*/\nlet a = 1n + 2n;\n";
    let broken = "// Own.\n/*---\ndescription: A broken literal\nflags: [onlyStrict]\nnegative:\n  phase: parse\n  type: SyntaxError\n---*/\n1_;\n";
    runner.write("suite/numbers/sum.js", sum);
    runner.write("suite/broken.js", broken);
    runner.write("suite/harness.js", "var nothing;\n");
    runner
}

fn rows(runner: &Runner, test: &str) -> usize {
    runner.only_run().rows().iter().filter(|row| row["test"] == test).count()
}

#[test]
fn lists_of_deterministic_runs_are_equal() {
    let runner = list("config = { do = \"random\" }");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    for (run, code) in [("clock = 2020-01-01T00:00:00Z\ndeterministic = true", 0), ("", 1)] {
        runner.scenario(&format!("[run]\n{run}\n{scenario}"));
        runner.exec(&[]).expect(0);
        runner.exec(&[]).expect(0);
        runner.run(&["compare", "--exact"]).expect(code);
    }
}

#[test]
fn front_matter_becomes_tests() {
    let runner = front_matter();
    let planned = runner.exec(&["--dry-run"]).expect(0);
    snapshot(&planned);
    for trial in ["broken@p#1", "numbers/sum@p#1"] {
        assert!(planned.stdout.contains(trial), "{}", planned.stdout);
    }
    assert!(runner.runs().is_empty());
    runner.run(&["validate", "scenario.toml"]).expect(0);
    snapshot(&runner.exec(&[]).expect(0));
    let run = runner.only_run();
    let suite = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    let suite =
        fs::read_to_string(runner.path("results/store").join(&suite[..2]).join(&suite)).unwrap();
    let tests: Vec<Value> = suite.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [broken, sum] = &tests[..] else { panic!("{suite}") };
    assert_eq!(broken["tags"], json!(["onlyStrict"]));
    assert_eq!(broken["meta"], json!({"about": "A broken literal", "negative": "SyntaxError"}));
    assert_eq!(sum["tags"], json!(["BigInt", "let"]));
    assert_eq!(sum["meta"]["about"], "Adds two numbers: the sum is exact");
    assert!(sum["input"].as_str().unwrap().ends_with("let a = 1n + 2n;\n"));
}

#[test]
fn only_changed_records_run_again() {
    let runner = front_matter();
    runner.exec(&[]).expect(0);
    // The stored records are used: without the plugin, too.
    fs::rename(runner.path("list.wasm"), runner.path("away.wasm")).unwrap();
    runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
    fs::rename(runner.path("away.wasm"), runner.path("list.wasm")).unwrap();
    assert_eq!((rows(&runner, "broken"), rows(&runner, "numbers/sum")), (2, 2));
    let resume = ["resume", "latest", "--rerun", "all"];
    let same = runner.run(&resume).expect(0);
    assert!(!same.stderr.contains("has changed"), "{}", same.stderr);
    // A file that the plugin reads, in another place than the records.
    runner.write("suite/harness.js", "var other;\n");
    snapshot(&runner.run(&resume).expect(0));
    let before = rows(&runner, "broken");
    let text = fs::read_to_string(runner.path("suite/broken.js")).unwrap();
    runner.write("suite/broken.js", text.replace("1_", "2_"));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!((rows(&runner, "broken"), rows(&runner, "numbers/sum")), (before + 1, before));
    let again = runner.run(&resume).expect(0);
    assert!(!again.stderr.contains("has changed"), "{}", again.stderr);
}

/// Outputs and messages show the content of golden files and schemas.
#[test]
fn records_of_plugins_name_only_granted_golden_files_and_schemas() {
    let runner = cat("");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.write(".env", "KEY=a-secret\n");
    fs::create_dir(runner.path("suite")).unwrap();
    for file in ["suite/.env", "suite/a.json", "other.json"] {
        runner.write(file, "{}");
    }
    let name = |key: &str, file: &str| {
        let record = json!({ "id": "a", "input": {}, "expect": { key: file } });
        runner.write("list.jsonl", record.to_string());
    };
    for key in ["file", "schema"] {
        runner.scenario(&scenario);
        for file in [".env", "other.json", "suite/a.json"] {
            name(key, file);
            snapshot(&runner.refused(&[], &[]));
        }
        runner
            .scenario(&format!("{scenario}grants.fs = [{{ path = \"suite\", mount = \"/s\" }}]\n"));
        name(key, "suite/../other.json");
        snapshot(&runner.refused(&[], &[]));
        name(key, "suite/.env");
        snapshot(&runner.refused(&[], &[]));
        name(key, "suite/a.json");
        runner.exec(&[]).expect(0);
        fs::remove_dir_all(runner.path("results")).unwrap();
    }
}

#[test]
fn outputs_and_files_of_plugins_are_in_the_plan() {
    let runner = cat("{\"id\": \"a\"}\n");
    let into = |text: &str| {
        runner.write("list.jsonl", text);
        runner.exec(&["--into", "results/one"])
    };
    into("{\"id\": \"a\"}\n").expect(0);
    into("{\"id\": \"a\"}\n").expect(0);
    // The same test, by other bytes.
    snapshot(&into("{\"id\":  \"a\"}\n").expect(2));
    let stored = fs::read_to_string(runner.path("results/one/scenario.toml")).unwrap();
    assert!(stored.contains("[stored.lists.0]"), "{stored}");
}

#[test]
fn runs_with_the_old_key_of_attachments_continue() {
    let runner = cat("{\"id\": \"a\", \"input\": 1}\n");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    run.change_scenario("\nattachments = {", "\nfiles = {");
    runner.run(&["trust", "--yes"]).expect(0);
    runner.run(&["show"]).expect(0);
    runner.run(&["resume", "--rerun", "all"]).expect(0);
    assert_eq!(rows(&runner, "a"), 2);
    runner.write("list.jsonl", "{\"id\": \"a\", \"input\": 1, \"expect\": {\"equals\": 1}}\n");
    runner.run(&["rescore"]).expect(0).says(&["1 trial"]);
}

#[test]
fn shards_and_rescore_have_the_records() {
    let runner = cat("{\"id\": \"a\", \"input\": 1}\n{\"id\": \"b\", \"input\": 1}\n");
    for shard in ["1/2", "2/2"] {
        let run = format!("results/{}", shard.replace('/', "-"));
        runner.exec(&["--shard", shard, "--into", &run]);
    }
    let planned = |run: &str| {
        let text = fs::read_to_string(runner.path(&format!("results/{run}/index.jsonl")));
        text.map_or(0, |text| text.lines().count())
    };
    assert_eq!(planned("1-2") + planned("2-2"), 2);
    runner.exec(&["--into", "results/all"]).expect(0);
    runner.write(
        "list.jsonl",
        "{\"id\": \"a\", \"input\": 1, \"expect\": {\"equals\": 2}}\n{\"id\": \"b\", \"input\": 1}\n",
    );
    runner.run(&["rescore", "all"]).expect(1).says(&["1 failed"]);
    snapshot(&runner.run(&["accept", "all", "--yes"]));
}

#[test]
fn many_records_are_streamed() {
    let (count, pad) = (times(2_000, 1_000_000), times(8_000, 200));
    let peak_with = |count: usize| {
        let runner = list(&format!("config = {{ do = \"count\", count = {count}, pad = {pad} }}"));
        let mut running = runner.started(&["exec", "scenario.toml", "--dry-run"]);
        let mut peak = 0;
        wait_until("it ends", || {
            let processes = running.workers().into_iter().chain([running.process()]);
            peak = processes.filter_map(peak_memory).fold(peak, u64::max);
            !running.is_alive()
        });
        let planned = running.finish().expect(0);
        assert!(planned.stdout.lines().count() >= count);
        peak
    };
    // A short process may end before its peak is seen.
    let few = [1; 3].map(peak_with).into_iter().max().unwrap();
    let many = peak_with(count);
    // One copy of the records in memory would be twice as much.
    assert!(many < few + (count * pad / 2) as u64, "{few} {many}");
}

/// Returns the most bytes of memory that a process has had. `None` if it has ended.
fn peak_memory(process: Process) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn bad_plugins_are_refused_with_reasons() {
    for (keys, says) in [
        (
            "timeout = \"300ms\"\nconfig = { do = \"spin\" }",
            &["did not end within 300 ms", "set `timeout` of the list"][..],
        ),
        (
            "config = { do = \"flood\" }\nlimits = { records = 1000 }",
            &["more than 1,000 lines", "to allow more, set `limits.records`"],
        ),
        (
            "config = { do = \"flood\" }\nlimits = { reply = \"1MiB\" }",
            &["`limits.reply` is 1048576 B", "to allow more, set `limits.reply`"],
        ),
        (
            "config = { do = \"panic\" }",
            &["failed: the plugin's own words (panicked at ", "thread 'main'"],
        ),
        ("config = { do = \"exit\" }", &["it exited with code 3", "no suite in /suite"]),
        (
            "config = { do = \"say\", text = \"{\\\"id\\\": \\\"a\\\"}\\n\\noops\\n\", stderr = \"line 3 is odd\" }",
            &["not valid JSON", "output of list.wasm:3:1", "line 3 is odd"],
        ),
        (
            "config = { do = \"say\", text = \"\", stderr = \"an empty suite\" }",
            &["plugin `list.wasm` printed no records", "an empty suite", "optional = true"],
        ),
        (
            "config = { do = \"say\", text = \"{}\\n\" }",
            &["`id` is missing", "printed by this plugin"],
        ),
        ("config = 1", &["must be a table"]),
        ("files = [\"*.jsonl\"]", &["unknown key `files`", "write `attachments`"]),
        ("format = \"file\"\nid = \"a\"", &["`format` is for files"]),
        ("grants.fs = [{ path = \".\", mount = \"/a\", mode = \"rw\" }]", &["unknown key `mode`"]),
        ("grants.net = [\"https://example.com\"]", &["unknown key `net`"]),
        ("limits.records = 0", &["limits.records"]),
    ] {
        let runner = list(keys);
        let refused = runner.refused(&[], says);
        refused.says(&["scenario.toml:"]);
        // Standard error has its own lines.
        assert!(keys.contains("\\n") || !refused.stderr.contains("\\n"), "{}", refused.stderr);
    }
    let runner = cat("{\"id\": \"a\", \"files\": {\"f\": \"scenario.toml\"}}\n");
    snapshot(&runner.refused(&[], &[]));
    let runner = list("");
    fs::remove_file(runner.path("list.wasm")).unwrap();
    snapshot(&runner.refused(&[], &[]));
    runner.scenario(&format!("{ECHO}[[test_lists]]\nfiles = [\"*.jsonl\"]\nconfig = {{}}\n"));
    snapshot(&runner.refused(&[], &[]));
    runner.scenario(&format!("{ECHO}[[test_lists]]\nid = \"a\"\n"));
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn component_appends_records() {
    let records = |steps: &str, limits: &str| {
        let runner = Runner::new(&[]);
        runner.link(&guests::component("contract-0-1-1-everything"), "list.wasm");
        runner.scenario(&format!(
            "{ECHO}[[test_lists]]\nplugin = \"list.wasm\"\nconfig.steps = [{steps}]\n{limits}\n"
        ));
        runner
    };
    let steps =
        r#"{ record = { id = "a", input = 1 } }, { record = { id = "b", input = [2, 3] } }"#;
    let runner = records(steps, "");
    runner.exec(&[]).expect(0);
    assert_eq!(runner.only_run().row("b")["output"], json!([2, 3]));
    snapshot(&records("1", "").refused(&[], &[]));
    let help = "to allow more, set `limits.records` of the list";
    snapshot(&records(steps, "limits.records = 1").refused(&[], &[help]));
    records("{ fail = \"own words\" }", "").refused(&[], &["failed:", "own words"]);
}

#[test]
fn reading_commands_run_no_plugin() {
    let runner = cat("{\"id\": \"a\", \"input\": 1, \"expect\": {\"equals\": 2}}\n");
    runner.exec(&[]).expect(1);
    // It would end no command.
    runner.scenario(&format!(
        "{ECHO}[[test_lists]]\nplugin = \"list.wasm\"\ntimeout = \"1h\"\nconfig = {{ do = \"spin\" }}\n"
    ));
    runner.run(&["show", "latest"]).says(&["scenario"]);
    runner.run(&["show", "latest", "a"]);
    runner.run(&["report", "latest", "--junit"]).expect(0);
    let mut completes = runner.command(&["--", "runner", "exec", "scenario.toml", "--test", ""]);
    completes.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "4");
    Running::start(&mut completes).finish();
    runner.run(&["resume", "latest", "--dry-run"]);
}

#[test]
fn strangers_plugins_do_not_run() {
    let runner = cat("{\"id\": \"a\"}\n");
    runner.exec(&[]).expect(0);
    // Without the key of this user, the run is a stranger's.
    let run = runner.only_run();
    fs::remove_dir_all(runner.path(".local")).unwrap();
    runner.scenario(&format!(
        "{ECHO}[[test_lists]]\nplugin = \"list.wasm\"\ntimeout = \"1h\"\nconfig = {{ do = \"spin\" }}\n"
    ));
    for args in [
        &["resume", run.id(), "--accept-changes"][..],
        &["rescore", run.id()],
        &["accept", run.id(), "--yes"],
    ] {
        runner.run(args).expect(2).says(&["runner trust"]);
    }
}

#[test]
fn plugins_with_new_access_do_not_run() {
    let runner = cat("{\"id\": \"a\"}\n");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    fs::create_dir(runner.path("suite")).unwrap();
    runner.scenario(&format!(
        "{ECHO}[[test_lists]]\nplugin = \"list.wasm\"\ntimeout = \"1h\"\nconfig = {{ do = \"spin\" }}\n\
         grants.fs = [{{ path = \"suite\", mount = \"/suite\" }}]\n"
    ));
    for args in [
        &["resume", run.id(), "--accept-changes"][..],
        &["rescore", run.id()],
        &["accept", run.id(), "--yes"],
    ] {
        let says = ["test list `list.wasm` reads the folder", "--accept-access"];
        runner.run(args).expect(2).says(&says);
    }
}

#[test]
fn changes_of_plugins_and_their_files_are_watched() {
    let runner = front_matter();
    let mut command = runner.command(&["exec", "--watch", "scenario.toml"]);
    let watching = Running::start(&mut command);
    let watched = |times: usize| {
        wait_until("it watches", || watching.shown().matches("watching").count() >= times);
    };
    watched(1);
    // At once, so that no session reads a half of it.
    runner.write("more", "/*---\ndescription: New\n---*/\n1;\n");
    fs::rename(runner.path("more"), runner.path("suite/numbers/more.js")).unwrap();
    wait_until("the new test has run", || rows(&runner, "numbers/more") == 1);
    watched(2);
    assert_eq!(rows(&runner, "numbers/sum"), 1);
    // Another plugin, which prints another list.
    runner.wat("new.wasm", PRINTS_ONE);
    fs::rename(runner.path("new.wasm"), runner.path("list.wasm")).unwrap();
    wait_until("the test of the new plugin has run", || rows(&runner, "other") == 1);
    watching.end_by(Signal::INT);
}

/// A command that prints one record.
const PRINTS_ONE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "{\"name\": \"other\", \"source\": 1, \"description\": \"d\", \"negative\": \"no\"}\0a")
    (data (i32.const 0) "\10\00\00\00\45\00\00\00")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
)"#;
