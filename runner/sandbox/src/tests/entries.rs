//! Compiled plugins: compiling, loading and refusing.

use std::{fs, sync::Arc};

use runner_model::{
    cache::{CodeForm, Trailer, is_compile_key},
    digest,
    provider::{OutputForm, PluginKind},
};

use super::support::{Bench, bundled, error, output};
use crate::{Engines, compile, try_load};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Returns why a compiled plugin cannot be used. A trial load and a worker give the same reason.
#[track_caller]
fn refusal(text: &str) -> String {
    let wasm = wasm(text);
    let entry = match compile(&wasm, CodeForm::Optimized) {
        Ok(entry) => entry,
        Err(why) => return why,
    };
    let tried = try_load(&Arc::new(entry)).unwrap_err();
    match Bench::new().load(&wasm) {
        Err(error) => assert_eq!(error.message, tried),
        Ok(plugin) => panic!("{plugin:?}"),
    }
    tried
}

#[test]
fn the_key_stays() {
    let key = Engines::compile_key();
    assert!(is_compile_key(&key), "{key}");
    assert_eq!(key, Engines::compile_key());
}

#[test]
fn entry_contains_its_kind() {
    let trailer = |wasm: &[u8]| {
        let entry = Arc::new(compile(wasm, CodeForm::Optimized).unwrap());
        try_load(&entry).unwrap();
        Trailer::split(&entry).unwrap().1
    };
    let echo = trailer(&bundled("echo"));
    assert_eq!((echo.kind, echo.pooled), (PluginKind::Component, true));
    assert!((1 << 16..=256 << 10).contains(&echo.initial_memory), "{echo:?}");
    let two = trailer(&wasm(r#"(module (memory 3) (memory 1) (func (export "_start")))"#));
    assert_eq!((two.kind, two.initial_memory), (PluginKind::Command, 6 << 16));
}

#[test]
fn damaged_cache_entry_counts_as_missing() {
    let bench = Bench::new();
    let wasm = bundled("echo");
    bench.load(&wasm).unwrap();
    let digest = digest(&wasm);
    let path =
        bench.cache.path().join(CodeForm::Optimized.entry_name(&digest, &Engines::compile_key()));
    let whole = fs::read(&path).unwrap();
    let load =
        || bench.engines.load(bench.cache.path(), &digest, CodeForm::Optimized, bench.limits.stack);
    for (place, bytes) in [(whole.len() / 2, whole.len()), (0, 100), (0, 10), (0, 0)] {
        let mut damaged = whole[..bytes].to_vec();
        if let Some(byte) = damaged.get_mut(place) {
            *byte ^= 1;
        }
        bench.keep(&digest, &damaged);
        assert!(matches!(load(), Ok(None)));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(), Ok(None)));
    // A pipe must not block.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(load(), Ok(None)));
    let nowhere = bench.cache.path().join("nowhere");
    assert!(matches!(
        bench.engines.load(&nowhere, &digest, CodeForm::Optimized, bench.limits.stack),
        Ok(None)
    ));

    let mut entry = compile(&wasm, CodeForm::Optimized).unwrap();
    entry[1000] ^= 1;
    assert!(try_load(&Arc::new(entry)).unwrap_err().contains("damaged"));
}

#[test]
fn small_and_large_plugins_run_together() {
    let bench = Bench::new();
    let echo = bench.bundled("echo");
    let large = bench.text(r#"(module (memory 100) (func (export "_start")))"#);
    assert_eq!(output(&bench.run(&echo, "1")), "1");
    let ended = bench.plain(&large, runner_model::provider::OutputForm::Text);
    assert_eq!(output(&ended), "\"\"");
    assert_eq!(ended.usage.peak_memory, 100 << 16);
}

#[test]
fn all_missing_imports_are_named() {
    let module = r#"(module
        (import "env" "launch" (func)) (import "host" "memory" (memory 1))
        (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
        (func (export "_start")))"#;
    assert_eq!(
        refusal(module),
        "has imports that this runner does not offer: `env::launch`, `host::memory (memory)`"
    );
    let sockets =
        r#"(module (import "wasi_snapshot_preview1" "sock_open" (func)) (func (export "_start")))"#;
    let missing =
        "has imports that this runner does not offer: `wasi_snapshot_preview1::sock_open`";
    assert_eq!(refusal(sockets), missing);
    // A body that the compiler refuses shows that it did not run.
    let untyped = r#"(module (import "env" "launch" (func)) (func (export "_start") i32.add))"#;
    assert!(refusal(untyped).contains("`env::launch`"));
    let component = r#"(component
        (import "acme:database/query@1.0.0" (instance (export "ask" (func))))
        (import "wasi:cli/environment@0.2.0" (instance))
        (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#;
    assert_eq!(
        refusal(component),
        "has imports that this runner does not offer: `acme:database/query@1.0.0`"
    );
    let draft = r#"(component
        (import "wasi:cli/environment@0.3.0-rc-2026-02-09" (instance))
        (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#;
    assert!(refusal(draft).ends_with("; build it for a final version of WASI"));
    let imports: String =
        (0..30).map(|number| format!(r#"(import "env" "f{number}" (func))"#)).collect();
    let many = refusal(&format!(r#"(module {imports} (func (export "_start")))"#));
    assert!(many.ends_with("`env::f19` and 10 more"), "{many}");
}

#[test]
fn missing_exports_and_functions_are_named() {
    let hollow =
        r#"(component (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#;
    let message = refusal(hollow);
    assert!(message.contains("describe"), "{message}");
    let unknown =
        r#"(module (import "wasi_snapshot_preview1" "fd_fly" (func)) (func (export "_start")))"#;
    let message = refusal(unknown);
    assert!(message.contains("fd_fly"), "{message}");
}

#[test]
fn refused_compilation_names_its_reason() {
    let why = |wasm: &[u8]| compile(wasm, CodeForm::Optimized).unwrap_err();
    let invalid = why(&wasm(r#"(module (func (export "_start") i32.const 1))"#));
    assert!(invalid.starts_with("cannot be compiled: "), "{invalid}");
    assert!(invalid.contains("values remaining on stack"), "{invalid}");
    assert!(why(b"text").starts_with("is not WASM"));
    // Without a slot, instances must not take more memory of the host.
    let text = format!(
        r#"(module {} {} (func (export "_start")))"#,
        "(memory 0)".repeat(9),
        "(global i32 (i32.const 0))".repeat(20_001)
    );
    let refused = "does not fit a sandbox slot, and has 20001 globals; without a slot at most 20000 are allowed";
    assert_eq!(why(&wasm(&text)), refused);
}

#[test]
fn plugin_beyond_a_slot_runs_without_one() {
    let bench = Bench::new();
    let text = |parts: &str| format!(r#"(module {parts} (func (export "_start")))"#);
    for (parts, is_pooled) in [
        ("(memory 1)", true),
        (&*"(memory 1)".repeat(8), true),
        (&"(memory 1)".repeat(9), false),
        (&"(memory 1)".repeat(32), false),
        (&"(table 1 funcref)".repeat(16), true),
        (&"(table 1 funcref)".repeat(17), false),
        ("(table 1000000 funcref)", true),
    ] {
        let text = text(parts);
        let entry = compile(&wasm(&text), CodeForm::Optimized).unwrap();
        assert_eq!(Trailer::split(&entry).unwrap().1.pooled, is_pooled, "{text}");
        try_load(&Arc::new(entry)).unwrap();
        let ended = bench.plain(&bench.text(&text), OutputForm::Text);
        assert_eq!(output(&ended), "\"\"", "{text}");
    }
    let too_many = bench.text(&text(&"(memory 1)".repeat(33)));
    let ended = bench.plain(&too_many, OutputForm::Text);
    let (class, code, message) = error(&ended);
    assert_eq!((class, code), ("limit", "instances"), "{message}");
    // Its limit applies without a slot, too.
    let table = bench.text(&text("(table 1000001 funcref)"));
    let ended = bench.plain(&table, OutputForm::Text);
    assert_eq!(error(&ended).0, "out-of-memory");
    let mut bench = Bench::new();
    bench.limits.table_elements = 1_000_001;
    let ended = bench.plain(&bench.text(&text("(table 1000001 funcref)")), OutputForm::Text);
    assert_eq!(output(&ended), "\"\"");
}

#[test]
fn components_with_own_tasks_load() {
    // Its function is lifted as asynchronous. The pool has no stacks for such tasks.
    let text = r#"(component
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
    let entry = compile(&wasm(text), CodeForm::Optimized).unwrap();
    assert!(!Trailer::split(&entry).unwrap().1.pooled);
    try_load(&Arc::new(entry)).unwrap();
    let bench = Bench::new();
    let ended = bench.plain(&bench.text(text), OutputForm::Text);
    assert_eq!(output(&ended), "\"\"");
}

#[test]
fn exit_codes_depend_on_the_version_of_wasi() {
    let bench = Bench::new();
    let component = |function: &str, ty: &str| {
        format!(
            r#"(component
            (import "wasi:cli/exit@0.2.12" (instance $exit (export "{function}" (func (param "{ty}" {})))))
            (alias export $exit "{function}" (func $end))
            (core func $end (canon lower (func $end)))
            (core module $module
              (import "host" "end" (func $end (param i32)))
              (func (export "run") (result i32) (call $end (i32.const 75)) (i32.const 0)))
            (core instance $core (instantiate $module
              (with "host" (instance (export "end" (func $end))))))
            (func $run (result (result)) (canon lift (core func $core "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exports)))"#,
            if ty == "status" { "(result)" } else { "u8" }
        )
    };
    let module = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 75))))"#;
    for (text, codes) in [
        (component("exit", "status"), 0..=1),
        (component("exit-with-code", "status-code"), 0..=255),
        (module.to_owned(), 0..=255),
    ] {
        assert_eq!(bench.text(&text).exit_codes(), codes, "{text}");
    }
}
