//! The tagged JSON of [toml-test](https://github.com/toml-lang/toml-test), in one canonical form.
//!
//! In tagged JSON, a table is an object, an array is an array, and each other value is such as
//! `{"type": "integer", "value": "42"}`. toml-test compares floats and times by their meaning. Here outputs and expectations
//! have one canonical form instead, so that they can be compared as JSON.

mod case;
mod tagged;
#[cfg(feature = "toml")]
pub mod toml_rs;

pub use case::{Case, answer};
pub use tagged::Tagged;

use serde_json::{Map, Value, json};

/// Tags a string.
pub fn string(text: &str) -> Value {
    leaf("string", text)
}

/// Tags an integer.
pub fn integer(number: i64) -> Value {
    leaf("integer", &number.to_string())
}

/// Tags a boolean.
pub fn boolean(flag: bool) -> Value {
    leaf("bool", if flag { "true" } else { "false" })
}

/// Tags a float. Drops the signs of `nan` and of zero, which toml-test ignores.
pub fn float(number: f64) -> Value {
    let text = if number.is_nan() {
        "nan".to_owned()
    } else if number == 0.0 {
        "0.0".to_owned()
    } else {
        format!("{number:?}")
    };
    leaf("float", &text)
}

/// Tags a date, a time or both, with or without offset. `None` if `text` has another form.
///
/// The canonical form has `T` between date and time, seconds, no trailing zeros in the fraction, and `Z` for the offset 0.
pub fn datetime(text: &str) -> Option<Value> {
    let (date, rest) = match text.as_bytes().get(4) {
        Some(b'-') => text.split_at_checked(10)?,
        _ => ("", text),
    };
    if date.is_empty() {
        return Some(leaf("time-local", &time(rest)?));
    }
    if rest.is_empty() {
        return Some(leaf("date-local", date));
    }

    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let Some(at) = rest.find(['Z', 'z', '+', '-']) else {
        return Some(leaf("datetime-local", &format!("{date}T{}", time(rest)?)));
    };
    let (clock, offset) = rest.split_at(at);
    let offset = match offset {
        "Z" | "z" | "+00:00" | "-00:00" => "Z",
        other => other,
    };
    Some(leaf("datetime", &format!("{date}T{}{offset}", time(clock)?)))
}

/// Converts an expectation of toml-test to the canonical form. An error names the part that is not tagged JSON.
pub fn canonical(value: Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(entries) => match as_leaf(&entries) {
            Some((kind, text)) => canonical_leaf(kind, text)
                .ok_or_else(|| format!("`{text}` is not of the type {kind}")),
            None => {
                let entries = entries.into_iter().map(|(key, value)| Ok((key, canonical(value)?)));
                Ok(Value::Object(entries.collect::<Result<_, String>>()?))
            }
        },
        other => Err(format!("`{other}` is not tagged")),
    }
}

fn leaf(kind: &str, text: &str) -> Value {
    json!({ "type": kind, "value": text })
}

/// Returns type and value of a tagged value. `None` for a table with the keys `type` and `value`, because these hold tables or
/// tagged values.
fn as_leaf(entries: &Map<String, Value>) -> Option<(&str, &str)> {
    let kind = entries.get("type")?.as_str()?;
    let text = entries.get("value")?.as_str()?;
    (entries.len() == 2).then_some((kind, text))
}

fn canonical_leaf(kind: &str, text: &str) -> Option<Value> {
    match kind {
        "string" => Some(string(text)),
        "integer" => text.parse().ok().map(integer),
        "float" => text.parse().ok().map(float),
        "bool" => text.to_ascii_lowercase().parse().ok().map(boolean),
        _ => datetime(text).filter(|value| value["type"] == kind),
    }
}

fn time(text: &str) -> Option<String> {
    if !text.starts_with(|digit: char| digit.is_ascii_digit()) {
        return None;
    }
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut time = clock.to_owned();
    if clock.matches(':').count() == 1 {
        time.push_str(":00");
    }
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        time.push('.');
        time.push_str(fraction);
    }
    Some(time)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{canonical, datetime, float};

    fn moment(text: &str) -> (String, String) {
        let value = datetime(text).unwrap();
        let part = |key: &str| value[key].as_str().unwrap().to_owned();
        (part("type"), part("value"))
    }

    #[test]
    fn equal_times_have_one_form() {
        let cases = [
            ("1979-05-27", "date-local", "1979-05-27"),
            ("07:32", "time-local", "07:32:00"),
            ("07:32:00.50", "time-local", "07:32:00.5"),
            ("1979-05-27 07:32", "datetime-local", "1979-05-27T07:32:00"),
            ("1979-05-27t07:32:00.000", "datetime-local", "1979-05-27T07:32:00"),
            ("1979-05-27T07:32:00z", "datetime", "1979-05-27T07:32:00Z"),
            ("1979-05-27 07:32:00+00:00", "datetime", "1979-05-27T07:32:00Z"),
            ("1979-05-27T00:32:00.10-07:00", "datetime", "1979-05-27T00:32:00.1-07:00"),
        ];
        for (text, kind, value) in cases {
            assert_eq!(moment(text), (kind.to_owned(), value.to_owned()), "{text}");
        }
        for text in ["", "x", "1979-05-2", "1979-05-27x", "1979-05-27Tx"] {
            assert_eq!(datetime(text), None, "{text}");
        }
    }

    #[test]
    fn equal_floats_have_one_form() {
        let read = |text: &str| canonical(json!({"type": "float", "value": text})).unwrap();
        assert_eq!(read("1e6"), float(1_000_000.0));
        assert_eq!(read("-nan"), float(f64::NAN));
        assert_eq!(read("+inf"), float(f64::INFINITY));
        assert_eq!(read("-0"), float(0.0));
        assert_ne!(read("0.1"), read("0.2"));
    }

    #[test]
    fn table_with_keys_of_a_tag_stays_a_table() {
        let table = json!({
            "type": {"type": "string", "value": "x"},
            "value": {"type": "integer", "value": "+1"},
        });
        let expected = json!({
            "type": {"type": "string", "value": "x"},
            "value": {"type": "integer", "value": "1"},
        });
        assert_eq!(canonical(table).unwrap(), expected);
    }

    #[test]
    fn untagged_values_are_refused() {
        let error = |value: Value| canonical(value).unwrap_err();
        assert_eq!(error(json!([1])), "`1` is not tagged");
        assert_eq!(
            error(json!({"a": {"type": "integer", "value": "x"}})),
            "`x` is not of the type integer"
        );
        assert_eq!(
            error(json!({"type": "date-local", "value": "07:32:00"})),
            "`07:32:00` is not of the type date-local"
        );
    }
}
