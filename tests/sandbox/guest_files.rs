//! File systems of guests: bounds, denials and errors.

use std::fs;

use serde_json::{Value, json};

use crate::support::{guests::module, runner::Runner, running::Running};

/// A program that makes and removes a folder `LOCKS` times, as SQLite does to lock a database, and prints `done`.
const LOCKING: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_create_directory" (func $make (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory" (func $remove (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "done") (data (i32.const 32) "lock")
    (func (export "_start") (local $count i32)
        (loop $next
            (if (call $make (i32.const 3) (i32.const 32) (i32.const 4)) (then unreachable))
            (if (call $remove (i32.const 3) (i32.const 32) (i32.const 4)) (then unreachable))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $count) (i32.const LOCKS))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// A program that prints `done`, or `full` if it could not make `COUNT` folders.
const CROWDING: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_create_directory" (func $make (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "done") (data (i32.const 32) "aaa")
    (func (export "_start") (local $count i32)
        (loop $next
            (i32.store8 (i32.const 32) (i32.add (i32.const 97) (i32.rem_u (local.get $count) (i32.const 26))))
            (i32.store8 (i32.const 33) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $count) (i32.const 26)) (i32.const 26))))
            (i32.store8 (i32.const 34) (i32.add (i32.const 97) (i32.div_u (local.get $count) (i32.const 676))))
            (if (call $make (i32.const 3) (i32.const 32) (i32.const 3))
                (then (i32.store (i32.const 16) (i32.const 0x6c6c7566))))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $count) (i32.const COUNT))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Runs a program whose output must be `done`. Returns its row.
fn row_of(program: &str, exit: i32) -> Value {
    let runner = Runner::new(&[]);
    runner.wat("program.wasm", program);
    runner.scenario(
        r#"
        [providers.p]
        plugin = "program.wasm"
        limits = { scratch = "64MiB" }
        [[tests]]
        id = "a"
        input = 1
        expect = { equals = "done" }
        "#,
    );
    // In memory: some disks take milliseconds to make a folder.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    if fs::exists("/dev/shm").unwrap() {
        command.env("TMPDIR", "/dev/shm");
    }
    Running::start(&mut command).finish().expect(exit);
    runner.only_run().row("a")
}

#[test]
fn removed_folders_count_for_nothing() {
    let row = row_of(&LOCKING.replace("LOCKS", "9000"), 0);
    assert_eq!(row["outcome"], "passed", "{row}");
    assert_eq!(row.get("denied"), None, "{row}");
}

#[test]
fn fixed_limit_is_an_error_of_the_attempt() {
    let row = row_of(&CROWDING.replace("COUNT", "4000"), 0);
    assert_eq!(row["outcome"], "passed", "{row}");
    let row = row_of(&CROWDING.replace("COUNT", "4001"), 1);
    assert_eq!(row["outcome"], "error", "{row}");
    let refused = "a new folder was refused, because an attempt may have at most 4000 at once";
    let message = format!("{refused}: this fixed limit may have changed the answer");
    let error = json!({"class": "limit", "code": "files", "message": message});
    assert_eq!(row["error"], error, "{row}");
    assert_eq!(row["denied"], json!([{"what": refused}]), "{row}");
}

#[test]
fn refused_write_is_a_denied_request() {
    let runner = Runner::new(&["files"]);
    runner.link(&module("files-command"), "files-command.wasm");
    fs::create_dir(runner.path("data")).unwrap();
    let acts = r#"[["write", "/data/a", "x"], ["mkdir", "/data/b"]]"#;
    runner.scenario(&format!(
        r#"
        [providers.component]
        plugin = "files.wasm"
        [providers.program]
        plugin = "files-command.wasm"
        args = ["{{{{input}}}}"]
        output = "json"
        [providers.component.grants]
        fs = [{{ path = "data", mount = "/data" }}]
        [providers.program.grants]
        fs = [{{ path = "data", mount = "/data" }}]
        [[tests]]
        id = "a"
        input = {acts}
        "#
    ));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let denied = ["a", "b"]
        .map(|path| json!({"what": format!("changing `{path}`, which is in a read-only folder")}));
    assert_eq!(run.rows().len(), 2);
    for row in run.rows() {
        assert_eq!(row["denied"], json!(denied), "{row}");
    }
}
