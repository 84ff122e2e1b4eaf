//! Small calls on files: a preview 1 module in the runner and in plain wasmtime, which measures its own calls.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use wasmtime::{Config, Engine, Linker, Module, Store};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, p1, p2::pipe::MemoryOutputPipe};

use crate::{Done, RUNNER, median};

/// Files that are open at once.
const FILES: u32 = 64;
/// The calls that are measured, each for every file: name, body of the loop, and its result, 0 if it worked. `N` is the
/// number of the file, `F` the address of its descriptor.
const CALLS: [(&str, &str); 8] = [
    (
        "create",
        "(call $open (i32.const 3) (i32.const 0) (call $name N) (i32.const 4) (i32.const 1) (i64.const 536870911) (i64.const 0) (i32.const 0) F)",
    ),
    ("write", "(call $write (i32.load F) (i32.const 0) (i32.const 1) (i32.const 32))"),
    ("read", "(call $pread (i32.load F) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 32))"),
    ("close", "(call $close (i32.load F))"),
    (
        "stat",
        "(call $stat (i32.const 3) (i32.const 0) (call $name N) (i32.const 4) (i32.const 2048))",
    ),
    (
        "open",
        "(call $open (i32.const 3) (i32.const 0) (call $name N) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) F)",
    ),
    ("", "(call $close (i32.load F))"),
    ("unlink", "(call $unlink (i32.const 3) (call $name N) (i32.const 4))"),
];

/// Compares both, `rounds` times with `repeats` calls of each kind on each file.
pub fn run(cache: &Path, folder: &Path, rounds: u64, repeats: u64) -> Done {
    let module = wat::parse_str(program(repeats))?;
    fs::write(folder.join("files.wasm"), &module)?;
    fs::write(
        folder.join("files.toml"),
        "[providers.files]\nplugin = \"files.wasm\"\nlimits = { scratch = \"16GiB\" }\n[[tests]]\nid = \"a\"\ninput = 1\n",
    )?;
    let names = CALLS.map(|(name, _)| name);
    let mut figures = vec![[Vec::new(), Vec::new()]; CALLS.len()];
    for _ in 0..rounds {
        for (index, text) in [plain(&module)?, runner(cache, folder)?].iter().enumerate() {
            for (call, nanos) in text.split_whitespace().enumerate() {
                let each = nanos.parse::<f64>()? / 1e3 / f64::from(FILES) / repeats as f64;
                figures[call][index].push(each);
            }
        }
    }
    println!("\nsmall calls on files, {rounds} rounds, µs a call: plain wasmtime, runner, ratio");
    for (name, both) in names.iter().zip(&mut figures).filter(|(name, _)| !name.is_empty()) {
        let [plain, runner] = both.each_mut().map(|all| {
            all.sort_by(f64::total_cmp);
            median(all)
        });
        println!("  {name:8} {plain:7.2} {runner:7.2} {:7.2}", runner / plain);
    }
    Ok(())
}

/// A module that makes each call for each file, `repeats` times, and prints the nanoseconds of each kind.
fn program(repeats: u64) -> String {
    let mut body = String::new();
    for (index, (_, call)) in CALLS.iter().enumerate() {
        let sum = 1024 + 8 * index;
        let call = call
            .replace(" F", " (i32.add (i32.const 4096) (i32.mul (local.get $file) (i32.const 4)))")
            .replace(" N", " (local.get $file)");
        let _ = write!(
            body,
            "(local.set $start (call $now)) (local.set $file (i32.const 0))
             (loop $each
               (if {call} (then unreachable))
               (local.set $file (i32.add (local.get $file) (i32.const 1)))
               (br_if $each (i32.lt_u (local.get $file) (i32.const {FILES}))))
             (i64.store (i32.const {sum}) (i64.add (i64.load (i32.const {sum}))
               (i64.sub (call $now) (local.get $start))))\n"
        );
    }
    let print: String = (0..CALLS.len())
        .map(|index| format!("(call $print (i64.load (i32.const {})))\n", 1024 + 8 * index))
        .collect();
    let import = |name: &str, function: &str, types: &str| {
        format!(
            "(import \"wasi_snapshot_preview1\" \"{function}\" (func ${name} (param {types}) (result i32)))\n"
        )
    };
    let imports = [
        import("open", "path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        import("write", "fd_write", "i32 i32 i32 i32"),
        import("pread", "fd_pread", "i32 i32 i32 i64 i32"),
        import("close", "fd_close", "i32"),
        import("stat", "path_filestat_get", "i32 i32 i32 i32 i32"),
        import("unlink", "path_unlink_file", "i32 i32 i32"),
        import("clock", "clock_time_get", "i32 i64 i32"),
    ]
    .concat();
    format!(
        r#"(module {imports}
        (memory (export "memory") 1)
        (data (i32.const 0) "\00\02\00\00\64\00\00\00\40\00\00\00\15\00\00\00")
        (func $now (result i64)
          (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 48)))
          (i64.load (i32.const 48)))
        (func $name (param $file i32) (result i32)
          (i32.store (i32.const 256) (i32.const 0x30306566))
          (i32.store8 (i32.const 258) (i32.add (i32.const 48) (i32.div_u (local.get $file) (i32.const 10))))
          (i32.store8 (i32.const 259) (i32.add (i32.const 48) (i32.rem_u (local.get $file) (i32.const 10))))
          (i32.const 256))
        (func $print (param $number i64) (local $place i32)
          (local.set $place (i32.const 83))
          (i32.store8 (i32.const 84) (i32.const 32))
          (loop $digits
            (i32.store8 (local.get $place)
              (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 10)))))
            (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
            (local.set $place (i32.sub (local.get $place) (i32.const 1)))
            (br_if $digits (i32.ge_u (local.get $place) (i32.const 64))))
          (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32))))
        (func (export "_start") (local $start i64) (local $file i32) (local $repeat i64)
          (loop $all
            {body}
            (local.set $repeat (i64.add (local.get $repeat) (i64.const 1)))
            (br_if $all (i64.lt_u (local.get $repeat) (i64.const {repeats}))))
          {print}))"#
    )
}

/// Runs the module in plain wasmtime, as its own documentation shows. Returns its output.
fn plain(module: &[u8]) -> Done<String> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, module)?;
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_async(&mut linker, |wasi: &mut p1::WasiP1Ctx| wasi)?;
    let (folder, output) = (tempfile::tempdir()?, MemoryOutputPipe::new(4096));
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(folder.path(), "/scratch", FsPerms::ReadWrite)?.stdout(output.clone());
    let mut store = Store::new(&engine, wasi.build_p1());
    store.set_epoch_deadline(u64::MAX / 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    })?;
    Ok(String::from_utf8(output.contents().to_vec())?)
}

/// Runs the module as a test. Returns its output.
fn runner(cache: &Path, folder: &Path) -> Done<String> {
    let mut command = Command::new(RUNNER);
    command.args(["exec", "-q", "--results", "results", "files.toml"]);
    command.current_dir(folder).env("RUNNER_CACHE", cache).stdout(Stdio::null());
    let status = command.status()?;
    let results = folder.join("results");
    let mut row = String::new();
    for run in fs::read_dir(&results)? {
        row += &fs::read_to_string(run?.path().join("index.jsonl")).unwrap_or_default();
    }
    fs::remove_dir_all(&results)?;
    let row: serde_json::Value = serde_json::from_str(&row)?;
    match row["output"].as_str() {
        Some(output) if status.success() => Ok(output.to_owned()),
        _ => Err(format!("files.toml ended with {status}: {row}").into()),
    }
}
