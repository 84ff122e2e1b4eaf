use serde_json::value::RawValue;

use super::{Integers, Json, find_fault, parse};

#[test]
fn faults_have_their_paths_and_places() {
    for (json, fault) in [
        (r#"{"a":1,"b":{"a":[{"a":2},{"a":"a"}]}}"#, None),
        (
            r#"{"a":1,"b":2,"a":3}"#,
            Some(
                "at `$`: the key `a` is in one object twice, at line 1 column 14 and at line 1 column 2",
            ),
        ),
        (
            "{\"x\": [0, {\"k\":\n1, \"\\u006b\": {}}]}",
            Some(
                "at `$.x[1]`: the key `k` is in one object twice, at line 2 column 4 and at line 1 column 12",
            ),
        ),
        ("18446744073709551615", None),
        ("-9223372036854775808", None),
        ("[1e30, 12345678901234567890123.0, \"12345678901234567890123\"]", None),
        (
            "[{\"é\": {}, \"n\": [1, 18446744073709551616]}]",
            Some(
                "at `$[0].n[1]`: the integer 18446744073709551616 has more than 64 bits, at line 1 column 21",
            ),
        ),
        (
            "-9223372036854775809",
            Some(
                "at `$`: the integer -9223372036854775809 has more than 64 bits, at line 1 column 1",
            ),
        ),
    ] {
        let found = find_fault(json, Integers::Bits64).map(|found| found.to_string());
        assert_eq!(found.as_deref(), fault, "{json}");
        assert_eq!(parse(json).err().as_deref(), fault, "{json}");
        let is_key = fault.is_some_and(|fault| fault.contains("twice"));
        assert_eq!(find_fault(json, Integers::Any).is_some(), is_key, "{json}");
    }
    assert!(parse("{").unwrap_err().contains("EOF"));
}

#[test]
fn invalid_json_has_no_fault() {
    for json in ["", "{", "]", "}}", "{\"", "\"\\", "{\"a\" \"a\"", ",", "é", "[,]", "{:}"] {
        assert_eq!(find_fault(json, Integers::Any), None, "{json}");
    }
}

#[test]
fn numbers_are_written_as_they_were_read() {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let json = raw(
        "{\"b\": [1.10, 1E5, -0, 123456789012345678901234567890, true, null], \"a\": {\"\\u0061\\n\": \"\\\"\"}, \"c\": []}",
    );
    let read = Json::of(&json).unwrap();
    assert_eq!(
        read.to_string(),
        "{\"a\":{\"a\\n\":\"\\\"\"},\"b\":[1.10,1E5,-0,123456789012345678901234567890,true,null],\"c\":[]}"
    );
    let pretty =
        serde_json::to_string_pretty(&Json::of(&raw("[12345678901234567890123]")).unwrap());
    assert_eq!(pretty.unwrap(), "[\n  12345678901234567890123\n]");
    let levels = |count: usize| raw(&("[".repeat(count) + &"]".repeat(count)));
    assert!(Json::of(&levels(127)).is_some());
    assert!(Json::of(&levels(1_000_000)).is_none());
    assert_eq!(Json::of(&raw("\"x\"")).unwrap(), Json::String("x".into()));
}
