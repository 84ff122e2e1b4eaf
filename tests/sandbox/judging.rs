//! Load that guests cause after they have ended: outputs to judge, schemas that explode.

use serde_json::{Value, json};

use crate::support::{processes::Process, runner::Runner};

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
