//! `meta`: what a test says of itself for those who read its results.

use serde_json::{Map, Value};

use super::form::{Form, Key, Name, optional};

/// How many keys a test may have.
const MAX_KEYS: usize = 32;
/// The longest key, in bytes.
const MAX_KEY: usize = 64;
/// The longest text, in bytes.
const MAX_TEXT: usize = 256;

/// `meta` as tests and defaults have it.
pub(super) const META: &[Key] = &[optional(
    "meta",
    Form::Map(&Form::Scalar, Name::Meta),
    "What the test says of itself, such as `{ topic = \"dates\" }`: texts, numbers and booleans by name, at most 32. Reports tell what the tests with each value came to. Those of the defaults, the list and the test add up; the nearer one wins.",
)];

/// Why a `meta` has too much; `None` if it has not. Its keys and the kinds of its values are checked by the form.
pub(super) fn excess(meta: &Map<String, Value>) -> Option<String> {
    if meta.len() > MAX_KEYS {
        return Some(format!(
            "it has {} keys, and at most {MAX_KEYS} are allowed",
            meta.len()
        ));
    }
    let long = meta.iter().find(|(_, value)| {
        let text = value.as_str();
        text.is_some_and(|text| text.len() > MAX_TEXT)
    });
    long.map(|(key, _)| format!("the text of `{key}` has more than {MAX_TEXT} bytes"))
}

/// Tells why `name` cannot be a key.
pub(super) fn key_error(name: &str) -> Option<String> {
    let is_plain = |character: char| character.is_alphanumeric() || "_.-".contains(character);
    if name.is_empty() || name.len() > MAX_KEY {
        return Some(format!("it must have 1 to {MAX_KEY} bytes"));
    }
    (!name.chars().all(is_plain)).then(|| "letters, digits, `_`, `.` and `-` are allowed".into())
}

/// The keys and values of `nearer`, and those of `base` that it does not have.
pub(super) fn over(
    mut nearer: Map<String, Value>,
    base: &Map<String, Value>,
) -> Map<String, Value> {
    for (key, value) in base {
        if !nearer.contains_key(key) {
            nearer.insert(key.clone(), value.clone());
        }
    }
    nearer
}
