use runner_model::json::Json;
use serde_json::{Value, json, value::RawValue};

use super::{Comparison, is_written_as, tree_bytes};

fn is_equal(expected: &Value, output: &str) -> bool {
    let output = RawValue::from_string(output.to_owned()).unwrap();
    super::is_equal(expected, &Json::of(&output).unwrap())
}

/// Returns the number of all differences, and a line for each that is listed. `None` without differences.
fn mismatch(expected: &Value, output: &str, tolerance: f64) -> Option<(u64, String)> {
    let output = RawValue::from_string(output.to_owned()).unwrap();
    let comparison = Comparison { tolerance, allows_more_keys: true };
    let found = comparison.differences(expected, &Json::of(&output).unwrap());
    let lines: Vec<_> = found.listed.iter().map(ToString::to_string).collect();
    (found.count > 0).then(|| (found.count, lines.join("\n")))
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
    let line =
        "$[0]: the integer 123456789012345678901 has more than 64 bits, too many for a tolerance";
    assert_eq!(mismatch, Some((1, line.to_owned())));
}

#[test]
fn a_subset_may_lack_keys_but_no_items() {
    let output = r#"{"a": {"b": [1, {"c": "x"}]}, "more": true}"#;
    for (expected, message) in [
        (json!({"a": {"b": [1, {"c": "x"}]}}), None),
        (json!({"a": {"b": [1, {"c": "y"}]}}), Some((1, "$.a.b[1].c: expected \"y\", got \"x\""))),
        (json!({"a": {"b": [1]}}), Some((1, "$.a.b[1]: not expected, got {\"c\":\"x\"}"))),
        (json!({"z": 1}), Some((1, "$.z: missing, expected 1"))),
        (
            json!({"a": {"b": [2, {"c": "y"}, 3], "": null, "d e": [true]}}),
            Some((
                5,
                "$.a[\"\"]: missing, expected null\n$.a.b[0]: expected 2, got 1\n\
                 $.a.b[1].c: expected \"y\", got \"x\"\n$.a.b[2]: missing, expected 3\n\
                 $.a[\"d e\"]: missing, expected [true]",
            )),
        ),
        (
            json!([]),
            Some((1, "$: expected [], got {\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"more\":true}")),
        ),
    ] {
        let found = mismatch(&expected, output, 0.0);
        let found = found.as_ref().map(|(count, lines)| (*count, &**lines));
        assert_eq!(found, message, "{expected}");
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
        let (_, lines) = mismatch(expected, &output.to_string(), 0.0).unwrap_or_default();
        assert!(lines.len() < 20_000, "{} bytes", lines.len());
    }
    let output = json!(vec![2; 100_000]).to_string();
    let (count, lines) = mismatch(&many, &output, 0.0).unwrap();
    assert!(count == 100_000 && lines.starts_with("$[0]: "), "{count} {lines}");
}

#[test]
fn items_of_one_array_are_one_difference() {
    let five = json!({"a": [1, 2, 3, 4, 5]});
    let found = mismatch(&json!({"a": [0]}), &five.to_string(), 0.0).unwrap();
    let run = "$.a[1] to $.a[4]: not expected (4 elements)";
    assert_eq!(found, (2, format!("$.a[0]: expected 0, got 1\n{run}")));
    let missing = mismatch(&five, r#"{"a": [1]}"#, 0.0);
    assert_eq!(missing, Some((1, "$.a[1] to $.a[4]: missing (4 elements)".to_owned())));
    let few = mismatch(&json!([1]), "[1, 2, 3]", 0.0).unwrap();
    assert_eq!(few, (2, "$[1]: not expected, got 2\n$[2]: not expected, got 3".to_owned()));
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
