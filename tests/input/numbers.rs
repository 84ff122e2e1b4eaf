//! Numbers, keys and texts of JSON are compared as they were written.

use std::fs;

use serde_json::json;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    runner::{Runner, tests},
    server::{Response, Server},
};

/// Copies standard input to standard output.
const COPY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 65536))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))"#;

/// Writes a scenario whose provider prints its input as JSON.
fn printing(tests: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.wat("copy.wasm", COPY);
    runner.scenario(&format!(
        "{tests}\n[providers.p]\nplugin = \"copy.wasm\"\nstdin = \"{{{{input}}}}\"\noutput = \"json\"\n"
    ));
    runner
}

const LIST: &str = "[[test_lists]]\nfiles = [\"list.*\"]\n";

#[test]
fn large_integers_of_users_are_refused() {
    let mut transcript = Transcript::default();
    let runner = printing(LIST);
    let line =
        r#"{"id":"x","input":"123456789012345678901","expect":{"equals":123456789012345678999}}"#;
    runner.write("list.jsonl", line);
    let says = ["list.jsonl:1:62", "123456789012345678999 has more than 64 bits", "as a string"];
    runner.refused(&[], &says);
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&says);
    for line in [
        r#"{"id": "a", "input": [1, {"n": -9223372036854775809}]}"#,
        r#"{"id": "a", "meta": {"n": 18446744073709551616}}"#,
    ] {
        runner.write("list.jsonl", format!("{{\"id\": \"b\"}}\n{line}\n"));
        transcript.refused(&runner, &[]);
    }
    runner.write("list.jsonl", "{\"id\": \"b\", \"input\": 18446744073709551615}\n");
    runner
        .write("list.json", "[{\"id\": \"a\"},\n{\"id\": \"c\", \"input\": 18446744073709551616}]");
    transcript.refused(&runner, &[]);

    let runner = printing(&tests(r#"a | 1 | schema = "s.json" "#));
    runner.write("s.json", "{\n\"const\": 18446744073709551616}");
    transcript.refused(&runner, &[]);
    let run = runner.run(&["plugin", "run", "copy.wasm", "--input", "[18446744073709551616]"]);
    snapshot(&run.expect(2));
    transcript.check("large_integers_of_users_are_refused");
}

#[test]
fn large_integers_of_replies_keep_their_digits() {
    let runner = printing(&tests(
        r#"
        near    | "123456789012345678901" | equals = 1.2345678901234568e20
        exact   | "9007199254740993" | equals = 9007199254740993
        other   | "9007199254740993" | equals = 9007199254740992.0
        part    | '{"n": 123456789012345678901, "ok": true}' | json = { ok = true }
        item    | "[123456789012345678901, 7]" | contains = [7]
        rough   | "[123456789012345678901]" | json = [1.2e20], tolerance = 1e20
        checked | '{"n": [123456789012345678901]}' | schema = "s.json"
        "#,
    ));
    runner.write("s.json", "{}");
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, outcome) in [
        ("near", "failed"),
        ("exact", "passed"),
        ("other", "failed"),
        ("part", "passed"),
        ("item", "passed"),
    ] {
        assert_eq!(run.row(test)["outcome"], outcome, "{test}");
    }
    let check = |test: &str| run.row(test)["checks"][0].to_string();
    assert!(check("rough").contains("the integer 123456789012345678901 has more than 64 bits"));
    assert!(
        check("checked")
            .contains("at $.n[0]: the integer 123456789012345678901 has more than 64 bits")
    );
    for args in [
        &["show", "latest", "near"][..],
        &["show", "latest", "part"],
        &["show", "latest", "near", "--json"],
    ] {
        runner.run(args).expect(0).says(&["123456789012345678901"]);
    }
    let run = runner.run(&["plugin", "run", "copy.wasm", "--stdin", "[123456789012345678901]"]);
    run.expect(0).says(&["123456789012345678901"]);
}

#[test]
fn fractions_beyond_a_float_are_refused() {
    for value in ["0.1234567890123456789", "9007199254740993.5", "9_007_199_254_740_993.0"] {
        for keys in [format!("expect = {{ equals = {value} }}"), format!("input = [{value}]")] {
            let runner = printing(&format!("[[tests]]\nid = \"a\"\n{keys}\n"));
            snapshot(&runner.refused(&[], &[]));
        }
    }
    let runner = printing(LIST);
    let value = "0.1234567890123456789";
    for (file, text) in [
        ("list.jsonl", format!("{{\"id\": \"a\", \"input\": {{\"n\": [{value}]}}}}\n")),
        ("list.json", format!("[{{\"id\": \"a\", \"expect\": {{\"json\": {value}}}}}]")),
    ] {
        runner.write(file, text);
        let says = ["1:", "the number 0.1234567890123456789 has more digits", "fewer digits"];
        runner.refused(&[], &[&[file], &says[..]].concat());
        fs::remove_file(runner.path(file)).unwrap();
    }
    let runner = printing(&tests(r#"a | 1 | schema = "s.json" "#));
    runner.write("s.json", r#"{"const": 9007199254740993.5}"#);
    let says = ["s.json", "has more digits than a float, at line 1 column 11"];
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&says);
}

#[test]
fn bodies_of_http_keep_their_digits() {
    let body = r#"{"id": 12345678901234567890123, "price": 1.10}"#;
    let server =
        Server::start(move |_| Response::ok(body).header("content-type", "application/json"));
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"bundled:http\"\ngrants = {{ net = [\"{}\"] }}\n\
         [[tests]]\nid = \"a\"\ninput = {{ url = \"{}\" }}\n",
        server.origin(),
        server.url("/")
    ));
    runner.exec(&[]).expect(0);
    let shown = runner.run(&["show", "latest", "a", "--json"]).expect(0);
    shown.says(&["12345678901234567890123", "1.10"]);
}

#[test]
fn repeated_keys_are_refused_with_both_places() {
    let mut transcript = Transcript::default();
    let runner = printing(LIST);
    runner.write("list.jsonl", "{\"id\": \"a\", \"input\": {\"k\": 1, \"n\": 2, \"k\": 3}}\n");
    let ran = transcript.refused(&runner, &[]);
    assert!(ran.stderr.contains("remove one"), "{}", ran.stderr);
    runner.write("list.jsonl", "{\"id\": \"a\", \"id\": \"b\"}\n");
    transcript.refused(&runner, &[]);

    let runner = printing(&tests(r#"a | 1 | schema = "s.json" "#));
    runner.write("s.json", "{\"type\": \"array\",\n\"type\": \"object\"}");
    transcript.refused(&runner, &[]);
    let run = runner.run(&["plugin", "run", "copy.wasm", "--input", r#"{"a": 1, "a": 2}"#]);
    snapshot(&run.expect(2));
    transcript.check("repeated_keys_are_refused_with_both_places");
}

#[test]
fn repeated_key_in_a_reply_breaks_the_protocol() {
    let runner = printing(&tests(r#"a | '[{"k": 1, "k": 2}]' | error = "protocol" "#));
    runner.exec(&[]).expect(0);
    let error = runner.only_run().row("a")["error"].clone();
    assert_eq!((&error["class"], &error["code"]), (&json!("protocol"), &json!("json")));
    let message = error["message"].to_string();
    assert!(message.contains("at `$[0]`: the key `k` is in one object twice"), "{message}");
}

#[test]
fn programs_exit_with_any_code() {
    let exit = |code: u32| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))"#
        )
    };
    let runner = Runner::new(&[]);
    runner.wat("e126.wasm", &exit(126));
    // As `sys.exit(-1)` of Python.
    runner.wat("e255.wasm", &exit(u32::MAX));
    runner.scenario(
        "[providers.e126]\nplugin = \"e126.wasm\"\n[providers.e255]\nplugin = \"e255.wasm\"\n\
         [[tests]]\nid = \"a\"\nproviders = [\"e255\"]\nexpect = { exit_code = 255 }\n\
         [[tests]]\nid = \"b\"\nproviders = [\"e126\"]\nexpect = { exit_code = 126 }\n\
         [[tests]]\nid = \"c\"\nproviders = [\"e126\"]\n",
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("a")["outcome"], "passed");
    assert_eq!(run.row("b")["outcome"], "passed");
    assert_eq!(run.row("c")["checks"][0]["message"], "expected exit code 0, got 126");
    runner.scenario("[providers.e]\nplugin = \"e255.wasm\"\n[[tests]]\nid = \"a\"\nexpect = { exit_code = -1 }\n");
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    snapshot(&ran);
}

#[test]
fn impossible_exit_codes_are_refused() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.wat("copy.wasm", COPY);
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[providers.q]\nplugin = \"copy.wasm\"\n\
         [[tests]]\nid = \"a\"\nexpect = { exit_code = 1 }\n",
    );
    let ran = transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    assert!(!ran.stderr.contains("provider `q`"), "{}", ran.stderr);
    transcript.refused(&runner, &[]);
    transcript.check("impossible_exit_codes_are_refused");
}

#[test]
fn exit_codes_that_wasi_0_2_lacks_are_refused() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    let component = r#"(component
        (core module $module (func (export "run") (result i32) (i32.const 1)))
        (core instance $core (instantiate $module))
        (func $run (result (result)) (canon lift (core func $core "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    runner.wat("component.wasm", component);
    let scenario = |code: u8| {
        format!(
            "[providers.p]\nplugin = \"component.wasm\"\n[[tests]]\nid = \"a\"\nexpect = {{ exit_code = {code} }}\n"
        )
    };
    runner.scenario(&scenario(75));
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    transcript.refused(&runner, &[]);
    runner.scenario(&scenario(1));
    runner.exec(&[]).expect(0);
    transcript.check("exit_codes_that_wasi_0_2_lacks_are_refused");
}
