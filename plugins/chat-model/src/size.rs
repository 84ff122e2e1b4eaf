//! [`Size`], a number of bytes in a configuration.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// A number of bytes from `MIN` to `MAX`: an integer, or a text such as `16KiB`, as in the tables of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: usize, const MAX: usize>(pub usize);

impl<const MIN: usize, const MAX: usize> Size<MIN, MAX> {
    fn new<E: Error>(bytes: Option<u64>, written: &dyn fmt::Display) -> Result<Self, E> {
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let size = bytes.filter(|bytes| (MIN..=MAX).contains(bytes)).map(Self);
        size.ok_or_else(|| {
            let (min, max) = (Self(MIN), Self(MAX));
            E::custom(format!("`{written}` is not a size from {min} to {max}, such as `64KiB`"))
        })
    }
}

/// Parses a size as the runner does: `64KiB`, `1.5 MB` or `4096`.
fn parse(text: &str) -> Option<u64> {
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    let number = number.trim();
    // `f64` also parses signs, `1e9` and `infinity`.
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => number.parse::<f64>().ok().map(|number| (number * factor as f64) as u64),
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Size<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => {
                write!(formatter, "{}MiB", bytes >> 20)
            }
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => {
                write!(formatter, "{}KiB", bytes >> 10)
            }
            bytes => write!(formatter, "{bytes}"),
        }
    }
}

impl<const MIN: usize, const MAX: usize> Serialize for Size<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor::<MIN, MAX>)
    }
}

struct SizeVisitor<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Visitor<'_> for SizeVisitor<MIN, MAX> {
    type Value = Size<MIN, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as `64KiB`, or a number of bytes")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Self::Value, E> {
        Size::new(Some(bytes), &bytes)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Size::new(parse(text), &text)
    }
}

impl<const MIN: usize, const MAX: usize> JsonSchema for Size<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": MIN,
            "maximum": MAX,
            "pattern": "^[0-9]",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Size;

    type Tested = Size<256, 1_048_576>;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (written, bytes) in [
            (json!(4096), 4096),
            (json!("4096"), 4096),
            (json!("16KiB"), 16384),
            (json!("16 kb"), 16000),
            (json!("0.5MiB"), 524_288),
            (json!("1m"), 1_048_576),
        ] {
            let size: Tested = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(size.0, bytes, "{written}");
        }
        for written in [
            json!(255),
            json!("2MiB"),
            json!("1e4"),
            json!("-1"),
            json!(-1),
            json!("16 apples"),
            json!(""),
            json!("99999999999999999999KiB"),
            Value::Null,
        ] {
            assert!(serde_json::from_value::<Tested>(written.clone()).is_err(), "{written}");
        }
        let error = serde_json::from_value::<Tested>(json!("9MiB")).unwrap_err().to_string();
        assert_eq!(error, "`9MiB` is not a size from 256 to 1MiB, such as `64KiB`");
    }
}
