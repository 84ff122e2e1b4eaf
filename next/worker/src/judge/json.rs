//! Compares JSON values for `equals`, `contains` and `json`.

use std::{borrow::Cow, io};

use runner_model::json::{Json, is_integer, is_kept};
use runner_sandbox::cut;
use serde_json::Value;

/// Bytes of a value inside a message.
pub(super) const MAX_SHORT: usize = 80;

/// Returns whether an output is equal to a value. Numbers are compared by value, so `1` equals `1.0`.
pub(super) fn is_equal(expected: &Value, output: &Json<'_>) -> bool {
    Comparison { tolerance: 0.0, allows_more_keys: false }.mismatch(expected, output).is_none()
}

/// Returns whether `value` is written as exactly this compact JSON. If not, they may be equal all the same.
pub(super) fn is_written_as(value: &Value, json: &str) -> bool {
    /// The part of a text that was not written yet.
    struct Rest<'a>(&'a [u8]);

    impl io::Write for Rest<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut rest = Rest(json.as_bytes());
    serde_json::to_writer(&mut rest, value).is_ok() && rest.0.is_empty()
}

/// Describes the first place where `output` lacks a part of `expected`. `None` if nothing is missing.
///
/// Objects may have more keys than expected, arrays must have the same length, and numbers may differ by `tolerance`.
pub(super) fn first_mismatch(
    expected: &Value,
    output: &Json<'_>,
    tolerance: f64,
) -> Option<String> {
    let comparison = Comparison { tolerance, allows_more_keys: true };
    let (path, what) = comparison.mismatch(expected, output)?;
    Some(format!("at `${path}`: {what}"))
}

struct Comparison {
    /// Allowed difference of numbers.
    tolerance: f64,
    /// Whether objects of the output may have more keys than expected.
    allows_more_keys: bool,
}

impl Comparison {
    /// Returns the path of the first mismatch below these values, and its description.
    fn mismatch(&self, expected: &Value, output: &Json<'_>) -> Option<(String, String)> {
        let here = |what: String| Some((String::new(), what));
        let is_equal = match (expected, output) {
            (Value::Object(expected), Json::Object(output)) => {
                if !self.allows_more_keys && expected.len() < output.len() {
                    return here("there are more keys than expected".to_owned());
                }
                return expected.iter().find_map(|(key, expected)| {
                    let Some(output) = output.get(key.as_str()) else {
                        return here(format!("expected a key `{key}`"));
                    };
                    let (path, what) = self.mismatch(expected, output)?;
                    Some((format!(".{key}{path}"), what))
                });
            }
            (Value::Array(expected), Json::Array(output)) if expected.len() != output.len() => {
                let (expected, got) = (expected.len(), output.len());
                return here(format!("expected {expected} items, got {got}"));
            }
            (Value::Array(expected), Json::Array(output)) => {
                let mut pairs = expected.iter().zip(output).enumerate();
                return pairs.find_map(|(index, (expected, output))| {
                    let (path, what) = self.mismatch(expected, output)?;
                    Some((format!("[{index}]{path}"), what))
                });
            }
            (Value::Number(_), Json::Number(number))
                if self.tolerance > 0.0 && is_integer(number) && !is_kept(number) =>
            {
                return here(format!(
                    "the integer {} has more than 64 bits, too many for a tolerance",
                    cut(MAX_SHORT, number)
                ));
            }
            (Value::Number(expected), Json::Number(number)) => {
                is_close(&expected.to_string(), number, self.tolerance)
            }
            (Value::String(expected), Json::String(text)) => expected == text,
            (Value::Bool(expected), Json::Word(word)) => *word == expected.to_string(),
            (Value::Null, Json::Word(word)) => *word == "null",
            _ => false,
        };
        if is_equal {
            return None;
        }
        here(format!("expected {}, got {}", cut(MAX_SHORT, expected), cut(MAX_SHORT, output)))
    }
}

/// Compares two numbers of JSON.
fn is_close(left: &str, right: &str, tolerance: f64) -> bool {
    // Above 2^53, different integers are the same float.
    let (left, right) = (exact(left), exact(right));
    if left == right {
        return true;
    }
    let difference = match (left.parse::<i128>(), right.parse::<i128>()) {
        (Ok(left), Ok(right)) => left.abs_diff(right) as f64,
        _ => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => (left - right).abs(),
            _ => f64::INFINITY,
        },
    };
    // Without a tolerance, an integer and the float nearest to it differ.
    tolerance > 0.0 && difference <= tolerance
}

/// Returns a text that equal numbers share: all digits of a whole number, the shortest ones of another float, or the number
/// itself if a float does not keep it.
fn exact(number: &str) -> Cow<'_, str> {
    if is_integer(number) {
        return if number == "-0" { "0".into() } else { number.into() };
    }
    let float: f64 = number.parse().unwrap_or(f64::NAN);
    match float {
        _ if !is_kept(number) => number.into(),
        0.0 => "0".into(),
        // Without a precision, digits that a float does not distinguish are zeros.
        _ if float.fract() == 0.0 => format!("{float:.0}").into(),
        _ => float.to_string().into(),
    }
}

/// Returns the most bytes of a reply as a tree of values, for a provider with this `limits.reply`.
pub fn max_tree_bytes(reply: u64) -> usize {
    usize::try_from(reply.saturating_mul(6)).map_or(usize::MAX, |bytes| bytes.max(24 << 20))
}

/// Estimates the bytes of a JSON text as a tree of values, without parsing it: 4 MiB of text can become 400 MiB.
pub fn tree_bytes(json: &str) -> usize {
    let (mut bytes, mut is_text, mut is_escaped) = (json.len(), false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            // A new object has room for eleven entries. A new array has room for four items and doubles it.
            b'{' if !is_text => bytes += 640,
            b'[' | b':' if !is_text => bytes += 144,
            b',' if !is_text => bytes += 80,
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
#[path = "../tests/json.rs"]
mod tests;
