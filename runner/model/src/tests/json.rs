use serde_json::value::RawValue;

use super::{Json, Numbers, find_fault, is_kept, parse};

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
        ("[1e30, 12345678901234568000000.0, \"12345678901234567890123\"]", None),
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
        let found = find_fault(json, Numbers::Kept).map(|found| found.to_string());
        assert_eq!(found.as_deref(), fault, "{json}");
        assert_eq!(parse(json).err().as_deref(), fault, "{json}");
        let is_key = fault.is_some_and(|fault| fault.contains("twice"));
        assert_eq!(find_fault(json, Numbers::Any).is_some(), is_key, "{json}");
    }
    assert!(parse("{").unwrap_err().contains("EOF"));
}

#[test]
fn floats_keep_their_own_digits_only() {
    for (number, kept) in [
        ("0.1", true),
        ("1.10", true),
        ("-0.0e5", true),
        // Printed with 17 digits, and in full.
        ("0.10000000000000001", true),
        ("0.1000000000000000055511151231257827021181583404541015625", true),
        ("0.1234567890123456789", false),
        ("1.2345678901234568e20", true),
        ("9007199254740992.0", true),
        ("9007199254740993.0", false),
        ("9007199254740993.5", false),
        ("5e-324", true),
        ("1e-400", false),
        ("1e400", false),
    ] {
        assert_eq!(is_kept(number), kept, "{number}");
    }
    assert!(is_kept(&format!("1{}.0", "0".repeat(300))));
    assert!(!is_kept(&format!("0.{}1", "1".repeat(100_000))));
    let fault = find_fault("[0.1234567890123456789]", Numbers::Kept).unwrap();
    assert_eq!(fault.message, "the number 0.1234567890123456789 has more digits than a float");
}

#[test]
fn invalid_json_has_no_fault() {
    for json in ["", "{", "]", "}}", "{\"", "\"\\", "{\"a\" \"a\"", ",", "é", "[,]", "{:}"] {
        assert_eq!(find_fault(json, Numbers::Any), None, "{json}");
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
