//! Plugins of a few bytes that would make their host work without end, or hold far more than they do.

use std::{fmt::Write as _, iter};

/// The entry of a component that is a command: it exports `wasi:cli/run`, which calls a core function `$run`.
const RUN: &str = r#"
    (func $run (result (result)) (canon lift (core func $run)))
    (instance $entry (export "run" (func $run)))
    (export "wasi:cli/run@0.2.6" (instance $entry))"#;

/// The sections of a core module, as `docs/core/binary` of the specification numbers them.
const CUSTOM_SECTION: u8 = 0;
const TYPE_SECTION: u8 = 1;
const IMPORT_SECTION: u8 = 2;
const FUNCTION_SECTION: u8 = 3;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;
/// The section of a component that holds a component.
const COMPONENT_SECTION: u8 = 4;

pub(crate) const MODULE: &[u8] = b"\0asm\x01\0\0\0";
pub(crate) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A command that prints `answer` whatever it is asked, as one of the JSON protocol does.
pub(crate) fn answering(answer: &str) -> Vec<u8> {
    let mut data = String::with_capacity(answer.len());
    for byte in answer.bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                write!(data, "\\{byte:02x}").expect("a string can be written to");
            }
            byte => data.push(byte.into()),
        }
    }
    let start = 1024;
    let pages = (start + answer.len()) / 65_536 + 1;
    module(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") {pages})
            (data (i32.const {start}) "{data}")
            (func (export "_start")
                (local $at i32) (local $left i32)
                (local.set $at (i32.const {start}))
                (local.set $left (i32.const {length}))
                (loop $more
                    (i32.store (i32.const 0) (local.get $at))
                    (i32.store (i32.const 4) (local.get $left))
                    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                    (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
                    (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
                    (br_if $more (local.get $left)))))"#,
        length = answer.len(),
    ))
}

/// A module that traps in a function whose name demangles to 2^`levels` times itself: a tuple of two tuples of two …
pub(crate) fn named(levels: usize) -> Vec<u8> {
    // Behind `_R`, where back references count from: the inherent implementation of a crate for the tuple.
    let mut name = "MC0".to_owned();
    let outermost = name.len();
    name.extend(iter::repeat_n('T', levels));
    name.push('u');
    for level in (0..levels).rev() {
        let inner = outermost + level + 1;
        write!(name, "B{}E", base_62(inner)).expect("a string can be written to");
    }
    named_as(&format!("_R{name}"))
}

/// A module that traps in a function of this name.
pub(crate) fn named_as(name: &str) -> Vec<u8> {
    let function = [&[1, 0], &leb(name.len())[..], name.as_bytes()].concat();
    let names = [&leb(4)[..], b"name", &[1], &leb(function.len()), &function].concat();
    [
        MODULE,
        &section(TYPE_SECTION, &[1, 0x60, 0, 0]),
        &section(FUNCTION_SECTION, &[1, 0]),
        &section(EXPORT_SECTION, b"\x01\x06_start\0\0"),
        // A body without locals: `unreachable`, `end`.
        &section(CODE_SECTION, &[1, 3, 0, 0x00, 0x0b]),
        &section(CUSTOM_SECTION, &names),
    ]
    .concat()
}

/// A command of `instances` instances of a module with `globals` globals.
pub(crate) fn globals(globals: usize, instances: usize) -> Vec<u8> {
    let globals = "(global i32 (i32.const 0))".repeat(globals);
    let more = "(core instance (instantiate $m))".repeat(instances - 1);
    module(&format!(
        r#"(component
            (core module $m (func (export "run") (result i32) i32.const 0) {globals})
            (core instance $i (instantiate $m))
            {more}
            (alias core export $i "run" (core func $run))
            {RUN})"#
    ))
}

/// A command in which each of `levels` components instantiates the next one twice.
pub(crate) fn doubling(levels: usize) -> Vec<u8> {
    let mut inner = "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 0..levels {
        inner = format!(
            "(component $c {inner} (instance (instantiate $c)) (instance (instantiate $c)))"
        );
    }
    module(&format!(
        r#"(component
            {inner}
            (instance (instantiate $c))
            (core module $m (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (alias core export $i "run" (core func $run))
            {RUN})"#
    ))
}

/// Components in components, `levels` deep.
pub(crate) fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = COMPONENT.to_vec();
    // From the inside out, so that every size is known; written backwards, so that nothing is copied for each level.
    bytes.reverse();
    for _ in 0..levels {
        let length = bytes.len();
        bytes.extend(leb(length).iter().rev());
        bytes.push(COMPONENT_SECTION);
        bytes.extend(COMPONENT.iter().rev());
    }
    bytes.reverse();
    bytes
}

/// A module that imports `count` functions, each by another name.
pub(crate) fn imports(count: usize) -> Vec<u8> {
    let mut imports = leb(count);
    for number in 0..count {
        let name = format!("{number:x}");
        imports.extend([3, b'e', b'n', b'v', name.len() as u8]);
        imports.extend(name.bytes());
        imports.extend([0, 0]);
    }
    [
        MODULE,
        &section(TYPE_SECTION, &[1, 0x60, 0, 0]),
        &section(IMPORT_SECTION, &imports),
        &section(FUNCTION_SECTION, &[1, 0]),
        &section(EXPORT_SECTION, &start_export(count)),
        &section(CODE_SECTION, &[1, 2, 0, 0x0b]),
    ]
    .concat()
}

/// A module that exports one function under `count` names.
pub(crate) fn exports(count: usize) -> Vec<u8> {
    let mut exports = leb(count);
    for number in 1..count {
        let name = format!("{number:x}");
        exports.push(name.len() as u8);
        exports.extend(name.bytes());
        exports.extend([0, 0]);
    }
    exports.extend(b"\x06_start\0\0");
    [
        MODULE,
        &section(TYPE_SECTION, &[1, 0x60, 0, 0]),
        &section(FUNCTION_SECTION, &[1, 0]),
        &section(EXPORT_SECTION, &exports),
        &section(CODE_SECTION, &[1, 2, 0, 0x0b]),
    ]
    .concat()
}

/// A JSON Schema that asks 2^`levels` times whether a value is a string.
pub(crate) fn doubling_schema(levels: usize) -> String {
    let mut definitions = format!(r#""s{levels}":{{"type":"string"}}"#);
    for level in 0..levels {
        let next = level + 1;
        write!(
            definitions,
            r##","s{level}":{{"anyOf":[{{"$ref":"#/$defs/s{next}"}},{{"$ref":"#/$defs/s{next}"}}]}}"##
        )
        .expect("a string can be written to");
    }
    format!(r##"{{"$defs":{{{definitions}}},"$ref":"#/$defs/s0"}}"##)
}

/// What a command says of itself, with this schema of its configuration and so many requests.
pub(crate) fn description(config_schema: &str, requests: usize) -> String {
    let requests: Vec<String> = (0..requests)
        .map(|number| format!(r#""net:https://host-{number}.example.com""#))
        .collect();
    format!(
        r#"{{"ok":{{"name":"bomb","version":"1.0.0","summary":"","config_schema":{config_schema},"input_schema":null,"requests":[{}]}}}}"#,
        requests.join(",")
    )
}

fn start_export(function: usize) -> Vec<u8> {
    [b"\x01\x06_start\0", &leb(function)[..]].concat()
}

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is WASM")
}

/// A section of a file, by its number.
pub(crate) fn section(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number], &leb(content.len())[..], content].concat()
}

/// A number as WASM writes it: seven bits a byte, the lowest first.
pub(crate) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A number as mangled Rust names write it: `_` is 0, `0_` is 1.
pub(crate) fn base_62(number: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut digits = Vec::new();
    let mut rest = number.checked_sub(1);
    while let Some(number) = rest {
        digits.push(char::from(DIGITS[number % 62]));
        rest = (number >= 62).then_some(number / 62);
    }
    digits.into_iter().rev().chain(['_']).collect()
}

/// A command that leaves `files` artifacts, each of so many MiB.
///
/// # Panics
///
/// Panics if there are more artifacts than letters.
pub(crate) fn leaving(files: usize, mebibytes: usize) -> Vec<u8> {
    assert!(files <= 26, "each has a letter as its name");
    module(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (memory (export "memory") 17)
            (func (export "_start") (local $file i32) (local $left i32)
                (loop $files
                    (i32.store8 (i32.const 0) (i32.add (i32.const 97) (local.get $file)))
                    ;; In `/artifacts`, which comes behind the standard streams and `/scratch`.
                    (call $open (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
                        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8))
                    (if (then unreachable))
                    (local.set $left (i32.const {mebibytes}))
                    (loop $more
                        (i32.store (i32.const 16) (i32.const 65536))
                        (i32.store (i32.const 20) (i32.const 1048576))
                        (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24))
                        (if (then unreachable))
                        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if $more (local.get $left)))
                    (drop (call $close (i32.load (i32.const 8))))
                    (local.set $file (i32.add (local.get $file) (i32.const 1)))
                    (br_if $files (i32.lt_u (local.get $file) (i32.const {files}))))))"#
    ))
}

/// A command that makes folders in folders in `/scratch`, as deep as it is let.
pub(crate) fn deep_folders() -> Vec<u8> {
    folders(
        r#"(call $make (local.get $folder) (i32.const 0) (i32.const 1))
           (call $open (local.get $folder) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2)
                (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 8))
           (if (i32.or) (then (return)))
           (drop (call $close (local.get $folder)))
           (local.set $folder (i32.load (i32.const 8)))"#,
    )
}

/// A command that makes folders beside each other in `/scratch`, as many as it is let.
pub(crate) fn many_folders() -> Vec<u8> {
    folders(
        r#"(i64.store (i32.const 0) (i64.const 0x6161616161616161))
           (local.set $digit (i32.const 0))
           (local.set $rest (local.get $count))
           (loop $digits
               (i32.store8 (local.get $digit)
                   (i32.add (i32.const 97) (i32.and (local.get $rest) (i32.const 15))))
               (local.set $rest (i32.shr_u (local.get $rest) (i32.const 4)))
               (local.set $digit (i32.add (local.get $digit) (i32.const 1)))
               (br_if $digits (local.get $rest)))
           (call $make (local.get $folder) (i32.const 0) (i32.const 8))
           (if (then (return)))
           (local.set $count (i32.add (local.get $count) (i32.const 1)))"#,
    )
}

/// A command that does `step` without end; `$folder` is `/scratch`.
fn folders(step: &str) -> Vec<u8> {
    module(&format!(
        r#"(module
            (import "wasi_snapshot_preview1" "path_create_directory"
                (func $make (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "d")
            (func (export "_start")
                (local $folder i32) (local $count i32) (local $digit i32) (local $rest i32)
                ;; The first that is granted; 0 to 2 are the standard streams.
                (local.set $folder (i32.const 3))
                (loop $more
                    {step}
                    (br $more))))"#
    ))
}
