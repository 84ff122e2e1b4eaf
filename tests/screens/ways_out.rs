//! Every way out: whatever a guest says, and whatever files, folders and words of the host are called, nothing that is
//! printed or logged steers a terminal, and documents have the same values.

use std::path::Path;

use regex::Regex;
use serde_json::{Value, json};

use crate::support::{
    guests::guest,
    runner::{CommandExt as _, Ran, Runner},
};

/// Moves, clears, hides, colours, turns the direction and begins lines, in all the ways that there are: control characters
/// of seven and of eight bits, what embeds, isolates and marks directions, separators of lines, and what is not seen.
const STEERING: &str = "\u{1b}]0;T\u{7}\u{1b}[2J\u{1b}[31mred\u{1b}[8mgone\rover\u{9b}2J\u{85}\u{90}\u{7f}\
                        \u{202e}\u{2066}\u{200e}\u{200f}\u{61c}\u{2028}\u{2029}\u{feff}\u{180e}\u{200b}\u{2060}\u{ad}\u{e0041}";
/// What would look like a line of the runner's own.
const FORGED: &str = "✓ forged";
/// The parts of it that TOML, the command line and file names can have.
const NAMED: &str =
    "\u{1b}[31mred\u{1b}[8m\u{7f}\u{9b}\u{202e}\u{200e}\u{61c}\u{2028}\u{feff}\u{e0041}";

/// A guest's text, with lines that would look like the runner's.
fn hostile() -> String {
    format!("{STEERING}\n{FORGED}\r{FORGED}\u{2028}{FORGED}")
}

/// Characters that must not be printed; the same list as Unicode's, not as the runner's.
fn steering() -> Regex {
    Regex::new(
        r"(?x)[
            \p{Cc} \p{Bidi_Control} \p{Zl} \p{Zp} \p{Default_Ignorable_Code_Point}
            && [^\n\t \u{200c} \u{200d} \u{fe00}-\u{fe0f} \u{e0100}-\u{e01ef} \u{180b}-\u{180d} \u{180f}]
        ]",
    )
    .unwrap()
}

/// Fails if anything but colours of the runner's own steers, or somebody else has begun a line.
#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    let colours = Regex::new("\u{1b}\\[(0|1|2|4|22|24|3[1-69]|38;5;208)?m").unwrap();
    for bad in ["\u{1b}[31mred", "\u{1b}[8m"] {
        assert!(!text.contains(bad), "{what}: {text:?}");
    }
    let plain = colours.replace_all(text, "");
    if let Some(found) = steering().find(&plain) {
        panic!("{what} has {:?}: {plain:?}", found.as_str());
    }
    let mut lines = plain.lines();
    assert!(
        !lines.any(|line| line.starts_with(FORGED)),
        "{what}: {plain}"
    );
}

/// Calls the program as if all that it prints went to a terminal with colours.
#[track_caller]
fn call(runner: &Runner, args: &[&str], code: i32) -> Ran {
    told(runner, args).expect(code)
}

/// The same, however it ends.
#[track_caller]
fn told(runner: &Runner, args: &[&str]) -> Ran {
    let mut command = runner.command(args);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    command.env("RUNNER_LOG", "trace");
    let ran = command.run();
    assert_harmless(&format!("stdout of {args:?}"), &ran.stdout);
    assert_harmless(&format!("stderr of {args:?}"), &ran.stderr);
    ran
}

/// Calls it for a document, which has each of `texts` as some value.
#[track_caller]
fn document(runner: &Runner, args: &[&str], code: i32, texts: &[&str]) {
    let ran = call(runner, args, code);
    let values: Vec<Value> = serde_json::Deserializer::from_str(&ran.stdout)
        .into_iter()
        .map(|value| value.unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ran.stdout)))
        .collect();
    for text in texts {
        let is_there = values.iter().any(|value| has(value, text));
        assert!(is_there, "{args:?} has no {text:?}: {}", ran.stdout);
    }
}

/// Tells whether a value, or a name, in a document has this in it.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(values) => values.iter().any(|value| has(value, text)),
        Value::Object(object) => {
            let mut members = object.iter();
            members.any(|(name, value)| name.contains(text) || has(value, text))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A text as TOML has it, which knows no raw DEL.
fn toml(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', r"\u007f")
}

/// A module that prints this and nothing else, whatever it is asked: as a description it is one.
fn printing(text: &str) -> String {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
                (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00")
            (data (i32.const 16) "{data}")
            (func (export "_start")
                (i32.store (i32.const 4) (i32.const {}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        text.len()
    )
}

/// Everything that is written below `folder` as text.
fn assert_files_are_harmless(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy();
        let is_ours = name.ends_with(".jsonl") || name.ends_with(".json") || name == "runner.log";
        if entry.file_type().is_file() && is_ours {
            let text = fs_err::read_to_string(entry.path()).unwrap();
            assert_harmless(&name, &text);
        }
    }
}

/// A scenario in which every word that a guest, a test or a person may choose is hostile.
fn hostile_scenario(runner: &Runner) {
    let (text, name) = (toml(&hostile()), toml(NAMED));
    let describes = json!({"ok": {
        "name": hostile(), "version": hostile(), "summary": hostile(), "requests": [hostile(), "net:https://a.example"],
        "config_schema": {"type": "object", "description": hostile()},
    }});
    runner.wat("describes.wasm", &printing(&describes.to_string()));
    runner.scenario(&format!(
        r#"
        name = {name}
        providers.hostile.plugin = "hostile.wasm"
        providers.plain = {{ plugin = "command.wasm", args = ["fail", "{{{{input.text}}}}"] }}
        providers.counter = {{ plugin = "counter.wasm", config.teardown = {text}, config.setup = {text} }}
        [providers.describes]
        plugin = "describes.wasm"
        protocol = "json"
        grants = {{ env = {{ A = {name} }} }}

        [[tests]]
        id = "judge"
        tags = [{name}]
        input = {{ do = "judge", text = {text} }}
        expect = {{ equals = {text} }}
        [[tests]]
        id = "say"
        input = {{ do = "say", text = {text} }}
        expect = {{ equals = "a\nb" }}
        [[tests]]
        id = "error"
        input = {{ do = "error", kind = "internal", code = {text}, message = {text}, text = {text} }}
        [[tests]]
        id = "object"
        input = {{ do = "echo", value = {{ {name} = [{text}] }}, text = {text} }}
        expect = {{ equals = {{ {name} = [1] }} }}
        [[tests]]
        id = "artifact"
        input = {{ do = "artifact", name = {text}, text = {text} }}
        expect = {{ contains = {text} }}
        [[tests]]
        id = "unknown"
        input = {{ do = {text}, text = {text} }}
        expect = {{ matches = "a" }}
        "#
    ));
}

fn folder() -> Runner {
    let runner = Runner::new(&["hostile", "command", "counter"]);
    hostile_scenario(&runner);
    runner
}

#[test]
fn nothing_of_a_run_steers_a_terminal_on_any_way_out() {
    let runner = folder();
    call(&runner, &["validate", "scenario.toml"], 0);
    call(&runner, &["exec", "scenario.toml", "--dry-run"], 0);
    for args in [&["-v"][..], &["--quiet"], &[]] {
        call(&runner, &[&["exec", "scenario.toml"], args].concat(), 1);
    }
    document(
        &runner,
        &["exec", "scenario.toml", "--json"],
        1,
        &[&hostile(), NAMED],
    );
    let reason = ["--reason", NAMED];
    call(&runner, &[&["pin", "latest"], &reason[..]].concat(), 0);

    let hostile = hostile();
    for (args, texts) in [
        (&["show"][..], &[NAMED][..]),
        (&["show", "--failed"], &[&hostile]),
        (&["show", "--trial", "*"], &[&hostile]),
        (&["logs"], &[&hostile]),
        (&["logs", "latest", "*"], &[&hostile]),
        (&["list"], &[NAMED]),
        (&["verify"], &[]),
    ] {
        call(&runner, args, 0);
        document(&runner, &[args, &["--json"]].concat(), 0, texts);
    }
    for args in [
        &["show", "--history"][..],
        &["logs", "--runner"],
        &["reindex"],
    ] {
        call(&runner, args, 0);
    }
    for args in [&["prune", "--keep-last", "0"][..], &["cleanup"]] {
        call(&runner, args, 0);
        document(&runner, &[args, &["--json"]].concat(), 0, &[]);
    }
    call(&runner, &["cancel", "latest", "--reason", NAMED], 2);
    call(
        &runner,
        &[
            "resume",
            "--from",
            "latest",
            "--rerun",
            "failed",
            "--dry-run",
            "--explain",
        ],
        0,
    );
    assert_files_are_harmless(&runner.path("results"));
}

#[test]
fn no_line_of_a_runs_log_is_a_guests() {
    let runner = folder();
    let id = call(&runner, &["exec", "scenario.toml", "--detach"], 0).stdout;
    call(&runner, &["wait", id.trim()], 1);
    let run = runner.only_run();
    let log = run.read("runner.log");
    assert_harmless("runner.log", &log);
    assert!(log.contains("teardown of provider `counter`"), "{log}");
    assert!(log.contains(FORGED), "{log}");
    call(&runner, &["logs", "--runner"], 0);
    assert_files_are_harmless(&run.dir);
}

#[test]
fn nothing_of_a_plugin_steers_a_terminal() {
    let runner = folder();
    call(&runner, &["plugin", "inspect", "describes.wasm"], 0);
    document(
        &runner,
        &["plugin", "inspect", "describes.wasm", "--json"],
        0,
        &[&hostile()],
    );
    call(
        &runner,
        &["plugin", "run", "describes.wasm", "--protocol", "json"],
        1,
    );

    let text = hostile();
    for (input, code) in [
        (json!({"do": "say", "text": text}), 0),
        (
            json!({"do": "error", "kind": "internal", "code": text, "message": text}),
            1,
        ),
        (json!({"do": "judge", "text": text}), 1),
        (json!({"do": "echo", "value": {&text: [&text]}}), 0),
        (json!({"do": text}), 1),
        (json!({"do": "artifact", "name": text}), 0),
    ] {
        let input = input.to_string();
        let args = ["plugin", "run", "hostile.wasm", "--input", &input];
        call(&runner, &args, code);
        call(&runner, &[&args[..], &["--repeat", "2"]].concat(), code);
        document(&runner, &[&args[..], &["--json"]].concat(), code, &[]);
    }
    let input = json!({"do": "judge", "text": text}).to_string();
    let args = ["plugin", "run", "hostile.wasm", "--json", "--input", &input];
    document(&runner, &args, 1, &[&text]);
    let config = json!({"setup": text, "teardown": text}).to_string();
    call(
        &runner,
        &[
            "plugin",
            "run",
            "counter.wasm",
            "--input",
            "{}",
            "--config",
            &config,
        ],
        0,
    );
}

#[test]
fn nothing_that_the_host_calls_something_steers_a_terminal() {
    let runner = folder();
    let file = format!("{NAMED}.toml");
    let plugin = format!("{NAMED}.wasm");
    std::os::unix::fs::symlink(guest("hostile"), runner.path(&plugin)).unwrap();
    runner.write(NAMED, "");
    runner.write(
        &format!("{NAMED}.jsonl"),
        "{\"id\": \"a\", \"input\": {\"do\": \"loop\"}}\n{\n",
    );
    let write = |text: &str| runner.write(&file, text);

    write(&format!(
        "providers.a.plugin = {}\n[[tests]]\nid = \"a\"\ninput.do = \"trap\"\n",
        toml(&plugin)
    ));
    call(&runner, &["validate", &file], 0);
    call(&runner, &["exec", &file, "--results", NAMED], 7);
    let results = format!("{NAMED}-results");
    call(&runner, &["exec", &file, "--results", &results], 1);
    call(&runner, &["exec", &file, "--results", &results, "-v"], 1);
    for command in [
        &["list"][..],
        &["show"],
        &["logs"],
        &["verify"],
        &["resume", "--from", "latest"],
    ] {
        let code = if command[0] == "resume" { 1 } else { 0 };
        call(&runner, &[command, &["--results", &results]].concat(), code);
        let args = [command, &["--results", &results, "--json"]].concat();
        document(&runner, &args, code, &[]);
    }
    call(
        &runner,
        &[
            "resume",
            "--from",
            "latest",
            "--rerun",
            "failed",
            "--results",
            &results,
        ],
        1,
    );
    call(
        &runner,
        &["list", "--results", &format!("{results}/none")],
        0,
    );

    for bad in [
        format!(
            "tests = {}\nproviders.a.plugin = \"hostile.wasm\"",
            toml(&format!("{NAMED}.jsonl"))
        ),
        format!("{} = 1", toml(NAMED)),
        format!("providers.{}.plugin = \"hostile.wasm\"", toml(NAMED)),
        format!(
            "[[tests]]\nid = {}\ninput = 1\nproviders.a.plugin = \"b\"",
            toml(NAMED)
        ),
        format!(
            "providers.a.plugin = {}\n[[tests]]\nid = \"a\"\ninput = 1",
            toml(&hostile())
        ),
        format!("# {NAMED}\n{NAMED} = "),
    ] {
        write(&bad);
        call(&runner, &["validate", &file], 2);
        call(&runner, &["exec", &file], 2);
    }
    for args in [
        &[NAMED][..],
        &["exec", NAMED, NAMED],
        &["exec", "scenario.toml", "-j", NAMED],
        &["exec", "scenario.toml", &format!("--{NAMED}")],
        &["show", NAMED],
        &["stop", NAMED],
        &["plugin", "inspect", &format!("{NAMED}/none.wasm")],
        &["plugin", "run", "hostile.wasm", "--input", NAMED],
        &["plugin", "run", "hostile.wasm", "--grant", NAMED],
        &[
            "plugin",
            "run",
            "hostile.wasm",
            "--grant",
            &format!("fs={NAMED}:/a"),
        ],
        &["plugin", "new", NAMED],
        &["plugin", "build", NAMED],
    ] {
        call(&runner, args, 2);
    }
    call(&runner, &["exec", "scenario.toml", "--test", NAMED], 2);
    let glob = NAMED.replace('[', "");
    call(&runner, &["exec", "scenario.toml", "--test", &glob], 5);
    call(
        &runner,
        &["exec", "scenario.toml", "--tag", NAMED, "--dry-run"],
        0,
    );
    told(
        &runner,
        &["plugin", "new", "--lang", "c", &format!("{NAMED}-new")],
    );
    assert_files_are_harmless(&runner.path(&results));
}
