//! Fixed bounds of a running guest, which no key of a scenario changes.

use serde_json::json;

use crate::support::{guests::printing, runner::Runner};

/// A resource of the guest itself, and the call that creates one.
const OWN: [&str; 2] = [
    "(type $own (resource (rep i32))) (core func $create (canon resource.new $own))",
    "(call $create (i32.const 1))",
];
/// A resource of the host, which takes two entries of its table.
const HOST: [&str; 2] = [
    r#"(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
       (alias export $poll "pollable" (type $pollable))
       (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
         (export "pollable" (type $own (eq $pollable)))
         (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
       (core func $create (canon lower (func $clock "subscribe-duration")))"#,
    "(call $create (i64.const 1000000000000))",
];

/// Returns a command that creates `count` resources, and keeps them.
fn keeping([resource, create]: [&str; 2], count: usize) -> String {
    let number = if create.contains("i64") { "i64" } else { "i32" };
    format!(
        r#"(component
          {resource}
          (core module $module
            (import "host" "create" (func $create (param {number}) (result i32)))
            (func (export "run") (result i32) (local $count i32)
              (loop $next
                (drop {create})
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $count) (i32.const {count}))))
              (i32.const 0)))
          (core instance $core (instantiate $module
            (with "host" (instance (export "create" (func $create))))))
          (func $run (result (result)) (canon lift (core func $core "run")))
          (instance $exports (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    )
}

#[test]
fn handles_and_host_resources_are_bounded() {
    let runner = Runner::new(&[]);
    for (resource, most, says) in [
        (OWN, 10_000, "the guest holds too many handles at once"),
        (HOST, 128, "the guest holds too many host resources at once"),
    ] {
        for (count, code) in [(most, 0), (most + 1, 1)] {
            runner.wat("p.wasm", &keeping(resource, count));
            let ran = runner.run(&["plugin", "run", "p.wasm"]).expect(code);
            if code == 1 {
                ran.says(&[says]);
            }
        }
    }
}

#[test]
fn oversized_description_is_refused_by_exec() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.p]\nplugin = \"p.wasm\"\nprotocol = \"json\"\n[[tests]]\nid = \"a\"\n",
    );
    for (summary, requests, says) in
        [(16 << 10, 257, "257 requests"), ((16 << 10) + 1, 0, "16385 bytes of the summary")]
    {
        let (summary, requests) = ("x".repeat(summary), vec!["x"; requests]);
        let description =
            json!({"ok": {"name": "p", "version": "1", "summary": summary, "requests": requests}});
        runner.wat("p.wasm", &printing(&description.to_string()));
        runner.refused(&[], &[says]);
    }
}
