use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Schema, fuzzing::schemas};

fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    Schema::new(schema.clone()).unwrap().mismatch(value.clone())
}

fn refusal(schema: &Value) -> String {
    Schema::new(schema.clone()).err().unwrap()
}

#[test]
fn invalid_places_are_named() {
    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "mode": {"$ref": "#/$defs/mode"}},
        "required": ["n"],
        "additionalProperties": false,
        "$defs": {"mode": {"enum": ["a", "b"]}},
    });
    assert_eq!(mismatch(&schema, &json!({"n": 1, "mode": "a"})), None);
    for (value, reason) in [
        (json!(1), "the value must be an object, not a number"),
        (json!({}), "missing key `n`"),
        (json!({"n": "1"}), "`$.n` must be an integer, not a string"),
        (
            json!({"n": 1, "mode": "c", "x": 2}),
            "`$.mode` must be one of 'a', 'b'; unknown key `x` (choose from: `mode`, `n`)",
        ),
    ] {
        assert_eq!(mismatch(&schema, &value).as_deref(), Some(reason));
    }
    let any = json!({"items": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}});
    let reason = "at $[1]: missing one of the keys `a`, `b`";
    assert_eq!(mismatch(&any, &json!([{"b": 1}, {"c": 1}])).as_deref(), Some(reason));
    let many = mismatch(&json!({"items": {"type": "string"}}), &json!([1, 2, 3, 4, 5, 6])).unwrap();
    assert_eq!(many.matches("must be a string").count(), 5);
    let long = mismatch(&json!({"pattern": "^$"}), &json!("x".repeat(10_000))).unwrap();
    assert!(long.len() < 600);
}

#[test]
fn schema_and_its_negation_disagree() {
    for schema in [
        "true",
        r#"{"type":["string","integer"],"minimum":1,"maxLength":2}"#,
        r#"{"properties":{"a":{"multipleOf":0.1}},"required":["a"],"additionalProperties":false}"#,
        r#"{"items":{"anyOf":[{"const":1},{"pattern":"^a"}]},"uniqueItems":true}"#,
        r#"{"if":{"minItems":1},"then":{"contains":{"not":{"enum":[1,"ab"]}}},"else":false}"#,
        r##"{"$defs":{"a":{"items":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}"##,
        r#"{"type":"no type"}"#,
    ] {
        for value in ["null", "0.3", "1", r#""ab""#, "[]", r#"[1,1.0,"ab"]"#, r#"{"a":0.7,"b":[]}"#]
        {
            schemas(&[schema.as_bytes(), value.as_bytes()].join(&0xff));
        }
    }
}

#[test]
fn numbers_are_compared_exactly() {
    let large = 9_007_199_254_740_993_u64;
    for (schema, value, reason) in [
        (json!({"multipleOf": 0.01}), json!(19.99), None),
        (json!({"multipleOf": 0.01}), json!("x"), None),
        (
            json!({"items": {"multipleOf": 0.01}}),
            json!([1, 0.005]),
            Some("at $[1]: must be a multiple of 0.01, but got 0.005"),
        ),
        (json!({"not": {"multipleOf": 0.1}}), json!(0.35), None),
        (json!({"anyOf": [{"multipleOf": 2}, {"multipleOf": 0.7}]}), json!(2.1), None),
        (
            json!({"maximum": large - 1}),
            json!(large),
            Some("must be <=9007199254740992, but got 9007199254740993"),
        ),
        (json!({"exclusiveMinimum": large - 1}), json!(large), None),
        (
            json!({"maximum": 9_007_199_254_740_992.0}),
            json!(large),
            Some("must be <=9007199254740992, but got 9007199254740993"),
        ),
        (json!({"exclusiveMaximum": 18_446_744_073_709_551_616.0}), json!(u64::MAX), None),
        (json!({"const": [2, 1e300]}), json!([2.0, 1e300]), None),
        (
            json!({"const": 9_007_199_254_740_992.0}),
            json!(large),
            Some("the value must be 9007199254740992"),
        ),
        (
            json!({"enum": [1, large]}),
            json!(9_007_199_254_740_992.0),
            Some("the value must be one of 1, 9007199254740993"),
        ),
        (json!({"uniqueItems": true}), json!([large, 9_007_199_254_740_992.0]), None),
        (json!({"uniqueItems": true}), json!([0, -0.0]), Some("items at 0 and 1 are equal")),
    ] {
        assert_eq!(mismatch(&schema, &value).as_deref(), reason, "{schema} {value}");
    }
    let draft = "http://json-schema.org/draft-04/schema#";
    let old = json!({"$schema": draft, "maximum": large, "exclusiveMaximum": true});
    assert!(mismatch(&old, &json!(large)).is_some());
    for bad in [json!(0), json!(-1), json!("2")] {
        let refusal = refusal(&json!({"multipleOf": bad}));
        assert!(refusal.contains("is not a valid JSON Schema"), "{refusal}");
    }
    let many: Vec<_> = (1..=17).map(|divisor| json!({"multipleOf": divisor})).collect();
    assert!(refusal(&json!({"anyOf": many})).contains("more than 16 different"));
    let same: Vec<_> = (0..100).map(|_| json!({"multipleOf": 3})).collect();
    assert_eq!(mismatch(&json!({"anyOf": same}), &json!(9)), None);
}

#[test]
fn formats_are_checked_by_draft() {
    let with =
        |draft: &str| json!({"$schema": draft, "format": "ipv4", "allOf": [{"minLength": 2}]});
    let old = with("http://json-schema.org/draft-07/schema#");
    assert_eq!(mismatch(&old, &json!("127.0.0.1")), None);
    assert!(mismatch(&old, &json!("x.y")).unwrap().contains("ipv4"));
    assert!(mismatch(&old, &json!("x")).unwrap().contains("length"));
    let new = with("https://json-schema.org/draft/2020-12/schema");
    assert_eq!(mismatch(&new, &json!("x.y")), None);
}

#[test]
fn invalid_schema_is_refused() {
    for (schema, why) in [
        (
            json!({"properties": {"a": {"type": "text"}}}),
            "is not a valid JSON Schema: `$.properties.a.type` must be one of",
        ),
        (
            json!({"pattern": "(a{1000}){1000}"}),
            "is not a valid JSON Schema: Compiled regex exceeds",
        ),
        (json!({"pattern": "\\p{None}"}), "Unicode property not found"),
        (json!({"$ref": "#/$defs/none"}), "is not a valid JSON Schema"),
        (json!({"pattern": "("}), "is not a valid JSON Schema"),
        (json!({"$ref": "file:///etc/passwd"}), "nothing is fetched"),
        (json!({"$ref": "https://example.com/a"}), "nothing is fetched"),
        (json!({"$ref": "other.json"}), "nothing is fetched"),
        (json!({"$schema": "https://example.com/draft"}), "nothing is fetched"),
        (json!({"const": {"$ref": "#"}}), "has a reference inside a constant"),
        (json!({"properties": {"a": "b"}}), "has a text in its `properties`"),
    ] {
        let refusal = refusal(&schema);
        assert!(refusal.contains(why), "{schema}: {refusal}");
    }
}

/// Builds a chain of 60 parts below `first` in which each part refers to the next one twice.
fn doubling(first: &str, part: impl Fn(&str) -> Value) -> Value {
    let parts = (0..60).map(|n| (format!("d{n}"), part(&format!("{first}/d{}", n + 1))));
    Value::Object(parts.collect::<Map<_, _>>())
}

#[test]
fn exploding_schema_is_given_up() {
    let twice = |keyword: &'static str| move |next: &str| json!({keyword: [{"$ref": next}, {"$ref": next}]});
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let mut parts = doubling("#/$defs", twice(keyword));
        parts["d60"] = json!({"type": "string"});
        for value in [json!("x"), json!(1)] {
            check_quickly(&json!({"$defs": parts, "$ref": "#/$defs/d0"}), &value);
        }
    }
    // Parts below an unknown keyword.
    let mut parts = doubling("#/x", twice("allOf"));
    parts["d60"] = json!(false);
    check_quickly(&json!({"x": parts, "$ref": "#/x/d0"}), &json!(1));
    let both = |next: &str| json!({"$ref": next, "$dynamicRef": next});
    let mut parts = doubling("#/$defs", both);
    parts["d60"] = json!({"type": "string"});
    check_quickly(&json!({"$defs": parts, "$ref": "#/$defs/d0"}), &json!(1));
    // Doubles at each level of the value.
    let branches =
        json!({"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}], "not": true});
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    check_quickly(&branches, &deep);
}

#[track_caller]
fn check_quickly(schema: &Value, value: &Value) {
    let started = Instant::now();
    // Some of the schemas are valid for some values. Only the time matters here.
    let _ = mismatch(schema, value);
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[test]
fn schema_with_many_parts_compiles_quickly() {
    let with_parts = |count: usize| json!({"prefixItems": vec![json!({"type": "null"}); count]});
    let started = Instant::now();
    assert_eq!(mismatch(&with_parts(9_000), &json!([null])), None);
    assert!(started.elapsed() < Duration::from_secs(120));
    assert_eq!(refusal(&with_parts(10_000)), "has too many parts");
}

#[test]
fn stack_of_a_nested_schema_is_bounded() {
    let parts =
        (0..5_000).map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)})));
    let mut parts: Map<_, _> = parts.collect();
    parts.insert("d5000".into(), json!(true));
    let schema = json!({"$defs": parts, "$ref": "#/$defs/d0"});
    assert!(mismatch(&schema, &json!(1)).unwrap().contains("takes too many steps"));
}

#[test]
fn patterns_are_bounded_and_match_in_linear_time() {
    let schema = json!({"pattern": "^(a+)+$"});
    let text = format!("{}b", "a".repeat(100_000));
    assert!(mismatch(&schema, &json!(text)).is_some());
    assert_eq!(mismatch(&json!({"patternProperties": {"^\\d$": false}}), &json!({"x": 1})), None);
    let large = vec![json!({"pattern": "(\\p{L}{100}){3}"}); 20];
    assert_eq!(refusal(&json!({"allOf": large})), "has patterns that are too large");
}

#[test]
fn large_values_are_checked_without_all_reasons() {
    let items = json!({"items": {"type": "integer"}});
    assert_eq!(mismatch(&items, &json!(vec![1; 60_000])), None);
    let wrong = mismatch(&items, &json!(vec!["x"; 200_000])).unwrap();
    assert_eq!(wrong, "it is not valid, but too large to find out where");
    let too_large = mismatch(&items, &json!(vec![1; 500_000])).unwrap();
    assert_eq!(too_large, "checking it against the schema takes too many steps");
    let unique = json!({"uniqueItems": true});
    let numbers: Vec<u32> = (0..300_000).collect();
    assert_eq!(mismatch(&unique, &json!(numbers)), None);
}
