//! Calls that end by themselves: inputs, outputs and denied imports.

use runner_model::ErrorClass;
use runner_model::provider::{OutputForm, Protocol};

use super::support::{Bench, error, guests, output, run_fresh};
use crate::{Call, CommandCall, Ending};

/// A command's function that writes `$length` bytes from `$from` to a stream.
const WRITE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $write (param $stream i32) (param $from i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
"#;

/// Returns a command that writes these texts, which WAT can hold, and exits.
fn printing(stdout: &str, stderr: &str, exit: i32) -> String {
    let length = |text: &str| text.replace("\\n", "n").replace("\\\"", "\"").len();
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             {WRITE}
             (data (i32.const 100) "{stdout}") (data (i32.const 1000) "{stderr}")
             (func (export "_start")
               (call $write (i32.const 1) (i32.const 100) (i32.const {}))
               (call $write (i32.const 2) (i32.const 1000) (i32.const {}))
               (call $exit (i32.const {exit}))))"#,
        length(stdout),
        length(stderr)
    )
}

#[test]
fn the_bundled_echo_answers_with_its_input() {
    let bench = Bench::new();
    let echo = bench.bundled("echo");
    let input = r#"{"a":[1,2.5,"ü"]}"#;
    let ended = bench.run(&echo, input);
    assert_eq!(output(&ended), input);
    assert_eq!(ended.usage.bytes_in, input.len() as u64 + 2);
    assert_eq!(ended.usage.bytes_out, input.len() as u64);
    assert!(ended.usage.peak_memory > 0 && ended.said.is_empty());
}

#[test]
fn plugins_describe_themselves() {
    let bench = Bench::new();
    let describe = |plugin: &crate::Plugin, protocol| {
        let described = plugin.describe(protocol, &bench.limits);
        bench.runtime.block_on(described)
    };
    let units = bench.bundled("units");
    let said = describe(&units, Protocol::Plain).unwrap().unwrap();
    assert_eq!(said.name, "units");
    assert!(said.config_schema.is_some() && said.input_schema.is_some());

    let json = r#"{\"ok\":{\"name\":\"n\",\"version\":\"1\",\"summary\":\"s\"}}"#;
    let command = bench.text(&printing(json, "", 0));
    let said = describe(&command, Protocol::Json).unwrap().unwrap();
    assert_eq!((&*said.name, &*said.version), ("n", "1"));
    assert_eq!(describe(&command, Protocol::Plain).unwrap(), None);
    let broken = bench.text(&printing("", "why", 3));
    let error = describe(&broken, Protocol::Json).unwrap_err();
    assert_eq!(&*error.code, "exit-3");
    assert_eq!(error.stderr.as_deref(), Some("why"));
}

#[test]
fn command_output_is_read_by_its_form() {
    let bench = Bench::new();
    let said = bench.text(&printing(" {\\\"a\\\": 1}\\n", "words\\n", 0));
    for (form, expected) in [
        (OutputForm::Text, r#"" {\"a\": 1}\n""#),
        (OutputForm::Trimmed, r#""{\"a\": 1}""#),
        (OutputForm::Json, r#"{"a":1}"#),
    ] {
        let ended = bench.plain(&said, form);
        assert_eq!(output(&ended), expected);
        assert_eq!((&*ended.said.stdout, &*ended.said.stderr), ("", "words\n"));
    }
    let failing = bench.plain(&bench.text(&printing("", "", 7)), OutputForm::Json);
    let Ending::Reply(reply) = failing.ending else {
        panic!("{failing:?}");
    };
    assert_eq!((reply.output.get(), reply.exit_code), ("null", Some(7)));
    let broken = bench.plain(&bench.text(&printing("{", "", 0)), OutputForm::Json);
    let Ending::Error(error) = broken.ending else { panic!("{broken:?}") };
    assert_eq!((error.class, &*error.code), (Some(ErrorClass::Protocol), "json"));
    assert_eq!(error.excerpt.as_deref(), Some("{"));
}

#[test]
fn command_gets_arguments_and_standard_input() {
    let bench = Bench::new();
    // Writes its arguments, with commas for zero bytes, and its standard input.
    let cat = bench.text(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
             {WRITE}
             (func (export "_start") (local $at i32)
               (drop (call $args (i32.const 100) (i32.const 200)))
               (loop $next
                 (if (i32.eqz (i32.load8_u offset=200 (local.get $at)))
                   (then (i32.store8 offset=200 (local.get $at) (i32.const 0x2c))))
                 (local.set $at (i32.add (local.get $at) (i32.const 1)))
                 (br_if $next (i32.lt_u (local.get $at) (i32.const 17))))
               (call $write (i32.const 1) (i32.const 200) (i32.const 17))
               (i32.store (i32.const 0) (i32.const 300))
               (i32.store (i32.const 4) (i32.const 100))
               (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
               (call $write (i32.const 1) (i32.const 300) (i32.load (i32.const 8)))))"#
    ));
    let ended = bench.plain(&cat, OutputForm::Text);
    assert_eq!(output(&ended), r#""program.wasm,a,b,in""#);
    assert_eq!(ended.usage.bytes_in, 2);
}

#[test]
fn json_command_gets_the_whole_test() {
    let bench = Bench::new();
    // As a preview 1 module and as a component.
    for guest in guests::programs("command") {
        let command = bench.guest(&guest);
        let tags = ["smoke".to_owned()];
        let call = Call {
            command: Some(CommandCall {
                protocol: Protocol::Json,
                ..bench.plain_call(OutputForm::Text).command.unwrap()
            }),
            config: r#"{"unit":"km"}"#,
            tags: &tags,
            ..bench.call(r#"{"do":"test"}"#)
        };
        let ended = bench.runtime.block_on(run_fresh(&command, call));
        let value: serde_json::Value = serde_json::from_str(output(&ended)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "trial_id": "test@provider#1", "test_id": "test", "provider": "provider", "repeat": 1, "attempt": 1,
                "seed": 0, "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
            })
        );
    }
}

#[test]
fn json_command_answers_with_one_object() {
    let bench = Bench::new();
    let run = |stdout: &str, stderr: &str, exit| {
        let command = bench.text(&printing(stdout, stderr, exit));
        let call = Call {
            command: Some(CommandCall {
                program: String::new(),
                args: Vec::new(),
                stdin: None,
                protocol: Protocol::Json,
                output: OutputForm::Text,
            }),
            ..bench.call("null")
        };
        bench.runtime.block_on(command.run(&mut None, call))
    };
    let record =
        r#"{\"level\":\"warn\",\"message\":\"careful\",\"fields\":{\"n\":1}}\n\njust text\n"#;
    let ended = run(r#"{\"ok\": {\"output\": [1, 2]}}"#, record, 0);
    assert_eq!(output(&ended), "[1,2]");
    let log: Vec<_> = ended.said.log.iter().map(|record| &*record.message).collect();
    assert_eq!(log, ["careful", "just text"]);

    let ended =
        run(r#"{\"err\":{\"kind\":\"rate-limited\",\"code\":\"c\",\"message\":\"m\"}}"#, "", 1);
    assert_eq!(error(&ended), ("rate-limited", "c", "m"));
    for (stdout, exit, class, code) in [
        ("", 0, "protocol", "json"),
        (r#"{\"ok\":{\"output\":1e999}}"#, 0, "protocol", "json"),
        (r#"{\"ok\":{\"output\":1,\"more\":1}}"#, 0, "protocol", "json"),
        (r#"{\"ok\":{\"output\":1}}"#, 75, "unavailable", "exit-75"),
        ("", 64, "invalid-input", "exit-64"),
        ("", 65, "invalid-input", "exit-65"),
        ("", 78, "invalid-config", "exit-78"),
        ("", 1, "internal", "exit-1"),
    ] {
        let ended = run(stdout, "", exit);
        let (found_class, found_code, _) = error(&ended);
        assert_eq!((found_class, found_code), (class, code), "{stdout} {exit}");
    }
    let ended = run(r#"{\"err\":{\"kind\":\"stopped\",\"code\":\"c\",\"message\":\"m\"}}"#, "", 0);
    assert_eq!(error(&ended).1, "stopped");
    bench.engines.interrupt().request();
    let ended = run(r#"{\"err\":{\"kind\":\"stopped\",\"code\":\"c\",\"message\":\"m\"}}"#, "", 0);
    assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
}

#[test]
fn command_can_be_a_component() {
    let bench = Bench::new();
    let text = |code: &str| {
        format!(
            r#"(component
                 (core module $module (func (export "run") (result i32) {code}))
                 (core instance $core (instantiate $module))
                 (func $run (result (result)) (canon lift (core func $core "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#
        )
    };
    for (code, exit_code) in [("i32.const 0", 0), ("i32.const 1", 1)] {
        let ended = bench.plain(&bench.text(&text(code)), OutputForm::Text);
        let Ending::Reply(reply) = ended.ending else {
            panic!("{ended:?}");
        };
        assert_eq!(reply.exit_code, Some(exit_code));
    }
    let ended = bench.plain(&bench.text(&text("i32.const 2")), OutputForm::Text);
    assert_eq!(error(&ended).0, "protocol");
}

#[test]
fn ungranted_request_is_denied_with_its_grant() {
    let bench = Bench::new();
    let http = bench.bundled("http");
    let ended = bench.run(&http, r#"{"url":"https://example.com/a"}"#);
    assert_eq!(error(&ended).0, "denied");
    let denied = &ended.denied[0];
    assert_eq!(&*denied.what, "GET https://example.com");
    let grant = denied.grant.as_deref();
    assert_eq!(grant, Some("net = [\"https://example.com\"]"));
}
