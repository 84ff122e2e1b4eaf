//! `runner plugin run`: what an author is told of a call, and what is left of it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
};

use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};

use super::{call, document, hostile};
use crate::support::{
    masks::masked,
    runner::{Runner, Signal},
};

/// A program that writes a line to standard error and then never ends.
const SAYS_AND_LOOPS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\07\00\00\00" "so far\0a")
    (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 100)))
        (loop $forever (br $forever))))"#;

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
