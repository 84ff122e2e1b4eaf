//! Keeping results: `cleanup`, `prune`, `pin`, `unpin`, `reindex`, `verify`, `show --history`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

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

/// A folder with a scenario, and its results.
struct Results(TempDir);

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Results {
    /// So many finished runs.
    fn new(runs: usize) -> Self {
        let results = Self(tempfile::tempdir().unwrap());
        let write = |name: &str, bytes: &[u8]| fs_err::write(results.path(name), bytes).unwrap();
        write("loud.wasm", &wat::parse_str(LOUD).unwrap());
        write("note.txt", b"a note");
        write("scenario.toml", SCENARIO.as_bytes());
        for _ in 0..runs {
            let ran = results.run(&["exec", "--quiet", "scenario.toml"]);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        results
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env(
                "RUNNER_CACHE",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
            )
            .env("NO_COLOR", "1")
            .env_remove("RUNNER_RESULTS");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
    }

    /// The run directories, oldest first.
    fn runs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<_> = fs_err::read_dir(self.path("results"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("benchmark.json").exists())
            .collect();
        dirs.sort();
        dirs
    }

    /// Every file in the content store.
    fn stored(&self) -> Vec<PathBuf> {
        let shelves = fs_err::read_dir(self.path("results/store")).unwrap();
        shelves
            .map(|shelf| shelf.unwrap().path())
            .filter(|shelf| shelf.is_dir())
            .flat_map(|shelf| fs_err::read_dir(shelf).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

fn name(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

#[test]
fn by_hand() {
    let r = Results::new(2);
    let keep = r.0.keep();
    println!("{}", keep.display());
}
