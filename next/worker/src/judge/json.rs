//! Comparing JSON values as a test means them.

use runner_sandbox::cut;
use serde_json::{Number, Value};

/// How much is shown of a value inside a message, in bytes.
pub(super) const MAX_SHORT: usize = 80;

/// Tells whether two values are equal; numbers by their value, so that `1` is `1.0`.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    mismatch(left, right, 0.0).is_none() && mismatch(right, left, 0.0).is_none()
}

/// Finds the first place where `output` does not have what `expected` asks for, and says what is there.
///
/// Objects may have more keys than expected, arrays must have the same length; numbers may differ by `tolerance`.
pub(super) fn first_mismatch(expected: &Value, output: &Value, tolerance: f64) -> Option<String> {
    let (path, what) = mismatch(expected, output, tolerance)?;
    Some(format!("at `${path}`: {what}"))
}

/// The path of the first mismatch below these values, and what it is.
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
        (Value::Number(left), Value::Number(right)) if close(left, right, tolerance) => None,
        (expected, output) if expected == output => None,
        (expected, output) => {
            let [expected, output] = [expected, output].map(|value| cut(MAX_SHORT, value));
            here(format!("expected {expected}, got {output}"))
        }
    }
}

fn close(left: &Number, right: &Number, tolerance: f64) -> bool {
    // Two different integers may look alike as floats; only a tolerance makes them equal.
    let is_exact = tolerance == 0.0 && !left.is_f64() && !right.is_f64();
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) if !is_exact => (left - right).abs() <= tolerance,
        _ => left == right,
    }
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
