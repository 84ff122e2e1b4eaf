use runner_model::json::Json;
use serde_json::{Value, json, value::RawValue};

use super::{Comparison, is_written_as, tree_bytes};

fn is_equal(expected: &Value, output: &str) -> bool {
    let output = RawValue::from_string(output.to_owned()).unwrap();
    super::is_equal(expected, &Json::of(&output).unwrap())
}

fn mismatch(expected: &Value, output: &str, tolerance: f64) -> Option<String> {
    let output = RawValue::from_string(output.to_owned()).unwrap();
    let comparison = Comparison { tolerance, allows_more_keys: true };
    comparison.mismatch(expected, &Json::of(&output).unwrap())
}

#[test]
fn numbers_are_equal_by_value() {
    assert!(is_equal(&json!({"a": [1, 2.5]}), r#"{"a": [1.0, 2.5]}"#));
    assert!(is_equal(&json!({"a": [1.0, 0]}), r#"{"a": [1, -0]}"#));
    assert!(is_equal(&json!(100), "1e2"));
    assert!(!is_equal(&json!(1), "2"));
    assert!(!is_equal(&json!("1"), "1"));
    assert!(!is_equal(&json!(null), "false"));
    assert!(is_equal(&json!([true, null]), "[true, null]"));
    assert!(!is_equal(&json!({"a": 1}), r#"{"a": 1, "b": 2}"#));
}

#[test]
fn integers_are_compared_exactly() {
    let large = 9_007_199_254_740_993_u64;
    for (expected, output, is_same) in [
        (json!(large), "9007199254740993", true),
        (json!(large), "9007199254740992", false),
        (json!(large), "9007199254740992.0", false),
        (json!(9_007_199_254_740_992.0), "9007199254740993", false),
        (json!(1.234_567_890_123_456_8e20), "123456789012345678901", false),
        (json!(1.234_567_890_123_456_8e20), "123456789012345683968", true),
        (json!(u64::MAX), "18446744073709551616", false),
        (json!(i64::MIN), "-9223372036854775808", true),
        (json!(9_007_199_254_740_994_u64), "9007199254740993.5", false),
        (json!(0.1), "0.10000000000000001", true),
        (json!(0.123_456_789_012_345_68), "0.1234567890123456789", false),
    ] {
        assert_eq!(is_equal(&expected, output), is_same, "{expected} {output}");
        assert_eq!(mismatch(&expected, output, 0.0).is_none(), is_same, "{expected} {output}");
    }
    assert!(mismatch(&json!(large), "9007199254740992", 0.5).is_some());
    assert_eq!(mismatch(&json!(large), "9007199254740992", 1.0), None);
    assert!(mismatch(&json!(9_007_199_254_740_992.0), "9007199254740993", 0.5).is_some());
    let mismatch = mismatch(&json!([1]), "[123456789012345678901]", 1e30);
    assert_eq!(
        mismatch.as_deref(),
        Some(
            "at $[0]: the integer 123456789012345678901 has more than 64 bits, too many for a tolerance"
        )
    );
}

#[test]
fn a_subset_may_lack_keys_but_no_items() {
    let output = r#"{"a": {"b": [1, {"c": "x"}]}, "more": true}"#;
    for (expected, message) in [
        (json!({"a": {"b": [1, {"c": "x"}]}}), None),
        (json!({"a": {"b": [1, {"c": "y"}]}}), Some("at $.a.b[1].c: expected \"y\", got \"x\"")),
        (json!({"a": {"b": [1]}}), Some("at $.a.b[1]: not expected, got {\"c\":\"x\"}")),
        (json!({"z": 1}), Some("at $.z: missing, expected 1")),
        (
            json!({"a": {"b": [2, {"c": "y"}, 3], "": null, "d e": [true]}}),
            Some(
                "5 differences\nat $.a[\"\"]: missing, expected null\nat $.a.b[0]: expected 2, got 1\n\
                 at $.a.b[1].c: expected \"y\", got \"x\"\nat $.a.b[2]: missing, expected 3\n\
                 at $.a[\"d e\"]: missing, expected [true]",
            ),
        ),
        (json!([]), Some("at $: expected [], got {\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"more\":true}")),
    ] {
        let found = mismatch(&expected, output, 0.0);
        assert_eq!(found.as_deref(), message, "{expected}");
    }
}

#[test]
fn a_tolerance_is_absolute() {
    let mismatch = |expected, output, tolerance| mismatch(&expected, output, tolerance);
    assert_eq!(mismatch(json!(26.0976), "26.09759", 1e-4), None);
    assert!(mismatch(json!(26.0976), "26.1", 1e-4).is_some());
    assert_eq!(mismatch(json!(10), "11", 1.0), None);
    assert_eq!(mismatch(json!(10), "10.5", 1.0), None);
}

#[test]
fn a_list_of_differences_is_bounded() {
    let (many, long) = (json!(vec![1; 100_000]), json!({"x".repeat(1 << 20): "y".repeat(1 << 20)}));
    for (expected, output) in
        [(&many, json!(vec![2; 100_000])), (&long, json!({})), (&json!({}), long.clone())]
    {
        let message = mismatch(expected, &output.to_string(), 0.0).unwrap_or_default();
        assert!(message.len() < 20_000, "{} bytes", message.len());
    }
    let output = json!(vec![2; 100_000]).to_string();
    let message = mismatch(&many, &output, 0.0).unwrap();
    assert!(message.starts_with("100,000 differences\nat $[0]: "), "{message}");
}

#[test]
fn items_of_one_array_are_one_difference() {
    let five = json!({"a": [1, 2, 3, 4, 5]});
    let message = mismatch(&json!({"a": [0]}), &five.to_string(), 0.0).unwrap();
    let run = "at $.a[1] to $.a[4]: not expected (4 elements)";
    assert_eq!(message, format!("2 differences\nat $.a[0]: expected 0, got 1\n{run}"));
    let missing = mismatch(&five, r#"{"a": [1]}"#, 0.0);
    assert_eq!(missing.as_deref(), Some("at $.a[1] to $.a[4]: missing (4 elements)"));
    let few = mismatch(&json!([1]), "[1, 2, 3]", 0.0).unwrap();
    assert!(few.ends_with("at $[1]: not expected, got 2\nat $[2]: not expected, got 3"), "{few}");
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
