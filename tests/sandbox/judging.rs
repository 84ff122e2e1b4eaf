//! Load that guests cause after they have ended: outputs to judge, schemas that explode.

use serde_json::{Map, Value, json};

use crate::support::{guests::printing, processes::Process, runner::Runner};

/// Memory that a worker may use in addition to the guest's.
const BOUND: u64 = 80_000_000;

/// A command that writes `[`, `part` `count` times, and `]` in place of the last byte.
fn writing(part: &str, count: usize) -> String {
    let bytes: String = part.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let length = part.len();
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 80)
          (data (i32.const 16) "{bytes}")
          (func (export "_start") (local $count i32) (local $end i32)
            (i32.store8 (i32.const 1023) (i32.const 91))
            (local.set $end (i32.const 1024))
            (loop $next
              (memory.copy (local.get $end) (i32.const 16) (i32.const {length}))
              (local.set $end (i32.add (local.get $end) (i32.const {length})))
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $count) (i32.const {count}))))
            (i32.store8 (i32.sub (local.get $end) (i32.const 1)) (i32.const 93))
            (i32.store (i32.const 0) (i32.const 1023))
            (i32.store (i32.const 4) (i32.sub (local.get $end) (i32.const 1023)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

/// Runs a command. Returns its row and the worker's peak memory before another guest runs there.
fn judged(module: &str, provider: &str, expect: &str) -> (Value, u64) {
    let runner = Runner::new(&["hostile"]);
    runner.wat("bomb.wasm", module);
    runner.write(
        "schema.json",
        r#"{"items": {"anyOf": [{"type": "boolean"}, {"type": "null"}, {"minItems": 1, "type": "array"}]}}"#,
    );
    runner.scenario(&format!(
        r#"
        [providers.bomb]
        plugin = "bomb.wasm"
        {provider}
        [providers.idle]
        plugin = "hostile.wasm"
        [[tests]]
        id = "bomb"
        providers = ["bomb"]
        expect = {{ {expect} }}
        [[tests]]
        id = "idle"
        providers = ["idle"]
        input = {{ do = "sleep" }}
        "#
    ));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    let workers = running.workers().into_iter();
    let peaks = workers.map(Process::peak_memory);
    let peak = peaks.max().unwrap();
    running.kill();
    (runner.only_run().row("bomb"), peak)
}

#[test]
fn judging_a_large_reply_is_bounded() {
    const EXPECT: &str =
        "equals = 1, contains = [\"no\"], matches = \"^no$\", json = [1], schema = \"schema.json\"";
    let (_, usual) = judged(&writing("0,", 1), "output = \"json\"", "");
    for (part, count, provider, is_valued) in [
        ("0.25,", 250_000, "output = \"json\"", true),
        ("\"some words\",", 250_000, "output = \"json\"", true),
        ("{\"\":0},", 25_000, "output = \"json\"", true),
        ("{\"\":0},", 500_000, "output = \"json\"", false),
        ("words of a line\n", 260_000, "", true),
    ] {
        let (row, peak) = judged(&writing(part, count), provider, EXPECT);
        assert_eq!(row["outcome"], "failed", "{row}");
        assert_eq!(row["output"], json!({"$artifact": "output.json"}));
        let checks = row["checks"].as_array().unwrap();
        assert_eq!(checks.len(), 5, "{row}");
        let message = checks[0]["message"].as_str().unwrap();
        assert_eq!(message.starts_with("the output has too many values"), !is_valued, "{message}");
        let more = peak.saturating_sub(usual);
        assert!(more < BOUND, "{part}: {more} bytes");
    }
}

#[test]
fn exploding_schemas_are_given_up_within_bounds() {
    let parts = (0..60).map(|n| {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        (format!("d{n}"), json!({"anyOf": [next, next]}))
    });
    let mut parts: Map<String, Value> = parts.collect();
    parts.insert("d60".into(), json!({"type": "string"}));
    let schema = json!({"$ref": "#/$defs/d0", "$defs": parts});
    let says = "checking it against the schema takes too many steps";
    for (key, what) in [("config_schema", "its `config`"), ("input_schema", "the input")] {
        let description =
            json!({"ok": {"name": "p", "version": "1", "summary": "", (key): schema}});
        let description = description.to_string();
        let runner = Runner::new(&[]);
        runner.wat("p.wasm", &printing(&description));
        runner.scenario(
            "[providers.p]\nplugin = \"p.wasm\"\nprotocol = \"json\"\n[[tests]]\nid = \"a\"\n",
        );
        let says = [format!("refuses {what}: {says}")];
        let says = says.each_ref().map(String::as_str);
        runner.run(&["validate", "scenario.toml"]).expect(2).says(&says);
        runner.refused(&[], &says);
    }
}

/// Returns a command of the JSON protocol with a minimal description, which always sends this reply.
fn replying(reply: &str) -> String {
    let description = r#"{"ok":{"name":"p","version":"1","summary":""}}"#;
    let data = [description, reply].concat();
    let bytes: String = data.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let (first, rest) = (description.len(), reply.len());
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 8)
          (data (i32.const 64) "{bytes}")
          (func (export "_start")
            (drop (call $sizes (i32.const 8) (i32.const 12)))
            (i32.store (i32.const 0) (i32.const {reply_at}))
            (i32.store (i32.const 4) (i32.const {rest}))
            ;; `provider describe`, not `provider run`.
            (if (i32.eq (i32.load (i32.const 12)) (i32.const 18)) (then
              (i32.store (i32.const 0) (i32.const 64))
              (i32.store (i32.const 4) (i32.const {first}))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        reply_at = 64 + first,
    )
}

#[test]
fn deep_parts_of_replies_stay_readable() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let checked = |levels| {
        format!(
            r#"{{"ok":{{"output":1,"checks":[{{"name":"a","verdict":"fail","details":{}}}]}}}}"#,
            nested(levels)
        )
    };
    let failed = |levels| {
        format!(
            r#"{{"err":{{"kind":"other","code":"a","message":"a","details":{}}}}}"#,
            nested(levels)
        )
    };
    let runner = Runner::new(&[]);
    let mut providers = String::new();
    for (name, reply) in [
        ("check", checked(100)),
        ("deep-check", checked(101)),
        ("error", failed(100)),
        ("deep-error", failed(101)),
    ] {
        runner.wat(&format!("{name}.wasm"), &replying(&reply));
        providers +=
            &format!("[providers.{name}]\nplugin = \"{name}.wasm\"\nprotocol = \"json\"\n");
    }
    runner.scenario(&format!("{providers}[[tests]]\nid = \"a\"\ninput = 1\n"));
    runner.exec(&[]).expect(1);
    for row in runner.only_run().rows() {
        let provider = row["provider"].as_str().unwrap();
        let is_deep = provider.starts_with("deep");
        let details = if provider.ends_with("check") { &row["checks"][0] } else { &row["error"] }
            .get("details");
        assert_eq!(details.is_none(), is_deep, "{row}");
        assert_eq!(row["truncated"] == true, is_deep, "{row}");
    }
}

#[test]
fn checks_and_metrics_of_replies_are_bounded() {
    let metrics: String = (0..1_001).map(|number| format!("m{number} = 0,")).collect();
    let runner = Runner::new(&["hostile"]);
    let mut scenario = format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"component\"\nproviders = [\"hostile\"]\ninput = {{ do = \"meter\", metrics = {{ {metrics} }} }}\n"
    );
    for (key, item, most) in [
        ("checks", r#"{"name":"","verdict":"pass"}"#, 10_000),
        ("metrics", r#"{"name":"","value":0}"#, 1_000),
    ] {
        for (name, count) in [(key, most), (&*format!("more-{key}"), most + 1)] {
            let items = vec![item; count].join(",");
            let reply = format!(r#"{{"ok":{{"output":1,"{key}":[{items}]}}}}"#);
            runner.wat(&format!("{name}.wasm"), &replying(&reply));
            scenario += &format!(
                "[providers.{name}]\nplugin = \"{name}.wasm\"\nprotocol = \"json\"\n[[tests]]\nid = \"{name}\"\nproviders = [\"{name}\"]\ninput = 1\n"
            );
        }
    }
    runner.scenario(&scenario);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for test in ["checks", "metrics"] {
        assert_eq!(run.row(test)["outcome"], "passed", "{test}");
    }
    for test in ["component", "more-checks", "more-metrics"] {
        let error = run.row(test)["error"].take();
        assert_eq!([&error["class"], &error["code"]], ["limit", "reply"], "{test}: {error}");
    }
}
