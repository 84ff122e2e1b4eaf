//! What plugins say of themselves that is made to cost the runner memory and time.

use std::{
    fmt::Write as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    peak::measured,
    runner::{CommandExt as _, Runner, Signal},
};

/// What the runner may have in memory, itself and its engine included.
const MOST_MEMORY: u64 = 128 * 1024 * 1024;

/// A command that says this of itself, whatever it is asked.
fn saying(description: &Value) -> Vec<u8> {
    let answer = json!({ "ok": description }).to_string();
    let mut data = String::new();
    for byte in answer.bytes() {
        write!(data, "\\{byte:02x}").unwrap();
    }
    let pages = answer.len() / 65_536 + 2;
    wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") {pages})
            (data (i32.const 16) "{data}")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 16))
                (i32.store (i32.const 4) (i32.const {}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        answer.len()
    ))
    .unwrap()
}

fn description(config_schema: &Value, input_schema: &Value) -> Value {
    json!({
        "name": "bomb", "version": "1", "summary": "s",
        "config_schema": config_schema, "input_schema": input_schema,
    })
}

/// A folder with a plugin that says this, and a scenario with one test for it.
fn runner(description: &Value, input: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.write("bomb.wasm", saying(description));
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"bomb.wasm\"\nprotocol = \"json\"\n[[tests]]\nid = \"a\"\ninput = {input}\n"
    ));
    runner
}

/// A schema in which each definition refers twice to the next, by `keyword`.
fn doubling(keyword: &str) -> Value {
    let definitions = (0..40).map(|number| {
        let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
        (format!("d{number}"), json!({ keyword: [next, next] }))
    });
    let mut definitions: serde_json::Map<String, Value> = definitions.collect();
    definitions.insert("d40".into(), json!({"type": "string"}));
    json!({"$defs": definitions, "$ref": "#/$defs/d0"})
}

#[test]
fn schemas_that_explode_are_given_up_within_the_bounds() {
    let backtracking = json!({"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$(?<!x)"});
    for (schema, input) in [
        (doubling("anyOf"), "1".to_owned()),
        (doubling("allOf"), "\"fits\"".to_owned()),
        (backtracking, format!("\"{}\"", "a".repeat(200))),
    ] {
        let runner = runner(&description(&json!({}), &schema), &input);
        let begun = Instant::now();
        let (ran, peak) = measured(runner.command(&["exec", "scenario.toml"]));
        // Which of them the evaluator gets through in the end is its own affair.
        assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
        assert!(peak < MOST_MEMORY, "{schema}: {peak} bytes");
        let (called, peak) = measured(runner.command(&[
            "plugin",
            "run",
            "bomb.wasm",
            "--protocol",
            "json",
            "--input",
            &input,
        ]));
        assert!(matches!(called.code, Some(1 | 2)), "{called:?}");
        assert!(peak < MOST_MEMORY, "{schema}: {peak} bytes");
        assert!(begun.elapsed() < Duration::from_secs(60), "{schema}");
    }
    let runner = runner(&description(&json!({}), &doubling("anyOf")), "1");
    runner
        .exec(&[])
        .expect(3)
        .says(&["its schema of the input takes"]);
}

#[test]
fn a_stop_ends_a_schema_that_explodes() {
    let runner = runner(&description(&doubling("anyOf"), &json!({})), "1");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let running = runner.command(&["exec", "scenario.toml"]).start();
        thread::sleep(Duration::from_millis(2_500));
        let (ran, took) = running.end_by(signal);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[test]
fn what_a_schema_refers_to_outside_of_it_is_never_fetched() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), "{\"type\": \"string\"}").unwrap();
    for target in [
        format!("http://{address}/schema.json"),
        format!("file://{}", file.path().display()),
    ] {
        let runner = runner(&description(&json!({}), &json!({ "$ref": target })), "1");
        runner
            .exec(&[])
            .expect(3)
            .says(&["its schema of the input is not a valid JSON Schema"]);
    }
    assert!(server.accept().is_err(), "somebody came for it");
}

#[test]
fn of_many_errors_the_first_are_told() {
    let schema = json!({"type": "array", "items": {"type": "string", "enum": ["x".repeat(2_000)]}});
    let input = format!("[{}]", "1, ".repeat(1_000));
    for schema in [
        schema.clone(),
        json!({"$id": "https://example.com/s", "allOf": [schema]}),
    ] {
        let ran = runner(&description(&json!({}), &schema), &input)
            .exec(&[])
            .expect(3);
        ran.says(&[
            "the input of 1 test does not fit its schema",
            "at `/0`",
            "and more",
        ]);
        assert!(ran.stderr.len() < 16_000, "{} bytes", ran.stderr.len());
    }
}

#[test]
fn a_description_that_says_too_much_is_refused_and_what_is_shown_of_others_is_bounded() {
    let mut deep = json!(true);
    for _ in 0..60 {
        deep = json!({"not": deep, "enum": vec![0; 300]});
    }
    let deep = runner(&description(&deep, &json!({})), "1");
    for json in [&[][..], &["--json"]] {
        let (shown, peak) =
            measured(deep.command(&[&["plugin", "inspect", "bomb.wasm"], json].concat()));
        let shown = shown.expect(0);
        assert!(
            shown.stdout.len() < 4_000_000,
            "{} bytes",
            shown.stdout.len()
        );
        assert!(peak < MOST_MEMORY, "{peak} bytes");
    }

    let mut asking = description(&json!({}), &json!({}));
    asking["requests"] = (0..40_000)
        .map(|number| format!("net:https://h{number}.example.com"))
        .collect();
    let asking = runner(&asking, "1");
    let refused = asking.exec(&[]).expect(3);
    refused.says(&["there are 40000 requests, and at most 256 are allowed"]);

    let wide = description(&json!({"enum": vec![0; 200_000]}), &json!({}));
    let refused = runner(&wide, "1").exec(&[]).expect(3);
    refused.says(&["bytes of the config_schema, and at most 262144 are allowed"]);
}
