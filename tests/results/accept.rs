//! `accept`: outputs that become golden files, and `equals` of scenarios and test lists.

use std::collections::BTreeMap;
use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::fs::symlink, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::faults::disk::{lock, ordinary};
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{guests::command, runner::Runner, running::Running, wait::wait_until};

const ECHO: &str = "[providers.echo]\nplugin = \"bundled:echo\"\n";
/// A list of files, each a test with a golden file next to it.
const CASES: &str = "[[test_lists]]\nfiles = [\"cases/*.in\"]\nformat = \"file\"\nid = \"{{file.stem}}\"\ninput = \"{{row.text}}\"\nexpect = { file = \"cases/{{file.stem}}.out\" }\n";

/// A scenario with the bundled echo.
fn echo(scenario: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(&format!("{scenario}\n{ECHO}"));
    runner
}

/// Two cases without golden files, whose run has failed.
fn cases() -> Runner {
    let runner = echo(CASES);
    fs::create_dir(runner.path("cases")).unwrap();
    runner.write("cases/a.in", "one\n");
    runner.write("cases/b.in", "two\n");
    runner.exec(&[]).expect(1);
    runner
}

fn read(runner: &Runner, name: &str) -> String {
    fs::read_to_string(runner.path(name)).unwrap()
}

/// Accepts all outputs. Fails unless `rescore` makes the run green without a call.
#[track_caller]
fn accept_all(runner: &Runner) {
    runner.run(&["accept", "--yes"]).expect(0).says(&["runner rescore"]);
    runner.run(&["rescore"]).expect(0);
    let rows = runner.only_run().rows();
    for row in rows.iter().filter(|row| row["outcome"] == "failed") {
        let is_judged = |other: &&serde_json::Value| other["judged"] == row["seq"];
        let judged = rows.iter().find(is_judged).expect("the row is judged");
        assert_eq!(judged["outcome"], "passed");
    }
    runner.run(&["accept", "--yes"]).expect(0).says(&["nothing to accept"]);
}

/// Returns the names of a folder's entries, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn golden_files_get_the_outputs() {
    let runner = echo(
        r#"
        [[tests]]
        id = "text"
        input = "one\ntwo \u001b[31m"
        expect = { file = "new/folder/text.txt" }
        [[tests]]
        id = "json"
        input = { b = [1, 2.5], a = "x" }
        expect = { file = "json.json" }
        "#,
    );
    runner.write("json.json", "\u{feff}{\"b\": []}");
    fs::set_permissions(runner.path("json.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let ran = runner.exec(&[]).expect(1);
    ran.says(&["equals: no such file yet: `runner accept` writes `new/folder/text.txt`"]);
    let shown = runner.run(&["accept", "--dry-run"]).expect(0);
    assert!(!shown.stdout.contains('\u{1b}'), "{}", shown.stdout);
    shown.says(&["new/folder/text.txt (1 test, new)", "+two \\u{1b}[31m", "nothing was written"]);
    assert!(!runner.path("new").exists());
    accept_all(&runner);
    assert_eq!(read(&runner, "new/folder/text.txt"), "one\ntwo \u{1b}[31m");
    let json = "{\n  \"a\": \"x\",\n  \"b\": [\n    1,\n    2.5\n  ]\n}\n";
    assert_eq!(read(&runner, "json.json"), json);
    let mode = fs::metadata(runner.path("json.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(names(&runner.path("new/folder")), ["text.txt"]);
}

#[test]
fn edited_golden_file_judges_only_its_test() {
    let runner = cases();
    accept_all(&runner);
    let run = runner.only_run();
    let before = run.rows().len();
    runner.write("cases/b.out", "other\n");
    runner.run(&["resume", "--accept-changes"]).expect(1);
    let rows = run.rows();
    assert_eq!(rows.len(), before + 1);
    assert_eq!((&rows[before]["test"], &rows[before]["outcome"]), (&json!("b"), &json!("failed")));
    assert!(rows[before]["judged"].is_u64());
    runner.write("cases/b.out", "two\n");
    runner.run(&["rescore"]).expect(0);
}

#[test]
fn missing_and_unused_golden_files_are_named() {
    let runner = cases();
    runner.write("cases/b.out", "two");
    // Other files of the folder are of other kinds, and these are read.
    runner.write("cases/notes.txt", "");
    let validate = || runner.run(&["validate", "scenario.toml"]).expect(0);
    let missing = "golden file `cases/a.out` is missing; to write it after a run: runner accept";
    let validated = validate();
    validated.says(&[missing]);
    assert!(!validated.stderr.contains("used by no test"), "{}", validated.stderr);
    fs::rename(runner.path("cases/a.in"), runner.path("cases/c.in")).unwrap();
    runner.write("cases/a.out", "one");
    snapshot(&validate());
}

#[test]
fn trimmed_golden_files_ignore_white_space_at_both_ends() {
    let tests = r#"
        [[tests]]
        id = "trimmed"
        input = "  a b\n"
        expect = { file = "a.txt", trim = true }
        [[tests]]
        id = "equals"
        input = "a b"
        expect = { equals = " A b\t", trim = true, ignore_case = true }
        [[tests]]
        id = "exact"
        input = "  a b\n"
        expect = { file = "a.txt" }
    "#;
    let runner = echo(tests);
    runner.write("a.txt", "\n\na b ");
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let outcomes = ["trimmed", "equals", "exact"].map(|test| run.row(test)["outcome"].clone());
    assert_eq!(outcomes, ["passed", "passed", "failed"]);
    // The file is that of a test that passes, too.
    snapshot(&runner.run(&["accept", "--yes"]).expect(2));
    assert_eq!(read(&runner, "a.txt"), "\n\na b ");
}

#[test]
fn scenarios_keep_comments_and_layout() {
    let runner = Runner::new(&[]);
    let scenario = r##"# First.
[providers.echo]   # Its name.
plugin = 'bundled:echo'

[[tests]]
id = "text" # a
input = "a {{{{var.x}} \"q\" \\ \u001b é"
expect   =   { contains = "a", equals = 'old'   } # after

[[tests]]
id = "lines"
input = "1\n\"\"\"2\\\n"
expect.equals = """
1
2"""
[[tests]]
id = "value"
input = { a = [1, -2.5, true], "b c" = {}, d = 1979-05-27 }
[tests.expect]
# The value.
equals = [
  1, # one
]

[[tests]]
id = "good"
input = 1
expect = { equals = 1 }
"##;
    runner.scenario(scenario);
    runner.exec(&[]).expect(1);
    accept_all(&runner);
    let new = scenario
        .replace("'old'", r#""a {{{{var.x}} \"q\" \\ \u001b é""#)
        .replace("\"\"\"\n1\n2\"\"\"", "\"\"\"\n1\n\\\"\\\"\\\"2\\\\\n\"\"\"")
        .replace("[\n  1, # one\n]", r#"{ a = [1, -2.5, true], "b c" = {}, d = "1979-05-27" }"#);
    assert_eq!(read(&runner, "scenario.toml"), new);
    // The text is that of the output, also for a new run.
    runner.exec(&[]).expect(0);
}

#[test]
fn records_of_lists_get_the_outputs() {
    let runner = echo("[[test_lists]]\nfiles = [\"lists/*\"]\n");
    fs::create_dir(runner.path("lists")).unwrap();
    let lines = "\u{feff}{\"id\": \"l1\",  \"input\": \"{{row.x}}\", \"expect\": {\"equals\" : 1}}\r\n\n {\"id\": \"l2\", \"input\": 2, \"expect\": {\"equals\": 2}}\n{\"id\": \"l3\", \"input\": {\"a\": null}, \"expect\": {\"equals\": [] }}";
    runner.write("lists/a.jsonl", lines);
    let array = "[\n  {\"id\": \"j1\", \"input\": \"x\",\n   \"expect\": {\n    \"equals\": \"y\"}}, {\"id\": \"j2\", \"input\": 1, \"expect\": {\"equals\": 1}}\n]\n";
    runner.write("lists/b.json", array);
    let tables = "# Tests.\n[[tests]]\nid = \"t1\"\ninput = \"{{row.x}}\"\nexpect = { equals = \"b\" } # b\n";
    runner.write("lists/c.toml", tables);
    runner.exec(&[]).expect(1);
    accept_all(&runner);
    let new = lines.replace("\"equals\" : 1", "\"equals\" : \"{{row.x}}\"");
    assert_eq!(read(&runner, "lists/a.jsonl"), new.replace("[] }", "{\"a\":null} }"));
    assert_eq!(read(&runner, "lists/b.json"), array.replace("\"y\"", "\"x\""));
    assert_eq!(read(&runner, "lists/c.toml"), tables.replace("\"b\" }", "\"{{row.x}}\" }"));
}

/// Each test of this scenario has a reason why its output cannot be accepted.
const REFUSED: &str = r#"
    name = "refused"
    [vars]
    want = "old"
    [providers.hostile]
    plugin = "hostile.wasm"
    [providers.other]
    plugin = "hostile.wasm"
    config = { other = true }
    [[tests]]
    id = "repeats"
    input = { do = "test" }
    repeat = 2
    expect = { file = "repeats.json" }
    [[tests]]
    id = "error"
    input = { do = "trap" }
    expect = { equals = 1 }
    [[tests]]
    id = "timeout"
    input = { do = "sleep" }
    timeout = "50ms"
    expect = { file = "timeout.txt" }
    [[tests]]
    id = "edited"
    input = { do = "echo", value = 1 }
    expect = { equals = 2 }
    [[tests]]
    id = "expected"
    input = { do = "echo", value = 1 }
    expect = { equals = 3 }
    [[tests]]
    id = "var"
    input = { do = "echo", value = "new" }
    expect = { equals = "{{var.want}}" }
    [[tests]]
    id = "header"
    input = { do = "echo", value = { a = 1 } }
    [tests.expect.equals]
    a = 2
    [[tests]]
    id = "contains"
    input = { do = "echo", value = "a" }
    expect = { contains = "b" }
    [[tests]]
    id = "holds"
    input = { do = "echo", value = "a" }
    expect = { equals = "A", ignore_case = true, contains = "b" }
    [[tests]]
    id = "null"
    input = { do = "echo" }
    expect = { equals = 1 }
    [[tests]]
    id = "not a text"
    input = { do = "echo", value = 1 }
    expect = { file = "one.txt" }
    [[tests]]
    id = "hidden"
    input = { do = "echo", value = "a" }
    expect = { file = "a/.git/config" }
    [[tests]]
    id = "above"
    input = { do = "echo", value = "a" }
    expect = { file = "none/../a.txt" }
    [[tests]]
    id = "shared 1"
    input = { do = "echo", value = "a" }
    expect = { file = "shared.txt" }
    [[tests]]
    id = "shared 2"
    input = { do = "echo", value = "b" }
    expect = { file = "./shared.txt" }
    [[tests]]
    id = "own list"
    input = { do = "echo", value = "a" }
    expect = { file = "list.jsonl" }
    [[test_lists]]
    files = ["list.jsonl"]
    id = "list/{{row.id}}"
    input = { do = "echo", value = "{{row.id}}" }
    expect = { equals = "{{row.want}}" }
    [[test_lists]]
    files = ["list.jsonl"]
    id = "constant/{{row.id}}"
    input = { do = "echo", value = "{{row.id}}" }
    expect = { equals = "constant" }
    [[test_lists]]
    files = ["list.jsonl"]
    id = "path/{{row.id}}"
    input = { do = "echo", value = "{{row.id}}" }
    expect = { file = "{{row.path}}" }
"#;

#[test]
fn each_refused_test_has_a_reason() {
    let runner = Runner::new(&["hostile"]);
    runner.write("list.jsonl", "{\"id\": \"a\", \"want\": \"b\", \"path\": \"Makefile\"}\n");
    let providers = "[[tests]]\nid = \"providers\"\ninput = { do = \"test\" }\nproviders = [\"*\"]\nexpect = { equals = 1 }\n";
    runner.scenario(&format!("{REFUSED}{providers}"));
    runner.exec(&["-j", "1"]).expect(1);
    let edited = read(&runner, "scenario.toml")
        .replace(
            "value = 1 }\n    expect = { equals = 2 }",
            "value = 4 }\n    expect = { equals = 2 }",
        )
        .replace("equals = 3", "equals = 5");
    runner.scenario(&edited);
    let mut transcript = Transcript::default();
    let before = names(&runner.path(""));
    // Messages name twenty tests.
    transcript.run(&runner, &["accept", "--yes"]).expect(2);
    for filter in ["test(list/*) or test(constant/*) or test(path/*)", "test(shared*) or test(var)"]
    {
        transcript.run(&runner, &["accept", "--yes", "-E", filter]).expect(2);
    }
    transcript.run(&runner, &["accept", "-E", "test(none)"]).expect(5);
    transcript.check("each_refused_test_has_a_reason");
    assert_eq!(read(&runner, "scenario.toml"), edited);
    assert_eq!(names(&runner.path("")), before);
}

#[test]
fn known_failures_are_accepted_on_request() {
    let runner = echo(
        "[[known.failures]]\ntests = [\"a\"]\nreason = \"a bug\"\n[[tests]]\nid = \"a\"\ninput = 1\nexpect = { file = \"a.json\" }\n",
    );
    runner.write("a.json", "2\n");
    runner.exec(&[]).expect(0);
    let ran = runner.run(&["accept", "--yes"]).expect(0);
    snapshot(&ran);
    assert_eq!(read(&runner, "a.json"), "2\n");
    // Neither the text of another condition nor a condition on another run asks for known failures here.
    for filter in ["!output(\"known()\")", "in(latest, known())"] {
        runner.run(&["accept", "--yes", "-E", filter]).expect(0);
        assert_eq!(read(&runner, "a.json"), "2\n", "{filter}");
    }
    runner.run(&["accept", "--yes", "-E", "known()"]).expect(0);
    assert_eq!(read(&runner, "a.json"), "1\n");
}

#[test]
fn redacted_and_large_outputs_are_refused() {
    let runner = Runner::hostile_with(
        "grants = { secrets = [\"KEY\"] }",
        "[[tests]]\nid = \"a\"\ninput = { do = \"secret\" }\nexpect = { file = \"a.txt\" }\n",
    );
    let mut command = runner.command(&["exec", "scenario.toml"]);
    Running::start(command.env("KEY", "a-long-secret")).finish().expect(1);
    snapshot(&runner.run(&["accept", "--yes"]).expect(2));
    assert!(!runner.path("a.txt").exists());

    let runner = Runner::hostile_with(
        "limits = { reply = \"16MiB\" }",
        "[[test_lists]]\nfiles = [\"lists/*\"]\n",
    );
    let input = json!({"do": "huge-reply", "bytes": (4 << 20) + 1});
    let record = json!({"id": "a", "input": input, "expect": {"file": "lists/a/b.txt"}});
    fs::create_dir(runner.path("lists")).unwrap();
    runner.write("lists/list.jsonl", record.to_string());
    runner.exec(&[]).expect(1);
    snapshot(&runner.run(&["accept", "--yes"]).expect(2));
    assert!(!runner.path("lists/a").exists());
}

/// Accepts all outputs. Returns the reasons of refused tests by their ids, and the paths of written files.
fn accept_some(runner: &Runner) -> (BTreeMap<String, String>, Vec<String>) {
    let document = runner.run(&["accept", "--json", "--yes"]).expect(0).document();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refused = document["refused"].as_array().unwrap().iter();
    let refused = refused.map(|refused| (text(&refused["test"]), text(&refused["reason"])));
    let files = document["files"].as_array().unwrap().iter();
    (refused.collect(), files.map(|file| text(&file["path"])).collect())
}

#[test]
fn golden_files_that_the_next_run_would_use_are_refused() {
    let golden = [
        "k/new.toml",
        "lists/new.jsonl",
        "lists/deep/new.jsonl",
        "m/new.txt",
        "later.jsonl",
        "cases/new.in",
        "plugin.toml",
    ];
    let free = ["cases/new.out", "k/deep/new.toml", "k/new.txt"];
    let tests = golden.iter().chain(&free).map(|file| {
        format!("[[tests]]\nid = \"{file}\"\ninput = \"\"\nexpect = {{ file = \"{file}\" }}\nproviders = [\"echo\"]\n")
    });
    let globs = "[known]\nfiles = [\"k/*.toml\"]\n[providers.m]\nplugin = \"bundled:echo\"\nmatrix = { p = { files = \"m/*.txt\" } }\n[[test_lists]]\nfiles = [\"later.jsonl\", \"./lists/**/*.jsonl\"]\noptional = true\n[[test_lists]]\nfiles = [\"cases/*.in\"]\nformat = \"file\"\noptional = true\nid = \"x\"\n";
    let runner = echo(&(tests.collect::<String>() + globs));
    for folder in ["k", "lists", "m", "cases"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    runner.write("k/known.toml", "");
    runner.write("m/a.txt", "");
    runner.exec(&[]).expect(1);
    let (refused, files) = accept_some(&runner);
    assert_eq!(files, free);
    for file in golden {
        let why = match file {
            "plugin.toml" => "would name the programs that build a plugin",
            _ => "one of its globs matches",
        };
        assert!(refused[file].contains(why), "{refused:?}");
        assert!(!runner.path(file).exists());
    }
}

#[test]
fn records_choose_golden_files_only_below_a_stated_folder() {
    let runner = echo(
        r#"
        [[test_lists]]
        files = ["root.jsonl", "data/lists/*"]
        [[test_lists]]
        files = ["names.jsonl"]
        id = "dot/{{row.name}}"
        expect = { file = "./{{row.name}}" }
        [[test_lists]]
        files = ["names.jsonl"]
        id = "here/{{row.name}}"
        expect = { file = "data/../{{row.name}}" }
        [[test_lists]]
        files = ["names.jsonl"]
        id = "number/{{row.name}}"
        expect = { file = "{{row_number}}.txt" }
        [[test_lists]]
        files = ["names.jsonl"]
        id = "stated/{{row.name}}"
        expect = { file = "./{{file.stem}}/{{ row.name }}" }
        "#,
    );
    fs::create_dir_all(runner.path("data/lists")).unwrap();
    let record = |id: &str, file: &str| {
        json!({ "id": id, "input": "x", "expect": { "file": file } }).to_string()
    };
    runner.write("root.jsonl", record("root", "lib/src/lib.rs"));
    runner.write("data/lists/a.jsonl", record("below", "data/lists/b/new.txt"));
    runner.write("names.jsonl", "{\"name\": \"Makefile\", \"input\": \"x\"}");
    runner.exec(&[]).expect(1);
    let (refused, files) = accept_some(&runner);
    assert_eq!(files, ["1.txt", "data/lists/b/new.txt", "names/Makefile"]);
    for test in ["root", "dot/Makefile", "here/Makefile"] {
        assert!(refused[test].contains("chooses the folder"), "{refused:?}");
    }
    // Below another folder than that of the list, also the content is not read.
    for file in ["data/secret.txt", "data/lists/../secret.txt", "Makefile"] {
        runner.write("data/lists/a.jsonl", record("below", file));
        snapshot(&runner.exec(&[]).expect(2));
    }
}

#[test]
fn golden_files_in_results_are_refused() {
    let runner = echo(
        "[[tests]]\nid = \"root\"\ninput = 1\nexpect = { file = \"results/x.json\" }\n[[tests]]\nid = \"run\"\ninput = 1\nexpect = { file = \"moved/x.json\" }\n",
    );
    runner.exec(&[]).expect(1);
    fs::create_dir(runner.path("moved")).unwrap();
    for file in ["benchmark.json", "index.jsonl"] {
        runner.write(&format!("moved/{file}"), "");
    }
    let ran = runner.run(&["accept", "--yes"]).expect(2);
    snapshot(&ran);
}

/// One name that no file can have refuses only its test.
#[test]
fn names_of_no_file_refuse_only_their_tests() {
    let runner = echo(
        "[[test_lists]]\nfiles = [\"l.jsonl\"]\nid = \"{{row.id}}\"\ninput = \"x\"\nexpect = { file = \"out/{{row.name}}\" }\n",
    );
    let names = [
        ("a", "a.txt"),
        ("b", ""),
        ("c", "sub"),
        ("d", "sub/x"),
        ("e", "a\u{1b}[31m"),
        ("f", "folder"),
        ("g", "sub/."),
    ];
    let records = names.map(|(id, name)| json!({ "id": id, "name": name }).to_string());
    runner.write("l.jsonl", records.join("\n"));
    runner.exec(&[]).expect(1);
    fs::create_dir_all(runner.path("out/folder")).unwrap();
    let (refused, files) = accept_some(&runner);
    assert_eq!((files, refused.len()), (vec!["out/a.txt".to_owned()], 6));
    for (test, reason) in [
        ("b", "`out/` is not the name of a file"),
        ("c", "a golden file of one test and a folder of another"),
        ("d", "a golden file of one test and a folder of another"),
        ("e", "has a control character"),
        ("f", "out/folder"),
        ("g", "`out/sub/.` is not the name of a file"),
    ] {
        assert!(refused[test].contains(reason), "{refused:?}");
    }
    runner.run(&["rescore"]).expect(1);
}

#[test]
fn golden_files_outside_of_the_project_are_not_read() {
    let runner = echo(
        "[[test_lists]]\nfiles = [\"l.jsonl\"]\nid = \"{{row.id}}\"\nexpect = { file = \"cases/{{row.path}}\" }\n",
    );
    fs::create_dir(runner.path("cases")).unwrap();
    for path in ["../../x", "../../../../../../etc/passwd"] {
        runner.write("l.jsonl", json!({"id": "a", "path": path}).to_string());
        snapshot(&runner.refused(&[], &[]));
    }
    // A device has no end.
    symlink("/dev/zero", runner.path("cases/zero")).unwrap();
    runner.write("l.jsonl", "{\"id\": \"a\", \"path\": \"zero\"}");
    snapshot(&runner.refused(&[], &[]));
    runner.write("l.jsonl", "{\"id\": \"a\", \"path\": \"big\"}");
    fs::File::create(runner.path("cases/big")).unwrap().set_len(1 << 40).unwrap();
    snapshot(&runner.refused(&[], &[]));
    runner.write("cases/big", [0xff]);
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn links_are_not_followed() {
    let runner = cases();
    runner.write("victim", "kept");
    symlink("../victim", runner.path("cases/a.out")).unwrap();
    // With the link, the expectation is the content of its target.
    snapshot(&runner.run(&["accept", "--yes"]).expect(0));
    fs::remove_file(runner.path("cases/b.out")).unwrap();
    runner.exec(&[]).expect(1);
    runner.run(&["accept", "--yes"]).expect(0).says(&["a: ", "symbolic link"]);
    assert_eq!(read(&runner, "victim"), "kept");
    assert_eq!(read(&runner, "cases/b.out"), "two\n");

    let runner = cases();
    fs::rename(runner.path("cases"), runner.path("real")).unwrap();
    symlink("real", runner.path("cases")).unwrap();
    runner.run(&["accept", "--yes"]).expect(2).says(&["symbolic link"]);
    assert_eq!(names(&runner.path("real")), ["a.in", "b.in"]);
}

#[test]
fn nothing_is_written_without_an_answer() {
    let runner = cases();
    snapshot(&runner.run(&["accept"]).expect(2));
    snapshot(&runner.run(&["accept", "--dry-run"]).expect(0));
    let document = runner.run(&["accept", "--json"]).expect(0).document();
    assert_eq!((&document["written"], &document["files"][0]["new"]), (&json!(false), &json!(true)));
    assert_eq!(names(&runner.path("cases")), ["a.in", "b.in"]);
    let document = runner.run(&["accept", "--json", "--yes"]).expect(0).document();
    assert_eq!((&document["written"], &document["refused"]), (&json!(true), &json!([])));
    assert_eq!(document["files"][1]["path"], "cases/b.out");
    assert_eq!(read(&runner, "cases/b.out"), "two\n");
}

/// Records choose the golden files, and these are attachments, schemas and files of another test or provider.
#[test]
fn files_of_other_tests_are_not_replaced() {
    let runner = echo(
        r#"
        [providers.other]
        plugin = "command.wasm"
        args = ["cat"]
        stdin = "{{input}}"
        files = { "own" = "data/provider" }
        [[tests]]
        id = "other"
        input = 1
        files = { "x" = "data/attachment" }
        expect = { schema = "data/link.json" }
        [[test_lists]]
        files = ["l.jsonl"]
        id = "{{row.id}}"
        input = "new"
        expect = { file = "data/{{row.id}}" }
        "#,
    );
    runner.link(&command(), "command.wasm");
    fs::create_dir(runner.path("data")).unwrap();
    let ids = ["provider", "attachment", "schema.json", "link.json", "free"];
    let records = ids.map(|id| json!({ "id": id }).to_string());
    runner.write("l.jsonl", records.join("\n"));
    for id in ["provider", "attachment", "schema.json"] {
        runner.write(&format!("data/{id}"), "{}");
    }
    symlink("schema.json", runner.path("data/link.json")).unwrap();
    runner.exec(&["-E", "provider(echo)"]).expect(1);
    let document = runner.run(&["accept", "--json", "--yes"]).expect(0).document();
    let refused = document["refused"].as_array().unwrap();
    let reason = |test: &&str| {
        let found = refused.iter().find(|refused| refused["test"] == **test);
        found.is_some_and(|found| found["reason"].as_str().unwrap().contains("another purpose"))
    };
    assert!(ids[..4].iter().all(reason), "{refused:?}");
    assert_eq!(read(&runner, "data/free"), "new");
    assert_eq!(read(&runner, "data/schema.json") + &read(&runner, "data/attachment"), "{}{}");
}

#[test]
fn unwritable_folder_leaves_all_files_as_they_are() {
    let runner = echo(
        "[[tests]]\nid = \"a\"\ninput = 1\nexpect = { file = \"a/1.json\" }\n[[tests]]\nid = \"b\"\ninput = 1\nexpect = { file = \"b/c/1.json\" }\n[[tests]]\nid = \"c\"\ninput = 1\nexpect = { file = \"d/1.json\" }\n",
    );
    for folder in ["a", "d"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    runner.write("a/1.json", "2");
    runner.exec(&[]).expect(1);
    lock(&runner.path("d"), true);
    let ran = Running::start(&mut ordinary(&runner, &["accept", "--yes"])).finish().expect(7);
    lock(&runner.path("d"), false);
    ran.says(&["d/"]);
    assert_eq!(
        (&*read(&runner, "a/1.json"), names(&runner.path("a"))),
        ("2", vec!["1.json".into()])
    );
    assert!(!runner.path("b").exists() && names(&runner.path("d")).is_empty());
    // A file that its owner may not write stays, too.
    fs::set_permissions(runner.path("a/1.json"), fs::Permissions::from_mode(0o444)).unwrap();
    runner.run(&["accept", "--yes"]).expect(0).says(&["a: ", "read-only"]);
    assert_eq!((&*read(&runner, "a/1.json"), &*read(&runner, "d/1.json")), ("2", "1\n"));
}

#[cfg(debug_assertions)]
#[test]
fn killed_accept_leaves_each_file_whole() {
    let runner = cases();
    runner.write("cases/a.out", "old");
    runner.write("cases/b.out", "old");
    runner.run(&["rescore"]).expect(1);
    let mut command = runner.command(&["accept", "--yes"]);
    let ran = Running::start(command.env("RUNNER_FAULT", "user-file-rename:kill:2")).finish();
    assert_eq!(ran.code, None);
    assert_eq!([read(&runner, "cases/a.out"), read(&runner, "cases/b.out")], ["one\n", "old"]);
    // The next one removes the file that was left, and no file of the user.
    runner.write("cases/.accept-notes", "");
    assert_eq!(names(&runner.path("cases")).len(), 6);
    runner.run(&["accept", "--yes"]).expect(0);
    assert_eq!(read(&runner, "cases/b.out"), "two\n");
    let left = [".accept-notes", "a.in", "a.out", "b.in", "b.out"];
    assert_eq!(names(&runner.path("cases")), left);
    runner.run(&["rescore"]).expect(0);
}

#[cfg(debug_assertions)]
#[test]
fn files_saved_meanwhile_are_not_replaced() {
    let runner = cases();
    let start = |args: &[&str], fault: &str| {
        let running = Running::start(runner.command(args).env("RUNNER_FAULT", fault));
        wait_until("it is about to rename", || running.process().is_stopped());
        running
    };
    // Another process replaces files of the folder only once the first one is done, and then they have changed.
    let first = start(&["accept", "--yes"], "user-file-rename:stop:2");
    let second = Running::start(&mut runner.command(&["accept", "--yes", "-E", "test(b)"]));
    wait_until("it has compared the file", || {
        (second.printed() + &second.shown()).contains("+two")
    });
    first.process().signal(Signal::CONT);
    first.finish().expect(0);
    snapshot(&second.finish().expect(2));
    // An editor does not wait.
    runner.write("cases/a.out", "old");
    runner.write("cases/b.out", "old");
    runner.run(&["rescore"]).expect(1);
    let running = start(&["accept", "--yes"], "user-file-rename:stop:2");
    runner.write("cases/b.out", "edited");
    running.process().signal(Signal::CONT);
    snapshot(&running.finish().expect(2));
    assert_eq!([read(&runner, "cases/a.out"), read(&runner, "cases/b.out")], ["old", "edited"]);
}

#[cfg(debug_assertions)]
#[test]
fn failed_rename_restores_the_files_before_it() {
    let runner = cases();
    runner.write("cases/a.out", "old");
    fs::set_permissions(runner.path("cases/a.out"), fs::Permissions::from_mode(0o640)).unwrap();
    runner.run(&["rescore"]).expect(1);
    let mut command = runner.command(&["accept", "--yes"]);
    let ran = Running::start(command.env("RUNNER_FAULT", "user-file-rename:error:2")).finish();
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    ran.says(&["b.out"]);
    assert_eq!(read(&runner, "cases/a.out"), "old");
    let mode = fs::metadata(runner.path("cases/a.out")).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, names(&runner.path("cases"))), (0o640, cases_with("a.out")));
    // A new file is removed again.
    fs::remove_file(runner.path("cases/a.out")).unwrap();
    runner.run(&["rescore"]).expect(1);
    let mut command = runner.command(&["accept", "--yes"]);
    Running::start(command.env("RUNNER_FAULT", "user-file-rename:error:2")).finish().expect(7);
    assert_eq!(names(&runner.path("cases")), ["a.in", "b.in"]);
}

#[cfg(debug_assertions)]
fn cases_with(name: &str) -> Vec<String> {
    ["a.in", name, "b.in"].map(str::to_owned).to_vec()
}

#[cfg(debug_assertions)]
#[test]
fn files_that_cannot_be_restored_are_named() {
    let runner = cases();
    runner.write("cases/a.out", "old");
    runner.run(&["rescore"]).expect(1);
    let mut command = ordinary(&runner, &["accept", "--yes"]);
    let running = Running::start(command.env("RUNNER_FAULT", "user-file-rename:stop:2"));
    wait_until("it is about to rename", || running.process().is_stopped());
    lock(&runner.path("cases"), true);
    running.process().signal(Signal::CONT);
    let ran = running.finish().expect(7);
    lock(&runner.path("cases"), false);
    snapshot(&ran);
    assert_eq!(read(&runner, "cases/a.out"), "one\n");
}

#[cfg(debug_assertions)]
#[test]
fn link_in_place_of_a_folder_is_not_written_through() {
    let runner = cases();
    fs::create_dir(runner.path("victim")).unwrap();
    runner.write("victim/b.out", "kept");
    let mut command = runner.command(&["accept", "--yes"]);
    let running = Running::start(command.env("RUNNER_FAULT", "user-file-rename:stop:2"));
    wait_until("it is about to rename", || running.process().is_stopped());
    fs::rename(runner.path("cases"), runner.path("moved")).unwrap();
    symlink("victim", runner.path("cases")).unwrap();
    running.process().signal(Signal::CONT);
    running.finish().expect(0);
    assert_eq!(names(&runner.path("victim")), ["b.out"]);
    assert_eq!(
        (&*read(&runner, "victim/b.out"), &*read(&runner, "moved/b.out")),
        ("kept", "two\n")
    );
}
