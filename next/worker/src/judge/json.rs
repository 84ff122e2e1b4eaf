//! Compares JSON values for `equals`, `contains` and `json`.

use std::io;

use runner_sandbox::cut;
use serde_json::{Number, Value};

/// Bytes of a value inside a message.
pub(super) const MAX_SHORT: usize = 80;

/// Returns whether two values are equal. Numbers are compared by value, so `1` equals `1.0`.
pub(super) fn is_equal(left: &Value, right: &Value) -> bool {
    mismatch(left, right, 0.0).is_none() && mismatch(right, left, 0.0).is_none()
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
pub(super) fn first_mismatch(expected: &Value, output: &Value, tolerance: f64) -> Option<String> {
    let (path, what) = mismatch(expected, output, tolerance)?;
    Some(format!("at `${path}`: {what}"))
}

/// Returns the path of the first mismatch below these values, and its description.
fn mismatch(expected: &Value, output: &Value, tolerance: f64) -> Option<(String, String)> {
    let here = |what: String| Some((String::new(), what));
    match (expected, output) {
        (Value::Object(expected), Value::Object(output)) => {
            expected.iter().find_map(|(key, expected)| {
                let Some(output) = output.get(key) else {
                    return here(format!("expected a key `{key}`"));
                };
                let (path, what) = mismatch(expected, output, tolerance)?;
                Some((format!(".{key}{path}"), what))
            })
        }
        (Value::Array(expected), Value::Array(output)) if expected.len() != output.len() => {
            let (expected, got) = (expected.len(), output.len());
            here(format!("expected {expected} items, got {got}"))
        }
        (Value::Array(expected), Value::Array(output)) => {
            let mut pairs = expected.iter().zip(output).enumerate();
            pairs.find_map(|(index, (expected, output))| {
                let (path, what) = mismatch(expected, output, tolerance)?;
                Some((format!("[{index}]{path}"), what))
            })
        }
        (Value::Number(left), Value::Number(right)) if is_close(left, right, tolerance) => None,
        (expected, output) if expected == output => None,
        (expected, output) => {
            let [expected, output] = [expected, output].map(|value| cut(MAX_SHORT, value));
            here(format!("expected {expected}, got {output}"))
        }
    }
}

fn is_close(left: &Number, right: &Number, tolerance: f64) -> bool {
    // Above 2^53, different integers are the same float. Only a tolerance makes them equal.
    let is_exact = tolerance == 0.0 && !left.is_f64() && !right.is_f64();
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) if !is_exact => (left - right).abs() <= tolerance,
        _ => left == right,
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
