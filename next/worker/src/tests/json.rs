use serde_json::json;

use super::{first_mismatch, is_equal, is_written_as, tree_bytes};

#[test]
fn numbers_are_equal_by_value() {
    assert!(is_equal(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
    assert!(!is_equal(&json!(1), &json!(2)));
    assert!(!is_equal(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    assert!(!is_equal(&json!("1"), &json!(1)));
    assert!(!is_equal(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
}

#[test]
fn a_subset_may_lack_keys_but_no_items() {
    let output = json!({"a": {"b": [1, {"c": "x"}]}, "more": true});
    for (expected, mismatch) in [
        (json!({"a": {"b": [1, {"c": "x"}]}}), None),
        (json!({"a": {"b": [1, {"c": "y"}]}}), Some("at `$.a.b[1].c`: expected \"y\", got \"x\"")),
        (json!({"a": {"b": [1]}}), Some("at `$.a.b`: expected 1 items, got 2")),
        (json!({"z": 1}), Some("at `$`: expected a key `z`")),
        (
            json!([]),
            Some("at `$`: expected [], got {\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"more\":true}"),
        ),
    ] {
        let found = first_mismatch(&expected, &output, 0.0);
        assert_eq!(found.as_deref(), mismatch, "{expected}");
    }
}

#[test]
fn a_tolerance_is_absolute() {
    let mismatch = |expected, output, tolerance| first_mismatch(&expected, &output, tolerance);
    assert_eq!(mismatch(json!(26.0976), json!(26.09759), 1e-4), None);
    assert!(mismatch(json!(26.0976), json!(26.1), 1e-4).is_some());
    assert_eq!(mismatch(json!(10), json!(11), 1.0), None);
    let large = 9_007_199_254_740_993_u64;
    assert!(mismatch(json!(large), json!(large - 1), 0.0).is_some());
}

#[test]
fn a_small_text_can_be_a_large_tree() {
    let objects = vec![r#"{"":0}"#; 600_000].join(",");
    assert!(tree_bytes(&format!("[{objects}]")) > 400 << 20);
    let text = format!("\"{}\"", "{[,:".repeat(1_000_000));
    assert!(tree_bytes(&text) < 5 << 20);
    assert!(tree_bytes(r#""\"{{{{{{{{""#) < 100);
}

#[test]
fn text_of_equal_values_needs_no_tree() {
    let value = json!({"a": [1, 2.5, null], "b": "\"é\n"});
    assert!(is_written_as(&value, &value.to_string()));
    for other in ["", "{", r#"{"a":[1,2.5,null],"b":"\"é\n"} "#, r#"{"a":[1.0,2.5,null]}"#] {
        assert!(!is_written_as(&value, other), "{other}");
    }
}
