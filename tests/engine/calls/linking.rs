//! Files that do not fit this runner: what they lack or want too much of is named before anything is called.

use crate::support::engine::BENCH;

#[test]
fn what_is_missing_is_named() {
    let refused = |text: &str| BENCH.link_text(text).unwrap_err().to_string();

    assert_eq!(
        refused(
            r#"(module
                 (import "env" "read_sensor" (func)) (import "gpu" "draw" (func))
                 (func (export "_start")))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `env::read_sensor`, `gpu::draw`"
    );
    assert!(
        refused(
            r#"(module (import "wasi_snapshot_preview1" "fd_teleport" (func)) (func (export "_start")))"#
        )
        .contains("fd_teleport")
    );
    assert_eq!(
        refused(
            r#"(component
                 (import "wasi:keyvalue/store@0.2.0" (instance))
                 (import "acme:robot/arm@1.0.0" (instance))
                 (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `wasi:keyvalue/store@0.2.0`, `acme:robot/arm@1.0.0`"
    );
    assert_eq!(
        refused(
            r#"(component
                 (import "wasi:cli/environment@0.3.0" (instance))
                 (import "wasi:cli/environment@0.2.12" (instance))
                 (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `wasi:cli/environment@0.3.0`"
    );
    let empty = refused(
        r#"(component (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#,
    );
    assert!(
        empty.starts_with("plugin `hand.wasm` does not fit this runner: "),
        "{empty}"
    );
    assert!(empty.contains("describe"), "{empty}");
}

#[test]
fn a_file_that_does_not_validate_is_refused_with_its_reason() {
    // A body that leaves the wrong type: text that assembles, code that is not valid.
    let error = BENCH
        .link_text(r#"(module (func (export "_start") (result i32) i64.const 1))"#)
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot compile plugin `hand.wasm`");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("type mismatch"), "{reason}");
}

#[test]
fn what_no_limit_could_bound_is_not_compiled() {
    for (memory, reason) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
    ] {
        let text = format!(r#"(module {memory} (func (export "_start")))"#);
        let error = BENCH.link_text(&text).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(reason), "{source}");
    }
}
