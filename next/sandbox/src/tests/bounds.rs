//! Files that have too much of something.

use crate::inspect;

fn refusal(text: &str) -> String {
    inspect(&wat::parse_str(text).unwrap()).unwrap_err()
}

#[test]
fn parts_are_counted_with_what_is_nested() {
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
    assert!(
        message.contains("instances that are made in all"),
        "{message}"
    );
    let foreign = r#"(component (import "c" (component $c)) (instance (instantiate $c)))"#;
    assert!(refusal(foreign).starts_with("instantiates a component that comes as an argument"));
}

#[test]
fn deep_nesting_is_refused() {
    let text = "(component ".repeat(17) + &")".repeat(17);
    assert!(refusal(&text).contains("levels of nested components"));
    let text = "(component ".repeat(16) + &")".repeat(16);
    assert!(refusal(&text).contains("another world"));
}
