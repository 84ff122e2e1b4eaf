//! [`TextSearch`]: searches the output or the standard error for texts, values and matches.

use std::borrow::Cow;

use runner_model::alike::{difference, find_alike, look_alike};
use runner_model::json::Json;
use runner_sandbox::cut;
use serde_json::{Value, json};

use super::compiled::CompiledCache;
use super::json::{MAX_SHORT, is_equal};

/// Bytes of a text in which parts that look alike are searched.
const MAX_LOOKED: usize = 64 << 10;
/// Characters of a line before a text that was found.
const BEFORE: usize = 20;

/// The rules of a search. Values to search are given by [`Self::json`], which ignores case if the search does.
#[derive(Clone, Copy)]
pub(super) struct TextSearch {
    /// Start of the messages, such as `the output`.
    pub(super) subject: &'static str,
    pub(super) ignores_case: bool,
}

impl TextSearch {
    /// Returns the failure if a value does not contain a part.
    pub(super) fn lacks(&self, value: &Json<'_>, part: &Value) -> Option<String> {
        if let Some(problem) = self.unsearchable(value, &cut(MAX_SHORT, part)) {
            return Some(problem);
        }
        let folded = self.value(part);
        (!contains(value, &folded)).then(|| {
            let alike = alike(value, &folded);
            format!("{} does not contain {}{alike}", self.subject, cut(MAX_SHORT, part))
        })
    }

    /// Returns the failure if a value contains none of these parts.
    pub(super) fn lacks_all(&self, value: &Json<'_>, parts: &[Value]) -> Option<String> {
        if let Some(problem) = self.unsearchable(value, &list(parts)) {
            return Some(problem);
        }
        let has_one = parts.iter().any(|part| contains(value, &self.value(part)));
        (!has_one).then(|| format!("{} contains none of {}", self.subject, list(parts)))
    }

    /// Returns the failure if a value is equal to none of these.
    pub(super) fn is_none_of(&self, value: &Json<'_>, expected: &[Value]) -> Option<String> {
        let is_one = expected.iter().any(|expected| is_equal(&self.value(expected), value));
        (!is_one).then(|| format!("{} is none of {}", self.subject, list(expected)))
    }

    /// Returns the failure if a value is equal to an unwanted one.
    pub(super) fn is(&self, value: &Json<'_>, unwanted: &Value) -> Option<String> {
        is_equal(&self.value(unwanted), value)
            .then(|| format!("{} is {}", self.subject, cut(MAX_SHORT, unwanted)))
    }

    /// Returns the failure if a value contains an unwanted part, with its place, or cannot contain one. `text` returns the value
    /// as text, with its case.
    pub(super) fn has<'t>(
        &self,
        value: &Json<'_>,
        unwanted: &Value,
        text: impl FnOnce() -> Cow<'t, str>,
    ) -> Option<String> {
        let subject = self.subject;
        let shown = cut(MAX_SHORT, unwanted);
        let place = match (value, &*self.value(unwanted)) {
            (Json::String(folded), Value::String(part)) => {
                let count = folded[..folded.find(part.as_str())?].chars().count();
                let text = text();
                place(&text, text.char_indices().nth(count).map_or(text.len(), |(at, _)| at))
            }
            (Json::Array(items), part) => {
                format!("at $[{}]", items.iter().position(|item| is_equal(part, item))?)
            }
            (Json::String(_), _) => return None,
            // A check of the wrong value would hold for ever.
            _ => return self.unsearchable(value, &shown),
        };
        Some(format!("{subject} contains {shown} {place}"))
    }

    /// Returns the failure if a value has no parts.
    fn unsearchable(&self, value: &Json<'_>, shown: &str) -> Option<String> {
        let is_searchable = matches!(value, Json::String(_) | Json::Array(_));
        (!is_searchable).then(|| {
            let subject = self.subject;
            format!("{subject} is not a string or an array, so it cannot be searched for {shown}")
        })
    }

    /// Returns the failure if a text does not match, or why the expression is invalid.
    pub(super) fn mismatch(
        &self,
        cache: &CompiledCache,
        text: &str,
        pattern: &str,
    ) -> Option<String> {
        match cache.regex(pattern, self.ignores_case) {
            Ok(regex) if regex.is_match(text) => None,
            Ok(_) => Some(format!("{} does not match `{pattern}`", self.subject)),
            Err(error) => Some(error),
        }
    }

    /// Returns the failure if a text matches, with its place, or why the expression is invalid.
    pub(super) fn matches(
        &self,
        cache: &CompiledCache,
        text: &str,
        unwanted: &str,
    ) -> Option<String> {
        let place = match cache.regex(unwanted, self.ignores_case) {
            Ok(regex) => place(text, regex.find(text)?.start()),
            Err(error) => return Some(error),
        };
        Some(format!("{} matches `{unwanted}` {place}", self.subject))
    }

    /// Returns a text as it is searched. It has as many characters.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.ignores_case { text.chars().map(fold).collect() } else { text.into() }
    }

    /// Returns an expected value as it is searched for.
    pub(super) fn value<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        let mut value = Cow::Borrowed(value);
        if self.ignores_case {
            fold_value(value.to_mut());
        }
        value
    }

    /// Returns a value as it is searched.
    pub(super) fn json<'j>(&self, mut value: Json<'j>) -> Json<'j> {
        if self.ignores_case {
            fold_json(&mut value);
        }
        value
    }
}

fn contains(value: &Json<'_>, part: &Value) -> bool {
    match (value, part) {
        (Json::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Json::Array(items), part) => items.iter().any(|item| is_equal(part, item)),
        _ => false,
    }
}

fn list(values: &[Value]) -> String {
    cut(MAX_SHORT, Value::from(values))
}

/// Describes the place of a byte in a text: line, column, and the line around it.
fn place(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let number = text[..start].matches('\n').count() + 1;
    let column = text[start..at].chars().count() + 1;
    let mut before = text[start..at].char_indices().rev();
    let from = before.nth(BEFORE).map_or(start, |(from, _)| start + from);
    let mark = if from > start { "…" } else { "" };
    let line = text[from..].lines().next().unwrap_or_default();
    let line = json!(format!("{mark}{}", cut(MAX_SHORT, line)));
    format!("at line {number}, column {column}: {line}")
}

/// Describes a text of a value that looks like a part that it does not contain.
fn alike(value: &Json<'_>, part: &Value) -> String {
    let Value::String(part) = part else { return String::new() };
    match value {
        Json::String(text) => alike_text(text, part),
        Json::Array(items) => {
            let texts = items.iter().filter_map(|item| match item {
                Json::String(text) if look_alike(part, text) => Some(alike_text(text, part)),
                _ => None,
            });
            texts.into_iter().next().unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn alike_text(text: &str, part: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_LOOKED)];
    let found = find_alike(text, part);
    found
        .map(|found| format!(", but a text that looks alike{}", difference(part, found)))
        .unwrap_or_default()
}

fn fold_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.chars().map(fold).collect(),
        Value::Array(items) => items.iter_mut().for_each(fold_value),
        Value::Object(map) => map.values_mut().for_each(fold_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn fold_json(value: &mut Json<'_>) {
    match value {
        Json::String(text) => *text = text.chars().map(fold).collect(),
        Json::Array(items) => items.iter_mut().for_each(fold_json),
        Json::Object(map) => map.values_mut().for_each(fold_json),
        Json::Word(_) | Json::Number(_) => {}
    }
}

/// Returns a character that letters share which differ only in case, such as `σ` for `Σ` and `ς`. As in regular expressions, `ß`
/// is not `ss`.
fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut characters: impl ExactSizeIterator<Item = char>) -> Option<char> {
    if characters.len() == 1 { characters.next() } else { None }
}
