//! Quantities as people write them: `1h30m`, `64MiB`.

use bytesize::ByteSize;
use serde_json::Value;

pub(super) use crate::model::MAX_DURATION;
pub use crate::model::parse_duration;

/// The largest size that a scenario may name, 1 PiB: larger ones are slips, and sums of these cannot overflow.
const MAX_SIZE: u64 = 1 << 50;

/// Reads a size: bytes as a number, or a text such as `64MiB`.
pub fn size_of(value: &Value) -> Option<u64> {
    let bytes = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse::<ByteSize>().ok().map(|size| size.0),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    bytes.filter(|bytes| *bytes <= MAX_SIZE)
}

/// What is said where [`parse_size`] fails.
pub const EXPECTED_SIZE: &str = "expected a number, or a size such as `64MiB`";

/// Reads a size as a command line has it.
pub fn parse_size(text: &str) -> Option<u64> {
    let number = text.parse::<u64>();
    size_of(&number.map_or_else(|_| Value::from(text), Value::from))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{parse_duration, size_of};

    #[test]
    fn durations_are_written_with_their_units() {
        for (text, millis) in [
            ("10s", 10_000),
            ("200ms", 200),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for bad in ["", "10", "-1s", "1 fortnight", "9000h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_written_with_their_unit() {
        assert_eq!(size_of(&json!(17)), Some(17));
        assert_eq!(size_of(&json!("64MiB")), Some(64 << 20));
        assert_eq!(size_of(&json!("1.5 kB")), Some(1500));
        for bad in [
            json!(-1),
            json!("9EiB"),
            json!(1.5),
            json!("much"),
            json!("-1MiB"),
            json!(null),
        ] {
            assert_eq!(size_of(&bad), None, "{bad}");
        }
    }
}
