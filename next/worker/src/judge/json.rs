//! Comparing JSON values as a test means them.

use serde_json::{Map, Number, Value};

use crate::report::beginning;

/// How much is shown of a value inside a message, in bytes.
const MAX_SHORT: usize = 80;

/// Tells whether two values are equal; numbers by their value, so that `1` is `1.0`.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => close(left, right, 0.0),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

/// Finds the first place where `output` does not have what `expected` asks for, and says what is there.
///
/// Objects may have more keys than expected, arrays must have the same length; numbers may differ by `tolerance`.
pub(super) fn first_mismatch(expected: &Value, output: &Value, tolerance: f64) -> Option<String> {
    mismatch_at("$", expected, output, tolerance)
}

fn mismatch_at(path: &str, expected: &Value, output: &Value, tolerance: f64) -> Option<String> {
    match (expected, output) {
        (Value::Object(expected), Value::Object(output)) => {
            object_mismatch(path, expected, output, tolerance)
        }
        (Value::Array(expected), Value::Array(output)) if expected.len() != output.len() => {
            Some(format!(
                "at `{path}`: expected {} items, got {}",
                expected.len(),
                output.len()
            ))
        }
        (Value::Array(expected), Value::Array(output)) => {
            let mut pairs = expected.iter().zip(output).enumerate();
            pairs.find_map(|(index, (expected, output))| {
                mismatch_at(&format!("{path}[{index}]"), expected, output, tolerance)
            })
        }
        (Value::Number(left), Value::Number(right)) if close(left, right, tolerance) => None,
        (expected, output) if expected == output => None,
        (expected, output) => Some(format!(
            "at `{path}`: expected {}, got {}",
            short(expected),
            short(output)
        )),
    }
}

fn object_mismatch(
    path: &str,
    expected: &Map<String, Value>,
    output: &Map<String, Value>,
    tolerance: f64,
) -> Option<String> {
    expected
        .iter()
        .find_map(|(key, expected)| match output.get(key) {
            Some(output) => mismatch_at(&format!("{path}.{key}"), expected, output, tolerance),
            None => Some(format!("at `{path}`: expected a key `{key}`")),
        })
}

fn close(left: &Number, right: &Number, tolerance: f64) -> bool {
    if left == right {
        return true;
    }
    let is_float = left.is_f64() || right.is_f64();
    match (left.as_f64(), right.as_f64()) {
        // Two different integers may look alike as floats; only a tolerance makes them equal.
        (Some(left), Some(right)) => {
            let apart = (left - right).abs();
            if tolerance > 0.0 {
                apart <= tolerance
            } else {
                is_float && apart == 0.0
            }
        }
        _ => false,
    }
}

/// A value as JSON, cut to what fits a message.
pub(super) fn short(value: &Value) -> String {
    beginning(&value.to_string(), MAX_SHORT)
}

/// How much memory a reply may take as a tree of values, by the provider's limit of its bytes.
pub fn most_tree(reply: u64) -> usize {
    usize::try_from(reply.saturating_mul(6)).map_or(usize::MAX, |most| most.max(24 << 20))
}

/// About how much memory the value takes that a text of JSON stands for, told from the text: 4 MiB can become 400.
pub fn tree_bytes(json: &str) -> usize {
    let (mut bytes, mut is_text, mut is_escaped) = (json.len(), false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            // An object begins with room for eleven keys, a list with room for four items, and doubles it.
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
