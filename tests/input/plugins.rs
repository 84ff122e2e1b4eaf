//! Files that are not plugins, and plugins that cannot be used.

use std::fs;

use rustix::process::Signal;

use crate::messages::transcript::Transcript;
use crate::support::{
    guests::{long_to_compile, printing},
    processes::children,
    runner::Runner,
    running::Running,
    wait::{wait_for, wait_until},
};

/// Writes a scenario with one provider, `p`, and one test.
fn provider(plugin: &str) -> String {
    format!("[providers.p]\nplugin = \"{plugin}\"\n[[tests]]\nid = \"a\"\n")
}

/// Runs a scenario whose plugin fails when it is compiled, loaded or described.
#[track_caller]
fn assert_refused(runner: &Runner, says: &[&str]) {
    runner.refused(&[], &[&["`p`", "scenario.toml:2:"], says].concat());
}

/// A component whose core module runs `code` when it is instantiated.
fn with_start(code: &str) -> String {
    format!(
        r#"(component
             (core module $module
               (func $begin {code}) (start $begin)
               (func (export "describe")) (func (export "run")))
             (core instance $core (instantiate $module))
             (func $describe (canon lift (core func $core "describe")))
             (func $run (canon lift (core func $core "run")))
             (instance $provider (export "describe" (func $describe)) (export "run" (func $run)))
             (export "runner:provider/provider@0.1.0" (instance $provider)))"#
    )
}

#[test]
fn files_that_are_no_plugins() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    let file = |name: &str, says: &str| {
        runner.scenario(&provider(name));
        runner.refused(&[], &["`p`", name, says]);
    };
    runner.write("empty.wasm", "");
    file("empty.wasm", "empty");
    runner.write("text.wasm", "#!/bin/sh\n");
    file("text.wasm", "not WASM");
    let whole = fs::read(runner.path("hostile.wasm")).unwrap();
    runner.write("cut.wasm", &whole[..whole.len() / 2]);
    file("cut.wasm", "damaged");
    runner.wat("library.wasm", "(module (func (export \"add\")))");
    file("library.wasm", "_start");
    let exporting =
        |name: &str| format!("(component (instance $i) (export \"{name}\" (instance $i)))");
    runner.wat("world.wasm", &exporting("wasi:http/handler@0.2.0"));
    file("world.wasm", "world");
    runner.wat("newer.wasm", &exporting("runner:provider/provider@0.2.0"));
    file("newer.wasm", "0.2.0");
    runner.scenario(&provider("missing.wasm"));
    transcript.refused(&runner, &[]);
    runner.scenario(&provider("bundled:nothing"));
    transcript.refused(&runner, &[]);
    transcript.check("files_that_are_no_plugins");
}

#[test]
fn too_little_memory_is_a_problem_of_limits() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\nlimits = { memory = 64 }\n[[tests]]\nid = \"a\"\n",
    );
    let validated = runner.run(&["validate", "scenario.toml"]).expect(2);
    validated.says(&["scenario.toml:3:", "`memory = \"64MiB\"`"]);
}

#[test]
fn plain_programs_need_no_protocol() {
    let runner = Runner::new(&[]);
    runner.wat("plain.wasm", &printing("hello"));
    runner.scenario(&provider("plain.wasm").replace("[[tests]]", "protocol = \"json\"\n[[tests]]"));
    assert_refused(&runner, &["leave out `protocol = \"json\"`"]);
}

#[test]
fn inspect_refuses_what_runs_refuse() {
    let runner = Runner::new(&[]);
    let import = r#"(module (import "env" "launch" (func)) (func (export "_start")))"#;
    let preview =
        r#"(module (import "wasi_snapshot_preview1" "fly" (func)) (func (export "_start")))"#;
    for (name, text, says) in [
        ("library.wasm", "(module (func (export \"add\")))", "_start"),
        ("foreign.wasm", import, "has imports that this runner does not offer: `env::launch`"),
        ("preview.wasm", preview, "fly"),
        (
            "invalid.wasm",
            r#"(module (func (export "_start") i32.const 1))"#,
            "values remaining on stack",
        ),
        ("trap.wasm", &with_start("unreachable"), "unreachable"),
    ] {
        runner.wat(name, text);
        runner.scenario(&provider(name));
        let ran = runner.exec(&[]);
        assert_ne!(ran.code, Some(0), "{name}");
        ran.says(&[name, says]);
        let is_compiled = ran.stderr.contains(&format!("compiled {name}"));
        assert!(!is_compiled || name == "trap.wasm", "{}", ran.stderr);
        runner.run(&["plugin", "inspect", name]).expect(2).says(&[name, says]);
        let json = runner.run(&["plugin", "inspect", name, "--json"]).expect(2);
        json.says(&[says]);
    }
}

#[test]
fn trap_in_describe_is_refused_everywhere() {
    let runner = Runner::new(&[]);
    runner.wat("trap.wasm", &with_start("unreachable"));
    runner.scenario(&(provider("trap.wasm") + "expect = { equals = 1 }\n"));
    let expected = runner.run(&["validate", "scenario.toml"]).expect(2).stderr;
    for more in [&[][..], &["--json"], &["--dry-run"], &["--into", "results/named"]] {
        let ran = runner.refused(more, &["unreachable"]);
        assert_eq!(ran.stderr, expected, "{more:?}");
    }
    assert!(!runner.path("results/named").exists());
}

#[test]
fn panic_in_describe_comes_first() {
    let runner = Runner::new(&[]);
    let words = "thread 'main' (1) panicked at d.rs:1:80:\\0ano database\\0anote: run with `RUST_BACKTRACE=1`\\0a";
    let length = words.replace("\\0a", "\n").len();
    runner.wat(
        "crash.wasm",
        &format!(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "\10\00\00\00\{length:02x}\00\00\00") (data (i32.const 16) "{words}")
              (func (export "_start")
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                unreachable))"#
        ),
    );
    let text = provider("crash.wasm").replace("[[tests]]", "protocol = \"json\"\n[[tests]]");
    runner.scenario(&text);
    let says = "plugin `crash.wasm` failed in `describe`: no database (panicked at d.rs:1:80); the guest trapped";
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    ran.says(&[says]);
    assert!(ran.stderr.contains("trapped\n") && !ran.stderr.contains("\\n"), "{}", ran.stderr);
}

#[test]
fn schema_of_inputs_must_be_one() {
    let runner = Runner::new(&[]);
    let about =
        r#"{"ok": {"name": "p", "version": "1", "summary": "", "input_schema": {"type": "text"}}}"#;
    let length = about.len();
    let about = about.replace('"', "\\\"");
    runner.wat(
        "schema.wasm",
        &format!(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "\10\00\00\00\{length:02x}\00\00\00") (data (i32.const 16) "{about}")
              (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
        ),
    );
    let tests = "protocol = \"json\"\n[[tests]]\nid = \"a\"\n[[tests]]\nid = \"b\"\n";
    runner.scenario(&format!("[providers.p]\nplugin = \"schema.wasm\"\n{tests}"));
    let says = "schema of its input that is not a valid JSON Schema";
    // The plugin is at fault, not each test.
    let told = runner.run(&["validate", "scenario.toml"]).expect(2).stderr;
    assert_eq!(told.matches(says).count(), 1, "{told}");
    assert!(told.contains("plugin = \"schema.wasm\""), "{told}");
    runner.run(&["plugin", "inspect", "schema.wasm"]).says(&[says]);
    assert_refused(&runner, &[says]);
}

#[test]
fn loop_in_describe_is_refused() {
    let runner = Runner::new(&["stuck"]);
    runner.scenario(&provider("stuck.wasm"));
    let says = ["`p`", "scenario.toml:2:", "`describe` did not end within 10 s"];
    let ran = runner.refused(&[], &says);
    // Only a development form has its advice.
    assert!(!ran.stderr.contains("development"), "{}", ran.stderr);
}

#[test]
fn run_timeout_bounds_planning_too() {
    let runner = Runner::new(&["stuck"]);
    runner.scenario(&provider("stuck.wasm"));
    runner.exec(&["--timeout-minutes", "0.01"]).expect(4);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    assert_eq!(run.manifest()["stage"], "plan");
}

#[test]
fn endless_compilation_is_ended() {
    let runner = Runner::new(&[]);
    runner.write("long.wasm", long_to_compile());
    runner.scenario(&provider("long.wasm"));
    let mut command = runner.command(&["exec", "scenario.toml"]);
    // Other tests must not find this plugin compiled.
    command.env("RUNNER_CACHE", runner.path("cache"));
    // As a system does that is short of memory. The same command may work the next time.
    let running = Running::start(&mut command);
    let compiler = wait_for("a compiler runs", || children(running.process().0, "__compile").pop());
    compiler.signal(Signal::KILL);
    let ran = running.finish().expect(6);
    ran.says(&["plugin `long.wasm` cannot be used", "was ended by signal 9", "try again"]);
    assert!(runner.runs().is_empty(), "there is a run");
    let mut inspect = runner.command(&["plugin", "inspect", "long.wasm"]);
    inspect.env("RUNNER_CACHE", runner.path("cache")).env("RUNNER_TEST_COMPILE_MS", "1000");
    Running::start(&mut inspect).finish().expect(6).says(&["took longer than 1 s; try again"]);
    command.env("RUNNER_TEST_COMPILE_MS", "1000");
    let ran = Running::start(&mut command).finish().expect(6);
    ran.says(&["plugin `long.wasm` cannot be used: `compile` took longer than 1 s; try again"]);
    assert!(runner.runs().is_empty(), "there is a run");
}

#[test]
fn waiting_run_whose_plugin_traps_has_failed() {
    let runner = Runner::endless(1, "wait-for-stop", "");
    let mut other = runner.started(&["exec", "scenario.toml"]);
    other.wait_until_running(&runner, 1);
    runner.wat("trap.wasm", &with_start("unreachable"));
    runner.write("trap.toml", provider("trap.wasm"));
    let mut waiting = runner.started(&["exec", "trap.toml", "--exclusive", "--wait", "--json"]);
    wait_until("it waits", || {
        assert!(waiting.is_alive());
        let runs = runner.runs();
        runs.len() == 2 && runs[1].text("runner.log").contains(" waits: ")
    });
    other.end_by(Signal::INT).0.expect(130);
    let ran = waiting.finish().expect(3);
    let finished = ran.events().pop().unwrap();
    let ending = ["event", "status", "reason"].map(|key| finished[key].as_str().unwrap());
    assert_eq!(ending, ["finished", "failed", "plugin"]);
    assert!(finished["message"].as_str().unwrap().contains("`p`"), "{finished}");
    let run = runner.runs().pop().unwrap();
    assert_eq!(run.ending(), ["failed", "plugin", "", "none"]);
    assert_eq!(run.manifest()["stage"], "plan");
    assert!(run.text("runner.log").contains("unreachable"), "it cannot be read later");
    runner.run(&["list"]).expect(0).says(&["not started (plugin)"]);

    // It is planned again.
    let repaired = provider("bundled:echo")
        + "[providers.p.grants]\nnet = [\"http://127.0.0.1:9\"]\n[[tests]]\nid = \"b\"\n";
    runner.write("trap.toml", repaired);
    runner.run(&["resume", run.id()]).expect(2).says(&["net = [\"http://127.0.0.1:9\"]"]);
    runner.run(&["resume", run.id(), "--accept-access"]).expect(0);
    assert_eq!((run.planned(), run.rows().len()), (2, 2));
}
