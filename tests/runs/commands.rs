//! Plain WASI programs as providers, without a line of glue.

use serde_json::{Value, json};

use crate::support::runner::{Runner, tests};

/// A scenario with the provider `p`, the command guest, and a table of tests.
fn command(keys: &str, table: &str) -> Runner {
    let runner = Runner::new(&["command"]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"command.wasm\"\n{keys}\n{}",
        tests(table)
    ));
    runner
}

/// The check of a failed row that did not hold.
#[track_caller]
fn failed_check(row: &Value) -> &Value {
    assert_eq!(row["outcome"], "failed");
    let mut checks = row["checks"].as_array().unwrap().iter();
    checks.find(|check| check["verdict"] == "fail").unwrap()
}

#[test]
fn arguments_are_templates_over_input_and_config() {
    let runner = command(
        r#"
        args = ["argv", "{{input.text}}", "{{input.list}}", "{{config.unit}}: {{input.number}}"]
        config = { unit = "km" }
        "#,
        r#"a | { text = "a b", list = [1, "x"], number = 1.5 } | equals = 'command.wasm argv a b [1,"x"] km: 1.5'"#,
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let provider = &run.manifest()["providers"][0];
    assert_eq!(
        (&provider["kind"], &provider["contract"]),
        (&json!("command"), &Value::Null)
    );
}

#[test]
fn standard_input_is_a_template_or_the_bytes_of_an_attachment() {
    let runner = command(
        "args = [\"cat\"]\nstdin = \"<{{input.text}}>\"",
        r#"
        text   | { text = "ü" }        | equals = "<ü>"
        object | { text = { a = 1 } }  | equals = '<{"a":1}>'
        "#,
    );
    runner.exec(&[]).expect(0);

    let runner = Runner::new(&["command"]);
    runner.scenario(
        r#"
        [providers.p]
        plugin = "command.wasm"
        args = ["cat"]
        stdin = { file = "data" }
        [[tests]]
        id = "bytes"
        files = { data = "data.bin" }
        expect = { equals = "line\r\n\u0000end" }
        "#,
    );
    runner.write("data.bin", b"line\r\n\0end");
    runner.exec(&[]).expect(0);
}

#[test]
fn what_a_template_would_miss_is_found_before_anything_runs() {
    let runner = command(
        "args = [\"say\", \"{{input.code}}\"]\n[[test_lists]]\nfiles = [\"list.jsonl\"]",
        "good | { code = 1 } |\nbad | { kode = 1 } |",
    );
    let mut list = String::from("{\"id\": \"row\", \"input\": {\"code\": \"x\"}}\n");
    (0..1000).for_each(|n| list.push_str(&format!("{{\"id\": \"row-{n}\"}}\n")));
    runner.write("list.jsonl", list);
    let says = [
        "the tests have 1001 mistakes",
        "scenario.toml:10: test `bad` has no `input.code`, which `args[1]` of provider `p` (scenario.toml:3) needs",
        "did you mean `kode`?",
        "list.jsonl:2: test `row-0` has no `input.code`",
        "991 more",
    ];
    runner.refused(&[], &says);
    runner.refused(&["--dry-run"], &says);
    let validated = runner.run(&["validate", "scenario.toml"]).expect(2);
    validated.says(&says);
    // What is not selected will not miss anything.
    let chosen = ["--test", "good", "--test", "row"];
    runner.exec(&chosen).expect(0);
    runner.exec(&["--provider", "none"]).expect(5);

    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("input.code", "input.cod"));
    let before = runner.only_run().read("index.jsonl");
    let resume = ["resume", "--from", "latest", "--accept-changes"];
    runner
        .run(&resume)
        .expect(2)
        .says(&["test `good` has no `input.cod`"]);
    assert_eq!(runner.only_run().read("index.jsonl"), before);
    runner.run(&resume[..3]).expect(0);
}

#[test]
fn output_is_text_trimmed_text_or_json() {
    for (form, said, want) in [
        ("text", " text\\n", "\" text\\n\""),
        ("trimmed", " text\\n", "\"text\""),
        ("json", "{\\\"a\\\": [1]}\\n", "{ a = [1] }"),
    ] {
        let runner = command(
            &format!("args = [\"say\", \"{{{{input.say}}}}\"]\noutput = \"{form}\""),
            &format!("a | {{ say = \"{said}\" }} | equals = {want}"),
        );
        runner.exec(&[]).expect(0);
    }
}

#[test]
fn output_that_is_not_what_it_is_taken_for_breaks_the_protocol() {
    let runner = command(
        "args = [\"say\", \"{{input.say}}\"]\noutput = \"json\"",
        r#"a | { say = "{" } | error = "protocol""#,
    );
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("a");
    assert!(
        row["error"]["message"].as_str().unwrap().contains("JSON"),
        "{row}"
    );
}

#[test]
fn an_exit_code_other_than_0_fails_unless_it_is_expected() {
    let runner = command(
        "args = [\"fail\", \"its own words\"]",
        r#"
        unexpected | {} |
        expected   | {} | exit_code = 1
        other      | {} | exit_code = 2
        "#,
    );
    let ran = runner.exec(&[]).expect(1);
    ran.says(&["expected exit code 0, got 1", "expected exit code 2, got 1"]);
    let run = runner.only_run();
    let row = run.row("unexpected");
    let check = failed_check(&row);
    assert_eq!(
        (&check["name"], &check["expected"], &check["actual"]),
        (&json!("exit_code"), &json!(0), &json!(1))
    );
    assert_eq!(run.row("expected")["outcome"], "passed");
    assert_eq!(failed_check(&run.row("other"))["expected"], 2);
    let stderr = run.said(&row, "stderr").unwrap();
    assert_eq!(stderr, "its own words\n");
}

#[test]
fn a_success_that_was_expected_to_fail_fails() {
    let runner = command("args = [\"say\", \"x\"]", "a | {} | exit_code = 1");
    runner.exec(&[]).expect(1);
    let row = runner.only_run().row("a");
    assert_eq!(failed_check(&row)["actual"], 0);
}

#[test]
fn commands_that_trap_loop_sleep_or_flood_are_told_apart() {
    let runner = Runner::new(&["command"]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"{{{{input.do}}}}\", \"{{{{input.with}}}}\"]\n{}",
        tests(
            r#"
            panic  | { do = "unheard-of", with = "" } |
            flood  | { do = "flood", with = "6" }     |
            "#
        )
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let row = run.row("panic");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("trap")),
        "{row}"
    );
    assert!(
        row["error"]["message"]
            .as_str()
            .unwrap()
            .contains("cannot do"),
        "{row}"
    );
    let row = run.row("flood");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("limit")),
        "{row}"
    );

    for what in ["loop", "sleep", "flood-forever"] {
        let runner = Runner::new(&["command"]);
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"{what}\"]\n[[tests]]\nid = \"a\"\ntimeout = \"200ms\"\n"
        ));
        runner.exec(&[]).expect(1);
        let row = runner.only_run().row("a");
        assert_eq!(
            (&row["outcome"], &row["error"]["code"]),
            (&json!("timeout"), &json!("timeout")),
            "{what}: {row}"
        );
    }
}

#[test]
fn a_preview_1_module_is_a_provider_too() {
    let runner = Runner::new(&[]);
    runner.wat(
        "hello.wasm",
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (data (i32.const 16) "hello\n")
             (func (export "_start")
               (i32.store (i32.const 0) (i32.const 16))
               (i32.store (i32.const 4) (i32.const 6))
               (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
               (call $exit (i32.const 3))))"#,
    );
    runner.scenario(
        "[providers.p]\nplugin = \"hello.wasm\"\n[[tests]]\nid = \"a\"\nexpect = { equals = \"hello\\n\", exit_code = 3 }\n",
    );
    runner.exec(&[]).expect(0);
}

#[test]
fn a_plain_command_that_answers_by_the_json_protocol_is_told_to_be_called_so() {
    let list = r#"
        ok    | { text = '{"ok": {"output": 1}}' }                                   | equals = 1
        err   | { text = '{"err": {"kind": "x", "code": "c", "message": "m"}}' }     | equals = 1
        other | { text = '{"ok": true}' }                                            | equals = 1
        right | { text = '{"ok": {"output": 1}}' }                                   | matches = "output"
        "#;
    for (keys, told) in [
        ("", [true, true, false, false]),
        ("output = \"trimmed\"", [true, true, false, false]),
        ("output = \"json\"", [true, true, false, false]),
    ] {
        let runner = command(
            &format!("args = [\"say\", \"{{{{input.text}}}}\"]\n{keys}"),
            list,
        );
        runner.exec(&[]).expect(1);
        let run = runner.only_run();
        let is_told = |test| {
            let message = run.row(test)["checks"][0]["message"].to_string();
            message.contains("`protocol = \\\"json\\\"`")
        };
        assert_eq!(["ok", "err", "other", "right"].map(is_told), told, "{keys}");
    }
}

#[test]
fn the_json_protocol_makes_a_command_answer_like_a_component() {
    let runner = command(
        "protocol = \"json\"",
        r#"
        echo   | { do = "test", n = 1 }                 | json = { test_id = "echo", provider = "p", input = { n = 1 } }
        skip   | { do = "log" }                         |
        error  | { do = "print", text = '{"err": {"kind": "denied", "code": "E", "message": "no"}}' } | error = "denied"
        broken | { do = "print", text = "hello" }       | error = "protocol"
        two    | { do = "print", text = '{"ok": {"output": 1}} {"ok": {"output": 2}}' } | error = "protocol"
        "#,
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row = run.row("skip");
    assert_eq!(row["outcome"], "skipped");
    let log = run.said(&row, "log").unwrap();
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records[0]["message"], "careful");
    assert_eq!(records[1]["message"], "just text");
    assert_eq!(run.row("error")["error"]["message"], "no");
}
