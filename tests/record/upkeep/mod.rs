//! Keeping results: `cleanup`, `prune`, `pin`, `unpin`, `reindex`, `verify`, `show --history`.

mod prune;
mod sweep;
mod verify;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    files::{contents, files},
    runner::{Run, Runner},
};

/// Prints more than fits into a row, and a little talk.
const LOUD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func $print (param $to i32) (param $length i32) (local $at i32)
        (local.set $at (i32.const 1024))
        (block $done (loop $more
            (br_if $done (i32.eqz (local.get $length)))
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (br_if $done (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
            (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
            (br $more))))
    (func (export "_start")
        (memory.fill (i32.const 1024) (i32.const 97) (i32.const 70000))
        (call $print (i32.const 1) (i32.const 70000))
        (call $print (i32.const 2) (i32.const 10))))"#;

const SCENARIO: &str = r#"
name = "loud"

[providers.loud]
plugin = "loud.wasm"

[[tests]]
id = "one"
expect = { contains = "aaaa" }

[[tests]]
id = "two"
expect = { contains = "aaaa" }
files = { note = "note.txt" }

[[tests]]
id = "three"
expect = { contains = "aaaa" }
"#;

/// A folder with so many finished runs.
fn finished(runs: usize) -> Runner {
    let runner = Runner::new(&[]);
    runner.wat("loud.wasm", LOUD);
    runner.write("note.txt", "a note");
    runner.scenario(SCENARIO);
    for _ in 0..runs {
        runner.exec(&["--quiet", "-j1"]).expect(0);
    }
    runner
}

/// What a command says as one document.
#[track_caller]
fn document(runner: &Runner, args: &[&str]) -> Value {
    runner.run(&[args, &["--json"]].concat()).document()
}

/// Every file in the content store but its lock.
fn stored(runner: &Runner) -> Vec<PathBuf> {
    let store = runner.path("results/store");
    let mut files = files(&store);
    files.retain(|file| file.parent() != Some(&store));
    files
}

/// Makes a run look as if its process had died before its last row.
fn crash(run: &Run) {
    run.keep_rows(run.rows().len() - 1);
    run.forget_its_end();
}

/// Holds a lock as another process would.
fn hold(lock: &Path) -> fs_err::File {
    let file = fs_err::File::open(lock).unwrap();
    file.try_lock().unwrap();
    file
}

/// Everything below the results root, but what probing and projecting may touch.
fn recorded(runner: &Runner) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = contents(&runner.path("results"));
    files.retain(|(path, _)| !path.to_string_lossy().contains("runner.db"));
    files
}
