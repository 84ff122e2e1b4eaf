//! Kinds, imports and exports of files.

use runner_model::provider::PluginKind;

use super::{Inspection, inspect};

fn inspect_text(text: &str) -> Result<Inspection, String> {
    inspect(&wat::parse_str(text).unwrap())
}

fn kind(text: &str) -> PluginKind {
    inspect_text(text).unwrap().kind
}

fn refusal(text: &str) -> String {
    inspect_text(text).unwrap_err()
}

fn exporting(name: &str) -> String {
    format!(r#"(component (instance $i) (export "{name}" (instance $i)))"#)
}

#[test]
fn invalid_file_is_described() {
    assert!(inspect(b"").unwrap_err().starts_with("is empty"));
    assert!(inspect(b"#!/bin/sh\n").unwrap_err().starts_with("is not WASM"));
    let whole = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    for end in 5..whole.len() {
        let cut = inspect(&whole[..end]);
        // A file that is cut between two sections has no `_start`.
        let message = cut.unwrap_err();
        assert!(
            message.starts_with("is damaged WASM") || message.contains("no `_start`"),
            "{message}"
        );
    }
}

#[test]
fn module_with_start_is_a_command() {
    assert_eq!(kind("(module (func (export \"_start\")))"), PluginKind::Command);
    assert!(refusal("(module (func (export \"main\")))").contains("no `_start`"));
    assert!(refusal("(module (memory (export \"_start\") 1))").contains("no `_start`"));
}

#[test]
fn exports_decide_on_a_components_kind() {
    let found = inspect_text(&exporting("runner:provider/provider@0.1.0")).unwrap();
    assert_eq!((found.kind, found.contract.as_deref()), (PluginKind::Component, Some("0.1.0")));
    for version in ["0.2.6", "0.3.0", "0.3.2"] {
        assert_eq!(kind(&exporting(&format!("wasi:cli/run@{version}"))), PluginKind::Command);
    }
    assert!(refusal(&exporting("wasi:cli/run@0.3.0-rc-2026-02-09")).contains("without a provider"));
    let nested = format!("(component {})", exporting("wasi:cli/run@0.2.6"));
    assert!(refusal(&nested).starts_with(
        "is a component without a provider: it exports neither `runner:provider/provider` nor `wasi:cli/run` of WASI 0.2 or 0.3, but \
         nothing at all"
    ));
    let other = refusal(&exporting("wasi:http/handler@0.2.0"));
    assert!(other.contains("but `wasi:http/handler@0.2.0`; nothing calls a service"), "{other}");
}

#[test]
fn imports_and_exports_are_named() {
    let found = inspect_text(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
             (import "env" "memory" (memory 1))
             (func (export "_start"))
             (global (export "version") i32 (i32.const 1)))"#,
    )
    .unwrap();
    assert_eq!(found.imports, ["wasi_snapshot_preview1::fd_write", "env::memory (memory)"]);
    assert_eq!(found.exports, ["_start"]);
}

#[test]
fn the_hosts_version_is_that_of_its_contract() {
    let contract = include_str!("../../../../plugins/sdk/wit/provider.wit");
    assert!(contract.contains("package runner:provider@0.1.2;"));
    assert_eq!(super::HOST, [0, 1, 2]);
}

#[test]
fn refused_contract_names_both_versions() {
    for (guest, remedy) in [
        ("0.2.0", "it needs a newer runner"),
        ("1.0.0", "it needs a newer runner"),
        ("0.1.3", "it needs a newer runner"),
        ("0.0.9", "build it for this version"),
        ("0.1.0-draft", "build it for this version"),
    ] {
        let expected = format!(
            "is built for version {guest} of the contract `runner:provider`, but this runner supports 0.1.2; {remedy}"
        );
        let exported = exporting(&format!("runner:provider/provider@{guest}"));
        let import =
            format!(r#"(import "runner:provider/http@{guest}" (instance (export "open" (func))))"#);
        let imported = exporting("runner:provider/provider@0.1.2")
            .replace("(component", &format!("(component {import}"));
        for text in [exported, imported] {
            assert_eq!(refusal(&text), expected);
        }
    }
}
