//! Comparing JSON values as a test means them.

use std::{borrow::Cow, io, time::Duration};

use serde_json::{Map, Number, Value};
use similar::TextDiff;

use crate::model::BoundedText;

/// How long a diff may be, in bytes; what is over is cut, since a row holds 256 KiB.
const MAX_DIFF_BYTES: usize = 8 * 1024;

/// How much is compared line by line, in bytes of each text: of one whose every byte is a line, each takes some memory.
const MAX_COMPARED_BYTES: usize = 128 * 1024;

/// How many lines around a change are shown.
const CONTEXT: usize = 3;

/// How much is shown of a value inside a message, in bytes.
const MAX_SHORT_BYTES: usize = 80;

/// How long a diff may be searched for before a coarser one is taken.
const DIFF_TIME: Duration = Duration::from_millis(100);

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

/// A text as it is, any other value as JSON.
pub(super) fn as_text(value: &Value) -> std::borrow::Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// A unified line diff from `expected` to `output`; `None` where both fit on a line and say it all themselves.
pub(super) fn diff(expected: &Value, output: &Value) -> Option<String> {
    let (old, new): (Cow<'_, str>, Cow<'_, str>) = match (expected, output) {
        (Value::String(old), Value::String(new)) => (old.into(), new.into()),
        _ => (pretty(expected).into(), pretty(output).into()),
    };
    // A line that differs in nothing but its end is shown by its value, which has that end in it.
    let is_line = |text: &str| !text.strip_suffix('\n').unwrap_or(text).contains('\n');
    if is_line(&old) && is_line(&new) {
        return None;
    }
    let is_long = old.len().max(new.len()) > MAX_COMPARED_BYTES;
    let (skipped, start) = if is_long {
        equal_lines(&old, &new)
    } else {
        (0, 0)
    };
    let (old, new) = (beginning(&old[start..]), beginning(&new[start..]));
    if old == new {
        // They differ behind what is compared.
        return None;
    }
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME)
        .diff_lines(old, new);
    let differs_in_end = !is_long && old.ends_with('\n') != new.ends_with('\n');
    let text = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .missing_newline_hint(differs_in_end)
        .to_string();
    let text = cut(text);
    Some(match skipped {
        0 => text,
        lines => format!("(behind {lines} equal lines)\n{text}"),
    })
}

/// How many lines at the start of both texts are the same, without those that are context, and where they end.
fn equal_lines(old: &str, new: &str) -> (usize, usize) {
    let pairs = old.bytes().zip(new.bytes());
    let same = pairs.take_while(|(old, new)| old == new).count();
    let lines = old.as_bytes()[..same].iter().enumerate().rev();
    let mut ends = lines.filter(|(_, byte)| **byte == b'\n');
    match ends.nth(CONTEXT) {
        Some((index, _)) => (ends.count() + 1, index + 1),
        None => (0, 0),
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_COMPARED_BYTES)]
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
            let pairs = expected.iter().zip(output).enumerate();
            pairs
                .filter_map(|(index, (expected, output))| {
                    mismatch_at(&format!("{path}[{index}]"), expected, output, tolerance)
                })
                .next()
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
        .filter_map(|(key, expected)| match output.get(key) {
            Some(output) => mismatch_at(&format!("{path}.{key}"), expected, output, tolerance),
            None => Some(format!("at `{path}`: expected a key `{key}`")),
        })
        .next()
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

fn pretty(value: &Value) -> String {
    let mut text = Beginning(Vec::new());
    // What fails is writing more than there is room for.
    let _ = serde_json::to_writer_pretty(&mut text, value);
    let mut text = String::from_utf8_lossy(&text.0).into_owned();
    text.push('\n');
    if text.matches('\n').count() == 1 {
        text.pop();
    }
    text
}

fn short(value: &Value) -> String {
    BoundedText::of(MAX_SHORT_BYTES, value)
}

/// The first bytes of what is written, as many as are compared: a small value, indented, can have a very long text.
struct Beginning(Vec<u8>);

impl io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_COMPARED_BYTES - self.0.len();
        let kept = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(kept);
        Ok(kept.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cut(mut text: String) -> String {
    if text.len() <= MAX_DIFF_BYTES {
        return text;
    }
    let end = (0..=MAX_DIFF_BYTES)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
    text.push_str("\n… (cut)\n");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{diff, first_mismatch, same};

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(same(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
        assert!(!same(&json!(1), &json!(2)));
        assert!(!same(
            &json!(9_007_199_254_740_993_u64),
            &json!(9_007_199_254_740_992_u64)
        ));
        assert!(!same(&json!("1"), &json!(1)));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
    }

    #[test]
    fn a_subset_may_lack_keys_but_no_items() {
        let output = json!({"a": {"b": [1, {"c": "x"}]}, "more": true});
        assert_eq!(
            first_mismatch(&json!({"a": {"b": [1, {"c": "x"}]}}), &output, 0.0),
            None
        );
        assert_eq!(
            first_mismatch(&json!({"a": {"b": [1, {"c": "y"}]}}), &output, 0.0),
            Some("at `$.a.b[1].c`: expected \"y\", got \"x\"".into())
        );
        assert_eq!(
            first_mismatch(&json!({"a": {"b": [1]}}), &output, 0.0),
            Some("at `$.a.b`: expected 1 items, got 2".into())
        );
        assert_eq!(
            first_mismatch(&json!({"z": 1}), &output, 0.0),
            Some("at `$`: expected a key `z`".into())
        );
    }

    #[test]
    fn a_tolerance_is_absolute() {
        assert_eq!(
            first_mismatch(&json!(26.0976), &json!(26.09759), 1e-4),
            None
        );
        assert!(first_mismatch(&json!(26.0976), &json!(26.1), 1e-4).is_some());
        assert_eq!(first_mismatch(&json!(10), &json!(11), 1.0), None);
    }

    #[test]
    fn a_diff_shows_lines_and_is_bounded() {
        let text = diff(&json!("one\ntwo\nthree\n"), &json!("one\n2\nthree\n"));
        assert_eq!(
            text.as_deref(),
            Some("@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n")
        );
        assert_eq!(diff(&json!("a"), &json!("b")), None);
        let lines = "same\n".repeat(400_000);
        assert_eq!(
            diff(
                &json!(format!("{lines}one\n")),
                &json!(format!("{lines}two\n"))
            )
            .as_deref(),
            Some("(behind 399997 equal lines)\n@@ -1,4 +1,4 @@\n same\n same\n same\n-one\n+two\n")
        );
        let empty_lines = "\n".repeat(4 << 20);
        let other_lines = "\n\r".repeat(2 << 20);
        assert!(diff(&json!(empty_lines), &json!(other_lines)).is_some());
        let deep = (0..120).fold(json!(vec![0; 100_000]), |inner, _| json!([inner]));
        assert!(diff(&json!([1, 2]), &deep).is_some_and(|text| text.len() < 9_000));
        let long = "x\n".repeat(100_000);
        assert!(diff(&json!(long), &json!("y\n")).is_some_and(|text| text.len() < 9_000));
    }
}
