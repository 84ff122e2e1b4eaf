//! Commands: arguments and standard streams, the JSON protocol, and what their exit codes mean.

use std::time::Duration;

use runner::model::{CheckVerdict, ErrorClass};
use serde_json::{Value, json};

use super::{COMMAND, command, plain};
use crate::support::engine::{
    Attempt, BENCH, StdoutForm, assert_error, assert_timed_out, error, output, reply,
};

/// A module that exits with this code at once.
fn exiting(code: i32) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start") (call $exit (i32.const {code}))))"#
    )
}

#[test]
fn plain_commands_get_arguments_and_stdin_and_give_their_stdout() {
    let run = |args: &[&str]| reply(command(args));

    assert_eq!(
        run(&["argv", "b c"]).output,
        json!("guest-command.wasm argv b c")
    );
    assert_eq!(run(&["cat"]).output, json!("given\n"));
    assert_eq!(run(&["say", ""]).output, json!(""));

    let ended = command(&["fail", "oh no"]);
    assert_eq!(ended.stderr, "oh no\n");
    assert_eq!(ended.stdout, "");
    assert_eq!(reply(ended).exit_code, Some(1));
}

#[test]
fn a_plain_commands_stdout_becomes_what_the_scenario_says() {
    let run =
        |text: &str, form| Attempt::of_command(&["say", text], form).run(&COMMAND, &Value::Null);
    assert_eq!(output(run(" a\n", StdoutForm::Text)), json!(" a\n"));
    assert_eq!(output(run(" a\n", StdoutForm::Trimmed)), json!("a"));
    assert_eq!(output(run(" [1]\n", StdoutForm::Json)), json!([1]));
    assert_error(
        run("[1", StdoutForm::Json),
        ErrorClass::Protocol,
        "json",
        "the standard output is not JSON: EOF while parsing a list at line 1 column 2; it begins with \"[1\"",
    );
    assert_error(
        command(&["bytes"]),
        ErrorClass::Protocol,
        "utf-8",
        "the standard output is not UTF-8 from byte 1 on; it begins with \"a\u{fffd}\"",
    );
}

#[test]
fn a_plain_command_with_too_much_output_runs_on() {
    assert_error(
        command(&["flood", "8"]),
        ErrorClass::Limit,
        "reply",
        "the standard output has 8.0 MiB, and `limits.reply` is 4.0 MiB",
    );
    let endless = plain(&["flood-forever"]).timeout(Duration::from_millis(100));
    assert_timed_out(&endless.run(&COMMAND, &Value::Null), "flood-forever");
}

#[test]
fn commands_end_at_their_deadline_and_trap_like_components() {
    for what in ["loop", "sleep"] {
        let attempt = plain(&[what]).timeout(Duration::from_millis(50));
        assert_timed_out(&attempt.run(&COMMAND, &Value::Null), what);
    }
    let error = error(command(&["panic"]));
    assert_eq!(error.class, Some(ErrorClass::Trap));
    assert!(
        error.message.contains("the command's own words"),
        "{error:?}"
    );
}

#[test]
fn json_commands_get_the_test_and_answer_with_one_object() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let run = |input| attempt.run(&COMMAND, &input);
    assert_eq!(
        output(run(json!({"do": "test"}))),
        json!({
            "trial_id": "a/b@guest#2", "test_id": "a/b", "provider": "guest", "repeat": 2, "attempt": 1,
            "seed": 42, "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );

    let ended = run(json!({"do": "log"}));
    let [warning, text] = &ended.log[..] else {
        panic!("{:?}", ended.log)
    };
    assert_eq!(
        (warning.level, warning.message.as_str()),
        ("warn", "careful")
    );
    assert_eq!(
        warning.fields,
        [
            ("n".to_owned(), "1".to_owned()),
            ("s".to_owned(), "x".to_owned())
        ]
    );
    assert_eq!((text.level, text.message.as_str()), ("info", "just text"));
    assert_eq!(reply(ended).verdict, Some(CheckVerdict::Skip));

    let print = |text: &str, fail| run(json!({"do": "print", "text": text, "fail": fail}));
    let no_json = error(print("hello", false));
    assert_eq!(
        (no_json.class, no_json.code.as_str()),
        (Some(ErrorClass::Protocol), "json")
    );
    let says = "the standard output is not one JSON object";
    assert!(no_json.message.starts_with(says), "{}", no_json.message);
    for broken in [
        r#"{"ok": {}}"#,
        r#"{"ok": {"output": 1, "outputs": 2}}"#,
        r#"{"ok": {"output": 1}} x"#,
    ] {
        assert_eq!(
            error(print(broken, false)).class,
            Some(ErrorClass::Protocol),
            "{broken}"
        );
    }

    let refused = r#"{"err": {"kind": "rate-limited", "code": "slow", "message": "later", "retry_after": 20}}"#;
    for fail in [false, true] {
        assert_error(
            print(refused, fail),
            ErrorClass::RateLimited,
            "slow",
            "later",
        );
    }
    assert_error(
        print(r#"{"ok": {"output": 1}}"#, true),
        ErrorClass::Internal,
        "exit-1",
        "the command exited with 1",
    );
}

#[test]
fn a_module_of_preview_1_is_a_command() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (import "wasi_snapshot_preview1" "fd_write"
                   (func $write (param i32 i32 i32 i32) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 1)
                 (data (i32.const 8) "hello\n")
                 (func (export "_start")
                   (i32.store (i32.const 0) (i32.const 8))
                   (i32.store (i32.const 4) (i32.const 6))
                   (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
                   (call $exit (i32.const 7))))"#,
        )
        .unwrap();
    let ended = plain(&[]).run(&plugin, &Value::Null);
    let reply = reply(ended);
    assert_eq!((reply.output, reply.exit_code), (json!("hello\n"), Some(7)));
}

#[test]
fn exit_codes_of_json_commands_have_meanings() {
    for (code, class) in [
        (75, ErrorClass::Unavailable),
        (64, ErrorClass::InvalidInput),
        (65, ErrorClass::InvalidInput),
        (78, ErrorClass::InvalidConfig),
        (3, ErrorClass::Internal),
    ] {
        let plugin = BENCH.link_text(&exiting(code)).unwrap();
        assert_error(
            Attempt::new().run(&plugin, &Value::Null),
            class,
            &format!("exit-{code}"),
            &format!("the command exited with {code}"),
        );
    }
}

#[test]
fn an_exit_status_that_wasi_does_not_know_is_a_trap() {
    let plugin = BENCH.link_text(&exiting(134)).unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "exit",
        "the guest exited with a status outside of 0 to 125",
    );
}
