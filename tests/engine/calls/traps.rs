//! Guests that trap: what is said of it, and where it happened.

use runner::model::ErrorClass;
use serde_json::{Value, json};

use super::{hostile, plain};
use crate::support::engine::{BENCH, assert_error, error};

#[test]
fn traps_are_named() {
    let case = |what: &str, code: &str, message: &str| {
        let error = error(hostile(json!({"do": what})));
        assert_eq!(error.class, Some(ErrorClass::Trap), "{error:?}");
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.starts_with(message), "{error:?}");
        error.message
    };

    case(
        "trap",
        "unreachable-code-reached",
        "the guest trapped: wasm `unreachable` instruction executed",
    );
    // Rust keeps frames like these in linear memory, below everything else.
    case(
        "recurse",
        "memory-out-of-bounds",
        "the guest trapped: out of bounds memory access",
    );
    let panic = case("panic", "unreachable-code-reached", "the guest trapped: ");
    assert!(panic.contains("the guest's own words"), "{panic}");
    let divide = case("divide", "unreachable-code-reached", "the guest trapped: ");
    assert!(divide.contains("attempt to divide by zero"), "{divide}");
}

#[test]
fn a_trap_names_the_functions_it_happened_in() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (func $inner i32.const 1 i32.const 0 i32.div_s drop)
                 (func $outer call $inner)
                 (func (export "_start") call $outer))"#,
        )
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "integer-division-by-zero",
        "the guest trapped: integer divide by zero in `inner`, called by `outer`",
    );
}

#[test]
fn endless_recursion_is_a_trap() {
    let plugin = BENCH
        .link_text(r#"(module (func $again (export "_start") call $again))"#)
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "stack-overflow",
        "the guest trapped: call stack exhausted in `again`, called by `again`, called by `again`, called by `again`, \
         called by `again`",
    );
}
