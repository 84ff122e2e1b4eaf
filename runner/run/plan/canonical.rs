//! The canonical encoding of what is hashed: equal values are equal bytes, on every machine and in every version.
//!
//! It is this program's own, so that a digest depends on no library's way of writing a number or of ordering a map, and
//! on no name in this code. Each value ends by itself, so that no two lists of values are the same bytes:
//!
//! | value | bytes |
//! | --- | --- |
//! | nothing | `n` |
//! | `false`, `true` | `f`, `t` |
//! | an integer | `i`, its decimal digits with `-` in front of a negative one, `;` |
//! | any other number | `d`, its IEEE 754 binary64 as 16 lower-case hexadecimal digits |
//! | a text | `s`, how many bytes of UTF-8 it has, in decimal, `:`, those bytes |
//! | a list | `l`, the values, `e` |
//! | a table | `m`, each key as a text and its value, ordered by the bytes of the keys, `e` |

use serde_json::Value;

/// Encodes a value of JSON.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(b'n'),
        Value::Bool(is_true) => bytes.push(if *is_true { b't' } else { b'f' }),
        Value::Number(number) => write_number(number, bytes),
        Value::String(text) => write_text(text, bytes),
        Value::Array(values) => {
            bytes.push(b'l');
            for value in values {
                write(value, bytes);
            }
            bytes.push(b'e');
        }
        Value::Object(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            bytes.push(b'm');
            for (key, value) in entries {
                write_text(key, bytes);
                write(value, bytes);
            }
            bytes.push(b'e');
        }
    }
}

fn write_number(number: &serde_json::Number, bytes: &mut Vec<u8>) {
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let text = match (integer, number.as_f64()) {
        (Some(integer), _) => format!("i{integer};"),
        (None, Some(float)) => format!("d{:016x}", float.to_bits()),
        (None, None) => unreachable!("without arbitrary precision, a number is one of these"),
    };
    bytes.extend_from_slice(text.as_bytes());
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("s{}:", text.len()).as_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::encode;

    #[test]
    fn every_kind_of_value_has_its_bytes() {
        let value = json!({
            "text": "grün",
            "Text": ["", "a"],
            "numbers": [0, -1, u64::MAX, i64::MIN, 1.0, -0.5, 1e-7],
            "rest": [null, true, false, {}, []],
        });
        let encoded = String::from_utf8(encode(&value)).unwrap();
        assert_eq!(
            encoded,
            "ms4:Textls0:s1:aes7:numbersli0;i-1;i18446744073709551615;i-9223372036854775808;\
             d3ff0000000000000dbfe0000000000000d3e7ad7f29abcaf48es4:restlntfmelees4:texts5:grüne"
        );
    }

    /// Values that are alike but for where one ends and the next begins.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2i64..3).prop_map(Value::from),
            (-2i32..3).prop_map(|number| Value::from(f64::from(number) / 2.0)),
            "[elm0-1:;s]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[elm0-1:;s]{0,2}", inner, 0..3)
                    .prop_map(|table| Value::Object(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn different_values_are_different_bytes(a in values(), b in values()) {
            prop_assert_eq!(a == b, encode(&a) == encode(&b), "{} {}", a, b);
        }
    }
}
