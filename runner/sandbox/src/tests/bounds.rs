//! Files with too many parts.

use runner_model::cache::CodeForm;
use wasmparser::Parser;

use crate::engine::bounds::Counts;
use crate::{compile, inspect};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn refusal(text: &str) -> String {
    inspect(&wat::parse_str(text).unwrap()).unwrap_err()
}

/// Encodes a number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

/// Encodes a section with `count` as its length and with `entries`.
fn counted(id: u8, count: usize, entries: &[u8]) -> Vec<u8> {
    section(id, &[leb(count).as_slice(), entries].concat())
}

fn module(section: &[u8]) -> Vec<u8> {
    [MODULE, section].concat()
}

fn component(section: &[u8]) -> Vec<u8> {
    [COMPONENT, section].concat()
}

/// Encodes imports of functions without names, from one module whose name they share.
fn sharing(name: usize, count: usize) -> Vec<u8> {
    let module = [leb(name), vec![b'm'; name]].concat();
    [module.as_slice(), &[0, 0x7e, 0, 0], &leb(count), &vec![0; count]].concat()
}

/// Encodes components, each of which instantiates its predecessor twice.
fn doubling(times: usize) -> Vec<u8> {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for number in 1..=times {
        let before = number - 1;
        text += &format!(
            "(component $c{number} (alias outer $top $c{before} (component $before))
                (instance (instantiate $before)) (instance (instantiate $before)))"
        );
    }
    wat::parse_str(format!("(component $top {text} (instance (instantiate $c{times})))")).unwrap()
}

#[test]
fn file_with_too_many_parts_is_refused() {
    let many = 20_000_000;
    let elements = [&[1, 0], leb(2_000_000).as_slice(), &[0].repeat(2_000_000)].concat();
    for (bytes, says) in [
        (module(&counted(7, many, &[0, 0, 0])), "has 20000000 exports"),
        (module(&counted(2, many, &[])), "has 20000000 imports"),
        (
            module(&counted(2, 1, &sharing(100_000, 49_999))),
            "has imports that share the name of their module",
        ),
        (module(&counted(3, many, &[])), "has 20000000 functions, and at most 500000 are allowed"),
        (module(&counted(1, many, &[])), "has 20000000 types"),
        (
            module(&counted(1, 1, &[0x60].repeat(9 << 20))),
            "of types, imports, exports and aliases, and at most 8 MiB are allowed",
        ),
        (module(&counted(6, many, &[])), "has 20000000 globals"),
        (module(&counted(4, many, &[])), "has 20000000 tables"),
        (module(&counted(5, many, &[])), "has 20000000 memories"),
        (
            module(&counted(9, 1, &elements)),
            "has 2000000 elements, and at most 1000000 are allowed",
        ),
        (module(&counted(11, many, &[])), "has 20000000 data segments"),
        (component(&counted(11, many, &[])), "has 20000000 exports"),
        (component(&counted(10, many, &[])), "has 20000000 imports"),
        (component(&counted(2, many, &[])), "has 20000000 instances"),
        (component(&counted(5, many, &[])), "has 20000000 instances"),
        (component(&counted(6, many, &[])), "has 20000000 aliases"),
        (component(&counted(7, many, &[])), "has 20000000 types"),
        (component(&counted(8, many, &[])), "has 20000000 canonical functions"),
        (component(&section(1, MODULE).repeat(501)), "has 501 nested modules"),
        (component(&section(4, COMPONENT).repeat(1_001)), "has 1001 nested components"),
        (doubling(60), "instances in all"),
    ] {
        let message = inspect(&bytes).unwrap_err();
        assert!(message.contains(says), "{says}: {message}");
        assert_eq!(compile(&bytes, CodeForm::Optimized).unwrap_err(), message);
    }
}

#[test]
fn parts_that_call_each_other_are_found() {
    let is_composed = |parts: &str| {
        let text = format!(
            r#"(component
                 (import "host" (func $host))
                 (core func $lowered (canon lower (func $host)))
                 (core module $m (import "" "f" (func)) (func (export "f")))
                 (core instance $i (instantiate $m (with "" (instance (export "f" (func $lowered))))))
                 (func $lifted (canon lift (core func $i "f")))
                 (component $shim (import "f" (func $f)) (export "f" (func $f)))
                 (instance $s (instantiate $shim (with "f" (func $lifted))))
                 {parts})"#
        );
        let mut counts = Counts::default();
        for payload in Parser::new(0).parse_all(&wat::parse_str(text).unwrap()) {
            counts.count(&payload.unwrap()).unwrap();
        }
        counts.is_composed()
    };
    // As each toolchain writes it: the host's functions first, then the exports, with a component that only renames them.
    assert!(!is_composed(""));
    assert!(!is_composed("(func $more (canon lift (core func $i \"f\")))"));
    assert!(is_composed("(core func $again (canon lower (func $lifted)))"));
    assert!(is_composed(
        "(component (import \"f\" (func $f)) (core func (canon lower (func $f))))"
    ));
    assert!(is_composed(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) (func (canon lift (core func $i \"f\"))))"
    ));
}

#[test]
fn components_may_nest_and_double_within_bounds() {
    let message = inspect(&doubling(7)).unwrap_err();
    assert!(message.contains("is a component without a provider"), "{message}");
}

/// Returns the bytes of a compiled command with these parts.
fn compiled(parts: &str) -> usize {
    let text = format!(r#"(module {parts} (func (export "_start")))"#);
    compile(&wat::parse_str(text).unwrap(), CodeForm::Optimized).unwrap().len()
}

/// Like a pre-initialized interpreter: a heap with holes, in a file that is larger.
#[test]
fn memory_with_holes_keeps_a_bounded_image() {
    let with = |rest: usize| {
        let rest = "x".repeat(rest);
        let data = r#"(data (i32.const 0) "a") (data (i32.const 4000000) "b")"#;
        compiled(&format!(r#"(memory 257) {data} (data "{rest}")"#)) - rest.len()
    };
    assert!(with(3_000_000) < 1 << 20, "the image is larger than the file");
    assert!(with(5_000_000) > 4_000_000, "the image is not kept");
}

/// Two bytes of data, at both ends of each memory.
#[test]
fn sparse_memories_keep_no_image() {
    let memories: String = (0..8)
        .map(|number| {
            format!(
                r#"(memory $m{number} 257) (data (memory $m{number}) (i32.const 0) "a")
                   (data (memory $m{number}) (i32.const 16777000) "b")"#
            )
        })
        .collect();
    assert!(compiled(&memories) < 1 << 20);
}

#[test]
fn nested_parts_are_counted() {
    let module = format!("(core module {})", "(memory 1)".repeat(51));
    assert_eq!(
        refusal(&format!("(component {module} {module})")),
        "has 102 memories, and at most 100 are allowed"
    );
}

#[test]
fn components_that_double_each_other_are_refused() {
    let mut text = "(core module $m) (core instance (instantiate $m))".to_owned();
    for _ in 0..12 {
        text = format!(
            "(component $c {text}) (instance (instantiate $c)) (instance (instantiate $c))"
        );
    }
    let message = refusal(&format!("(component {text})"));
    assert!(message.contains("instances in all"), "{message}");
    let foreign = r#"(component (import "c" (component $c)) (instance (instantiate $c)))"#;
    assert!(refusal(foreign).starts_with("instantiates a component that is an argument"));
}

#[test]
fn deep_nesting_is_refused() {
    let text = "(component ".repeat(17) + &")".repeat(17);
    assert!(refusal(&text).contains("levels of nested components"));
    let text = "(component ".repeat(16) + &")".repeat(16);
    assert!(refusal(&text).contains("without a provider"));
}
