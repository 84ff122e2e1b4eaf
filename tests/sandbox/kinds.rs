//! Kinds of plugins, and how their sandboxes are created.

use crate::support::runner::{Runner, tests};

/// A command as a component that runs a task of its own, as languages with an async runtime emit it.
const TASKS: &str = r#"(component
  (core module $module
    (import "host" "return" (func $return (param i32)))
    (func (export "run") (result i32) (call $return (i32.const 0)) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (canon task.return (result (result)) (core func $return))
  (core instance $core (instantiate $module
    (with "host" (instance (export "return" (func $return))))))
  (func $run async (result (result))
    (canon lift (core func $core "run") async (callback (core func $core "callback"))))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))"#;

#[test]
fn plugins_run_wherever_they_fit() {
    let runner = Runner::new(&[]);
    let many = "(memory 1)".repeat(9);
    let module =
        |parts: &str, code: &str| format!(r#"(module {parts} (func (export "_start") {code}))"#);
    runner.wat("small.wasm", &module("(memory 1)", ""));
    runner.wat("many.wasm", &module(&many, ""));
    runner.wat("tasks.wasm", TASKS);
    runner.wat("loops.wasm", &module(&many, "(loop (br 0))"));
    let providers: String = ["small", "many", "tasks", "loops"]
        .iter()
        .map(|name| format!("[providers.{name}]\nplugin = \"{name}.wasm\"\n"))
        .collect();
    runner.scenario(&format!(
        "{providers}
         [[tests]]
         id = \"ends\"
         repeat = 3
         providers = [\"small\", \"many\", \"tasks\"]
         [[tests]]
         id = \"never\"
         providers = [\"loops\"]
         timeout = \"200ms\"
         expect = {{ error = \"timeout\" }}"
    ));
    // In the second run, all are in the cache.
    for run in 0..2 {
        runner.exec(&["-j", "2"]).expect(0);
        assert_eq!(runner.runs()[run].count("passed"), 10);
    }
}

#[test]
fn large_artifacts_of_components_arrive() {
    let runner = Runner::hostile(&tests(
        "a | { do = \"flood-artifacts\", bytes = 600_000, count = 3 } | equals = 0",
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let row = run.row("a");
    let left = row["artifacts"].as_array().unwrap();
    let bytes: Vec<_> = left.iter().map(|left| left["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [600_000; 3], "{row}");
}
