//! `runner plugin inspect` and `runner plugin run`.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
};

use regex::Regex;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};

use crate::support::{
    files::paths,
    runner::{CommandExt as _, Ran, Runner, Signal},
};

/// A program that writes a line to standard error and then never ends.
const SAYS_AND_LOOPS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\07\00\00\00" "so far\0a")
    (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 100)))
        (loop $forever (br $forever))))"#;

fn call(runner: &Runner, plugin: &str, args: &[&str]) -> Ran {
    runner.run(&[&["plugin", "run", plugin], args].concat())
}

/// Calls the hostile guest and expects this exit code.
#[track_caller]
fn hostile(input: &Value, args: &[&str], code: i32) -> Ran {
    let runner = Runner::new(&["hostile"]);
    let input = input.to_string();
    let args = [&["--input", &input], args].concat();
    call(&runner, "hostile.wasm", &args).expect(code)
}

/// The document of a call of the hostile guest.
#[track_caller]
fn document(input: &Value, args: &[&str], code: i32) -> Value {
    let ran = hostile(input, &[&["--json"], args].concat(), code);
    assert_eq!(ran.stderr, "");
    ran.document()
}

/// A text without what differs from machine to machine.
fn masked(text: &str) -> String {
    let masks = [
        (r"[0-9a-f]{64}", "[sha256]"),
        (r"\b[0-9.]+ (µs|ms|s)\b", "[time]"),
        (r"\b[0-9.]+ [KM]iB", "[size]"),
        (r"(from the cache|compiled anew)", "[loaded]"),
        (r"(wasi:\w+)@0\.2\.\d+", "$1@[wasi]"),
        (r"lib\.rs:\d+:\d+", "lib.rs:[place]"),
    ];
    masks.iter().fold(text.to_owned(), |text, (pattern, mask)| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(&text, *mask).into_owned()
    })
}

/// What `inspect` prints of a file that cannot be used; `says` is why.
#[track_caller]
fn inspect_bad(runner: &Runner, file: &str, says: &str) -> String {
    let ran = runner.run(&["plugin", "inspect", file]).expect(2);
    ran.says(&[says]);
    let json = runner.run(&["plugin", "inspect", file, "--json"]).expect(2);
    let document = json.document();
    assert!(document["problem"].as_str().unwrap().contains(says));
    masked(&ran.stdout)
}

#[test]
fn inspect_shows_what_a_component_is_and_needs() {
    let runner = Runner::new(&["hostile", "units"]);
    let ran = runner.run(&["plugin", "inspect", "hostile.wasm"]).expect(0);
    assert!(ran.stdout.contains("\nrequests  net:https://example.com\n"));

    let ran = runner.run(&["plugin", "inspect", "units.wasm"]).expect(0);
    assert_eq!(ran.stderr, "");
    let (known, schemas) = ran.stdout.split_once("\n\nschema of its config\n").unwrap();
    assert!(schemas.contains("\n\nschema of its input\n{\n"));
    insta::assert_snapshot!(masked(known), @r#"
    units.wasm
    kind      component of contract 0.1.0
    name      units 0.1.0
    summary   Converts between units of length, mass and temperature
    size      [size]
    compiled  [size] in [time], [loaded]
    sha256    [sha256]
    imports   runner:provider@0.1.0: types
              wasi:io@[wasi]: poll, error, streams
              wasi:cli@[wasi]: environment, exit, stdin, stdout, stderr,
                terminal-input, terminal-output, terminal-stdin, terminal-stdout,
                terminal-stderr
    exports   runner:provider/provider@0.1.0
    "#);
}

#[test]
fn inspect_prints_one_document() {
    let runner = Runner::new(&["units"]);
    let ran = runner.run(&["plugin", "inspect", "units.wasm", "--json"]);
    let mut document = ran.expect(0).document();
    assert_eq!(document["description"]["input_schema"]["type"], "object");
    let bytes = fs_err::metadata(runner.path("units.wasm")).unwrap().len();
    assert_eq!(document["size"], bytes);
    assert!(document["compiled"]["size"].as_u64().unwrap() > bytes);
    for varies in ["size", "sha256", "compiled", "imports"] {
        document[varies] = json!("…");
    }
    document["description"]["input_schema"] = json!("…");
    document["description"]["config_schema"] = json!("…");
    insta::assert_json_snapshot!(document, @r#"
    {
      "compiled": "…",
      "contract": "0.1.0",
      "description": {
        "config_schema": "…",
        "input_schema": "…",
        "name": "units",
        "requests": [],
        "summary": "Converts between units of length, mass and temperature",
        "version": "0.1.0"
      },
      "exports": [
        "runner:provider/provider@0.1.0"
      ],
      "file": "units.wasm",
      "form": null,
      "imports": "…",
      "kind": "component",
      "lifecycle": false,
      "problem": null,
      "protocol": null,
      "sha256": "…",
      "size": "…",
      "v": 1
    }
    "#);
}

#[test]
fn inspect_tells_commands_by_their_form_and_protocol() {
    let runner = Runner::new(&["command"]);
    let ran = runner.run(&["plugin", "inspect", "command.wasm"]).expect(0);
    assert!(
        ran.stdout
            .contains("\nkind      command (component of WASI 0.2)\nprotocol  json\n")
    );
    assert!(ran.stdout.contains("\nname      command 0.1.0\n"));

    runner.wat("plain.wasm", r#"(module (func (export "_start")))"#);
    let ran = runner.run(&["plugin", "inspect", "plain.wasm"]).expect(0);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    plain.wasm
    kind      command (module of WASI preview 1)
    protocol  plain: it does not describe itself
    size      36 B
    compiled  [size] in [time], [loaded]
    sha256    [sha256]
    exports   _start
    "#);
}

#[test]
fn inspect_shows_what_is_known_of_files_that_cannot_be_used() {
    let runner = Runner::new(&[]);
    runner.write("text.wasm", "#!/bin/sh\n");
    insta::assert_snapshot!(inspect_bad(&runner, "text.wasm", "is not WASM"), @r#"
    text.wasm
    kind      no WASM
    size      10 B
    sha256    [sha256]
    "#);

    runner.wat("library.wasm", r#"(module (func (export "add")))"#);
    let says = "is a module without `_start`";
    insta::assert_snapshot!(inspect_bad(&runner, "library.wasm", says), @r#"
    library.wasm
    kind      module, but no plugin
    size      33 B
    sha256    [sha256]
    exports   add
    "#);

    runner.wat(
        "newer.wasm",
        r#"(component (instance $i) (export "runner:provider/provider@0.2.0" (instance $i)))"#,
    );
    let says = "is built for version 0.2.0 of the contract `runner:provider`, and this runner speaks 0.1.0";
    insta::assert_snapshot!(inspect_bad(&runner, "newer.wasm", says), @r#"
    newer.wasm
    kind      component of contract 0.2.0; this runner speaks 0.1.0
    size      75 B
    sha256    [sha256]
    exports   runner:provider/provider@0.2.0
    "#);

    runner.wat(
        "needy.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (import "env" "gpu" (func))
            (import "env" "gpu" (func))
            (func (export "_start")))"#,
    );
    let says = "needs what this runner does not offer: `env::gpu`";
    insta::assert_snapshot!(inspect_bad(&runner, "needy.wasm", says), @r#"
    needy.wasm
    kind      command (module of WASI preview 1)
    size      98 B
    sha256    [sha256]
    imports   wasi_snapshot_preview1: proc_exit
    missing   env: gpu
    exports   _start
    "#);

    runner
        .run(&["plugin", "inspect", "nowhere.wasm"])
        .expect(2)
        .says(&["plugin `nowhere.wasm` does not exist"]);
}

#[test]
fn inspect_reads_nothing_that_may_never_end() {
    let runner = Runner::new(&[]);
    let script = "mkfifo pipe.wasm; truncate -s 65M large.wasm";
    assert!(runner.shell(script).status().unwrap().success());
    for (file, says) in [
        ("/dev/zero", "plugin `/dev/zero` is not a regular file"),
        ("pipe.wasm", "plugin `pipe.wasm` is not a regular file"),
        (
            "large.wasm",
            "plugin `large.wasm` is larger than `limits.file`",
        ),
    ] {
        let ran = runner.run(&["plugin", "inspect", file]).expect(2);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_folder_stands_for_what_was_built_in_it() {
    let runner = Runner::new(&[]);
    runner.write(
        "mine/plugin.toml",
        "name = \"mine\"\nlanguage = \"rust\"\nkind = \"command\"\n",
    );
    for command in ["inspect", "run"] {
        let ran = runner.run(&["plugin", command, "mine"]).expect(2);
        ran.says(&[
            "plugin `mine` is not built",
            "`runner plugin build mine` builds it",
        ]);
    }
    runner.wat(
        "mine/dist/plugin.wasm",
        r#"(module (func (export "_start")))"#,
    );
    let ran = runner.run(&["plugin", "run", "mine"]).expect(0);
    ran.says(&[
        "plugin `mine` was not built from what is in its folder now; `runner plugin build mine` builds it anew",
    ]);
}

#[test]
fn a_reply_is_data_and_the_rest_is_talk() {
    let runner = Runner::new(&["units"]);
    let input = r#"{"from": "km", "to": "mi", "value": 42}"#;
    let args = ["--input", input, "--config", r#"{"decimals": 2}"#];
    let ran = call(&runner, "units.wasm", &args).expect(0);
    assert_eq!(ran.stdout, "{\n  \"value\": 26.1\n}\n");
    insta::assert_snapshot!(masked(&ran.stderr), @r#"
    ✓ passed in [time]
    time      load [time], [loaded]; instantiate [time]; call [time]
    memory    [size] at most
    host      0 calls, 0 HTTP requests, 48 B in, 14 B out
    "#);
}

#[test]
fn values_come_from_files_and_from_standard_input() {
    let runner = Runner::new(&["units", "command"]);
    runner.write("input.json", r#"{"from": "m", "to": "m", "value": 3}"#);
    let ran = call(&runner, "units.wasm", &["--input", "@input.json"]).expect(0);
    assert_eq!(ran.stdout, "{\n  \"value\": 3.0\n}\n");

    let from_stdin = |plugin: &str, args: &[&str]| {
        runner
            .command(&[&["plugin", "run", plugin], args].concat())
            .stdin(
                fs_err::File::open(runner.path("input.json"))
                    .unwrap()
                    .into_parts()
                    .0,
            )
            .run()
            .expect(0)
            .stdout
    };
    assert_eq!(from_stdin("units.wasm", &["--input", "-"]), ran.stdout);
    let text = fs_err::read_to_string(runner.path("input.json")).unwrap();
    let cat = from_stdin("command.wasm", &["--stdin", "-", "--", "cat"]);
    assert_eq!(cat, text);

    call(&runner, "units.wasm", &["--input", "-", "--config", "-"])
        .expect(2)
        .says(&["standard input can be read only once"]);
}

#[test]
fn wrong_arguments_are_refused_before_anything_runs() {
    let runner = Runner::new(&["units", "command"]);
    let refused = |plugin: &str, args: &[&str], says: &[&str]| {
        let ran = call(&runner, plugin, args).expect(2);
        ran.says(says);
        assert_eq!(ran.stdout, "");
    };
    let units = |args: &[&str], says: &[&str]| refused("units.wasm", args, says);
    units(
        &["--input", "hello"],
        &["`--input` is not valid JSON", "--input '\"hello\"'"],
    );
    units(
        &["--input", "@nowhere.json"],
        &["`--input`", "nowhere.json"],
    );
    units(&["--config", "[]"], &["`--config` is an object"]);
    let typo = r#"{"form": "km", "to": "mi", "value": 1}"#;
    units(
        &["--input", typo],
        &[
            "the input does not fit its schema",
            "'form' was unexpected",
            "runner plugin inspect",
        ],
    );
    let good = r#"{"from": "km", "to": "mi", "value": 1}"#;
    units(
        &["--input", good, "--config", r#"{"decimals": 16}"#],
        &["its `config` does not fit", "(at `/decimals`)"],
    );
    units(&["--limit", "memori=1"], &["there is no limit `memori`"]);
    units(
        &["--grant", "net=*"],
        &["`--grant net=*` is not understood", "secret=API_KEY"],
    );
    units(&["--grant", "fs=.:/work:rw"], &["`--limit scratch=16MiB`"]);
    units(
        &["--stdin", "x"],
        &["`--stdin` is for commands, and `units.wasm` is a component"],
    );
    units(&["--", "x"], &["arguments behind `--` are for commands"]);
    units(&["--timeout", "0s"], &["it cannot be zero"]);
    units(&["--protocol", "json"], &["`units.wasm` is a component"]);
    units(&["--file", "x"], &["--file NAME=PATH"]);
    refused(
        "command.wasm",
        &["--protocol", "json", "--", "x"],
        &["arguments behind `--` are for plain commands"],
    );
    refused(
        "command.wasm",
        &["--", "{{input.x}}"],
        &["there is no `input.x`"],
    );
    refused(
        "nowhere.wasm",
        &[],
        &["plugin `nowhere.wasm` does not exist"],
    );
}

#[test]
fn commands_are_called_by_either_protocol() {
    let runner = Runner::new(&["command"]);
    let args = [
        "--input",
        r#"{"text": "hi"}"#,
        "--",
        "say",
        "{{input.text}}!",
    ];
    assert_eq!(call(&runner, "command.wasm", &args).expect(0).stdout, "hi!");
    let args = ["--output", "json", "--", "say", "[1]"];
    assert_eq!(
        call(&runner, "command.wasm", &args).expect(0).stdout,
        "[\n  1\n]\n"
    );
    let ran = call(&runner, "command.wasm", &["--", "fail", "its last words"]).expect(1);
    ran.says(&[
        "✗ failed",
        "exit_code: expected exit code 0, got 1",
        "stderr its last words",
    ]);

    let args = ["--protocol", "json", "--input", r#"{"do": "log"}"#];
    let ran = call(&runner, "command.wasm", &args).expect(0);
    ran.says(&["warn careful n=1 s=x info just text", "- skipped"]);
    assert!(!ran.stderr.contains("answers to the JSON protocol"));
}

#[test]
fn a_command_that_answers_to_the_json_protocol_is_called_by_it() {
    let runner = Runner::new(&["command"]);
    let args = ["--input", r#"{"do": "test"}"#];
    let ran = call(&runner, "command.wasm", &args).expect(0);
    ran.says(&["it answers to the JSON protocol", "`--protocol plain`"]);
    let output = ran.document();
    assert_eq!(output["input"], json!({"do": "test"}));

    let ran = call(&runner, "command.wasm", &[&args[..], &["--json"]].concat()).expect(0);
    assert_eq!(ran.stderr, "");
    let document = ran.document();
    assert_eq!(document["output"], output);
}

#[test]
fn a_value_that_a_plain_call_has_no_use_for_is_refused() {
    let runner = Runner::new(&["command"]);
    runner.wat("plain.wasm", r#"(module (func (export "_start")))"#);
    call(&runner, "plain.wasm", &[]).expect(0);
    let refused = |plugin: &str, args: &[&str], flag: &str| {
        let ran = call(&runner, plugin, args).expect(2);
        let says = format!("the plain call has no use for `{flag}`");
        ran.says(&[&says, "`--protocol json`"]);
        assert_eq!(ran.stdout, "");
    };
    let input = ["--input", r#"{"text": "hi"}"#];
    refused("plain.wasm", &input, "--input");
    refused("plain.wasm", &["--config", "{}"], "--config");
    let plain = ["--protocol", "plain"];
    refused("command.wasm", &[&input[..], &plain].concat(), "--input");
    let said = ["--", "say", "{{config}}"];
    refused("command.wasm", &[&input[..], &said].concat(), "--input");

    let variable = ["--grant", "env=TEXT={{input.text}}", "--", "env", "TEXT"];
    let ran = call(&runner, "command.wasm", &[&input[..], &variable].concat());
    assert_eq!(ran.expect(0).stdout, "hi");
}

#[test]
fn a_command_that_gives_up_over_denied_memory_names_the_limit() {
    let runner = Runner::new(&["command"]);
    let hoard = |args: &[&str]| {
        let args = [&["--limit", "memory=16MiB"], args].concat();
        call(&runner, "command.wasm", &args).expect(1)
    };
    hoard(&["--protocol", "json", "--input", r#"{"do": "hoard"}"#]).says(&[
        "error out-of-memory memory",
        "`limits.memory` is 16.0 MiB",
        "info memory allocation failed",
    ]);
    hoard(&["--", "hoard"]).says(&[
        "expected exit code 0, got 1; the guest asked for",
        "`limits.memory` is 16.0 MiB",
    ]);
    let ran = call(&runner, "command.wasm", &["--", "fail", "x"]).expect(1);
    assert!(!ran.stderr.contains("limits.memory"), "{}", ran.stderr);
}

#[test]
fn an_author_sees_why_a_call_went_wrong() {
    let ran = hostile(&json!({"do": "panic"}), &[], 1);
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(masked(&ran.stderr), @r#"
    requested, and not granted: net:https://example.com; `--grant net=https://example.com` grants it
    stderr   thread '<unnamed>' (1) panicked at tests/guests/hostile/src/lib.rs:[place]:
    stderr   the guest's own words
    stderr   note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    ✗ error in [time]
    error     trap unreachable-code-reached
              the guest trapped: wasm `unreachable` instruction executed
    time      load [time], [loaded]; instantiate [time]; call [time]
    memory    [size] at most
    host      0 calls, 0 HTTP requests, 16 B in, 0 B out
    "#);

    let ran = hostile(&json!({"do": "loop"}), &["--timeout", "200ms"], 1);
    ran.says(&[
        "⧖ timeout",
        "no reply within 200ms, set by the attempt's `timeout = \"200ms\"`",
    ]);
    let ran = hostile(&json!({"do": "loop"}), &["--limit", "time=100ms"], 1);
    ran.says(&["no reply within 100ms, set by `--limit time=100ms`"]);
    let ran = hostile(
        &json!({"do": "grow-memory"}),
        &["--limit", "memory=8MiB"],
        1,
    );
    ran.says(&["error out-of-memory memory", "`limits.memory` is 8.0 MiB"]);
    let error =
        json!({"do": "error", "kind": "rate-limited", "code": "quota", "message": "slow down"});
    hostile(&error, &[], 1).says(&["error rate-limited quota slow down"]);
    let ran = hostile(&json!({"do": "judge"}), &[], 1);
    assert_eq!(ran.stdout, "\"judged\"\n");
    ran.says(&[
        "✗ failed",
        "summary not good",
        "check ✗ style: too long (score 0.5)",
        "metric length 3 lines",
    ]);
}

#[test]
fn a_denied_call_says_what_would_grant_it() {
    let ran = hostile(&json!({"do": "secret"}), &[], 0);
    ran.says(&[
        "denied the secret `KEY`",
        "--grant secret=KEY",
        "secrets = [\"KEY\"]",
    ]);
    let document = document(&json!({"do": "secret"}), &[], 0);
    assert_eq!(
        document["denied"],
        json!([{"what": "the secret `KEY`", "grant": "secrets = [\"KEY\"]", "flags": ["secret=KEY"]}])
    );
}

#[test]
fn a_granted_secret_is_handed_out_and_not_shown() {
    let runner = Runner::new(&["hostile"]);
    let input = r#"{"do": "secret"}"#;
    let args = ["--input", input, "--grant", "secret=KEY"];
    call(&runner, "hostile.wasm", &args)
        .expect(2)
        .says(&["secret `KEY` has no value"]);

    runner.write("secrets", "KEY=correct-horse-battery\n");
    let args = [&args[..], &["--secret-file", "secrets"]].concat();
    let ran = call(&runner, "hostile.wasm", &args).expect(0);
    assert_eq!(ran.stdout, "\"[secret KEY]\"\n");
    assert!(!ran.stderr.contains("denied"), "{}", ran.stderr);
}

#[test]
fn a_call_is_one_document() {
    let mut document = document(&json!({"do": "judge"}), &["--repeat", "3"], 1);
    for time in ["load_ms", "instantiate_ms", "call_ms"] {
        assert!(document["times"][time].as_f64().unwrap() > 0.0, "{time}");
        document["times"][time] = json!("…");
    }
    for varies in ["instantiate_ms", "call_ms"] {
        document["repeats"][varies] = json!("…");
    }
    document["times"]["cached"] = json!("…");
    document["usage"]["peak_memory"] = json!("…");
    insta::assert_json_snapshot!(document, @r#"
    {
      "artifacts": [],
      "checks": [
        {
          "details": {
            "lines": 3
          },
          "message": "too long",
          "name": "style",
          "score": 0.5,
          "verdict": "fail"
        }
      ],
      "denied": [],
      "error": null,
      "file": "hostile.wasm",
      "log": [],
      "metrics": [
        {
          "name": "length",
          "unit": "lines",
          "value": 3.0
        }
      ],
      "outcome": "failed",
      "output": "judged",
      "repeats": {
        "call_ms": "…",
        "count": 1,
        "instantiate_ms": "…"
      },
      "score": 0.25,
      "stderr": "",
      "stdout": "",
      "summary": "not good",
      "times": {
        "cached": "…",
        "call_ms": "…",
        "instantiate_ms": "…",
        "load_ms": "…"
      },
      "usage": {
        "bytes_in": 16,
        "bytes_out": 51,
        "fuel": null,
        "host_calls": 0,
        "http_requests": 0,
        "peak_memory": "…"
      },
      "v": 1
    }
    "#);
}

#[test]
fn calls_are_repeated_until_one_does_not_do_well() {
    let ran = hostile(&json!({"do": "echo", "value": 1}), &["--repeat", "4"], 0);
    ran.says(&["4 calls least median most"]);
    let input = json!({"do": "fail-at", "repeat": 3});
    let document = document(&input, &["--repeat", "5"], 1);
    assert_eq!(document["repeats"]["count"], 3);
    assert_eq!(document["error"]["code"], "not-now");

    // What is shown is of the call that is shown.
    let ran = hostile(&input, &["--repeat", "5"], 1);
    ran.says(&[
        "call 3 of 5 said: stderr this is call 3",
        "unavailable not-now",
    ]);
    for other in ["this is call 1", "this is call 2"] {
        assert!(!ran.stderr.contains(other), "{}", ran.stderr);
    }
}

#[test]
fn fuel_is_counted_where_it_is_asked_for_and_is_the_same_each_time() {
    let fuel = |args: &[&str]| {
        let document = document(&json!({"do": "echo", "value": [1, 2]}), args, 0);
        document["usage"]["fuel"].clone()
    };
    let burnt = fuel(&["--fuel"]);
    assert!(burnt.as_u64().unwrap() > 1_000, "{burnt}");
    assert_eq!(fuel(&["--fuel"]), burnt);
    assert_eq!(fuel(&[]), Value::Null);
}

#[test]
fn artifacts_are_written_where_somebody_asks_for_them() {
    let runner = Runner::new(&["hostile"]);
    let input = r#"{"do": "artifact", "name": "report.txt"}"#;
    let ran = call(&runner, "hostile.wasm", &["--input", input]).expect(0);
    ran.says(&["artifact report.txt, text/plain, 7 B"]);
    assert!(!runner.path("report.txt").exists());
    let args = ["--input", input, "--artifacts", "out"];
    call(&runner, "hostile.wasm", &args).expect(0);
    let text = fs_err::read_to_string(runner.path("out/report.txt")).unwrap();
    assert_eq!(text, "one two");

    // Nothing that is there is written to, nor what a link there leads to.
    runner.write("victim", "mine");
    fs_err::remove_file(runner.path("out/report.txt")).unwrap();
    std::os::unix::fs::symlink("../victim", runner.path("out/report.txt")).unwrap();
    let ran = call(&runner, "hostile.wasm", &args).expect(7);
    ran.says(&["cannot write the artifacts", "out/report.txt"]);
    let text = fs_err::read_to_string(runner.path("victim")).unwrap();
    assert_eq!(text, "mine");
}

#[test]
fn artifacts_that_cannot_be_written_cost_no_reply() {
    let runner = Runner::new(&["hostile"]);
    runner.write("file", "");
    let input = r#"{"do": "artifact", "name": "report.txt"}"#;
    let args = ["--input", input, "--artifacts", "file"];
    let ran = call(&runner, "hostile.wasm", &args).expect(2);
    ran.says(&["`--artifacts`"]);
    assert!(!ran.stderr.contains("passed"), "{}", ran.stderr);

    runner.write("out/report.txt/in-the-way", "");
    let args = ["--input", input, "--artifacts", "out"];
    let ran = call(&runner, "hostile.wasm", &args).expect(7);
    assert_eq!(ran.stdout, "[\n  null,\n  null\n]\n");
    ran.says(&["✓ passed", "cannot write the artifacts"]);
    let args = [&args[..], &["--json"]].concat();
    let ran = call(&runner, "hostile.wasm", &args).expect(7);
    let document = ran.document();
    assert_eq!(document["artifacts"][0]["path"], Value::Null);
}

#[test]
fn an_attachment_has_the_name_of_a_file_and_has_it_alone() {
    let runner = Runner::new(&["command"]);
    runner.write("tmp/file", "x");
    let before = paths(&runner.path(""));
    for name in [
        "../../evil",
        "../evil",
        "a/b",
        "/evil",
        "",
        ".",
        "..",
        "a\\b",
    ] {
        let file = format!("{name}=tmp/file");
        let args = ["--file", &file, "--", "say", "hi"];
        let mut command = runner.command(&[&["plugin", "run", "command.wasm"], &args[..]].concat());
        // Where a call's own files are made.
        command.env("TMPDIR", runner.path("tmp"));
        let ran = command.run().expect(2);
        ran.says(&["attachments have the names of files"]);
    }
    assert_eq!(paths(&runner.path("")), before);
    let args = [
        "--file",
        "a=tmp/file",
        "--file",
        "a=tmp/file",
        "--",
        "say",
        "hi",
    ];
    call(&runner, "command.wasm", &args)
        .expect(2)
        .says(&["two `--file` are called `a`"]);
}

#[test]
fn grants_mean_what_they_mean_in_a_scenario() {
    let runner = Runner::new(&["command"]);
    let refused = |args: &[&str], says: &str| {
        let ran = call(&runner, "command.wasm", args).expect(2);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    };
    refused(
        &["--grant", "fs=.:/data", "--grant", "fs=.:/data"],
        "two folders are mounted at `/data`",
    );
    refused(
        &["--grant", "env=A=1", "--grant", "env=A=2"],
        "the variable `A` has a value already",
    );
    refused(&["--grant", "env=A={{row.x}}"], "begins with `row`");
    refused(&["--grant", "env=A={{secret.a.b}}"], "names no secret");
    refused(
        &["--grant", "env=A={{input.x}}"],
        "there is no `input.x`, which `env.A` needs",
    );
    let nul = r#"{"x": "a\u0000b"}"#;
    refused(
        &["--input", nul, "--grant", "env=A={{input.x}}"],
        "`env.A` cannot have a NUL in its value",
    );
    refused(
        &["--input", nul, "--", "say", "{{input.x}}"],
        "an argument cannot have a NUL in it",
    );
    let args = [
        "--input",
        r#"{"x": 1}"#,
        "--grant",
        "env=A={{input.x}}!",
        "--",
        "env",
        "A",
    ];
    assert_eq!(call(&runner, "command.wasm", &args).expect(0).stdout, "1!");

    runner.scenario(
        r#"
        providers.plain = { plugin = "command.wasm", args = ["say", "{{input.x}}"] }
        [[tests]]
        id = "nul"
        input = { x = "a\u0000b" }
        "#,
    );
    runner.refused(
        &[],
        &["test `nul` has a NUL in `input.x`, which `args[1]` of provider `plain`"],
    );
}

#[test]
fn attachments_have_names_and_types() {
    let runner = Runner::new(&["hostile"]);
    runner.write("table.csv", "a,b\n");
    let args = [
        "--input",
        r#"{"do": "names"}"#,
        "--file",
        "data.csv=table.csv",
    ];
    let ran = call(&runner, "hostile.wasm", &args).expect(0);
    let names = ran.document();
    assert_eq!(names, json!([["data.csv", "text/csv", 4]]));
}

/// A call whose plugin goes on until it is interrupted.
struct Endless {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Endless {
    fn start(runner: &Runner, args: &[&str]) -> Self {
        let mut command = runner.command(&[&["plugin", "run"], args].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The next line that it prints; nothing if its own deadline has ended it.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    fn end_by(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        self.child.wait().unwrap().code()
    }
}

#[test]
fn what_a_guest_says_is_shown_as_it_comes_and_ctrl_c_ends_it() {
    let runner = Runner::new(&["hostile"]);
    runner.wat("loops.wasm", SAYS_AND_LOOPS);
    let mut running = Endless::start(&runner, &["loops.wasm", "--protocol", "plain"]);
    assert_eq!(running.line(), "stderr   so far\n");
    assert_eq!(running.end_by(Signal::INT), Some(130));

    let input = r#"{"do": "log", "ms": 600000}"#;
    let mut running = Endless::start(&runner, &["hostile.wasm", "--input", input]);
    assert_eq!(
        running.line(),
        "requested, and not granted: net:https://example.com; `--grant net=https://example.com` grants it\n"
    );
    assert_eq!(running.line(), "warn     careful key=value\n");
    assert_eq!(running.line(), "progress 50 % half way\n");
    assert_eq!(running.end_by(Signal::TERM), Some(143));
}
