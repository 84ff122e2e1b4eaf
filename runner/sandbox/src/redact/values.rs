//! Redaction of JSON and numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use runner_model::json::Json;
use serde_json::value::RawValue;

use super::Redactor;

impl Redactor {
    /// Redacts JSON. `None` if it contains no secret. Strings are parsed, because a guest may write
    /// a secret with escapes. A number with a secret becomes a string, and equal keys get numbers.
    pub fn json(&self, text: &str) -> Option<String> {
        // Without escapes, no string differs from its text.
        if !text.contains('\\') && !self.is_in(text.as_bytes()) {
            return None;
        }
        let raw: Option<&RawValue> = serde_json::from_str(text).ok();
        let Some(mut value) = raw.and_then(Json::of) else {
            // A search in invalid JSON could cut it anywhere, so all of it becomes one redacted string.
            let mut text = text.to_owned();
            self.text(&mut text);
            return Some(Json::String(text.into()).to_string());
        };
        self.value(&mut value).then(|| value.to_string())
    }

    /// Redacts a JSON value. Returns whether it contained a secret.
    fn value(&self, value: &mut Json<'_>) -> bool {
        match value {
            Json::String(text) => {
                let is_in = self.is_in(text.as_bytes());
                if is_in {
                    self.text(text.to_mut());
                }
                is_in
            }
            Json::Array(items) => self.values(items.iter_mut()),
            Json::Object(map) => self.object(map),
            Json::Number(number) => {
                let is_in = self.is_in(number.as_bytes());
                if is_in {
                    let mut text = (*number).to_owned();
                    self.text(&mut text);
                    *value = Json::String(text.into());
                }
                is_in
            }
            Json::Word(_) => false,
        }
    }

    /// Returns whether a number's text contains a secret. A number has no place for a mark.
    pub fn is_in_number(&self, number: f64) -> bool {
        serde_json::to_vec(&number).is_ok_and(|text| self.is_in(&text))
    }

    fn values<'v, 'j: 'v>(&self, values: impl Iterator<Item = &'v mut Json<'j>>) -> bool {
        let mut is_in = false;
        for value in values {
            is_in |= self.value(value);
        }
        is_in
    }

    fn object(&self, map: &mut BTreeMap<Cow<'_, str>, Json<'_>>) -> bool {
        let is_in = self.values(map.values_mut());
        let has_secret = |key: &str| self.is_in(key.as_bytes());
        if !map.keys().any(|key| has_secret(key)) {
            return is_in;
        }
        let mut names: DistinctNames = map.keys().filter(|key| !has_secret(key)).collect();
        for (mut key, value) in std::mem::take(map) {
            if has_secret(&key) {
                self.text(key.to_mut());
                key = names.distinct(key.into_owned()).into();
            }
            map.insert(key, value);
        }
        true
    }
}

/// Keeps names different after redaction has made them equal.
#[derive(Default)]
pub struct DistinctNames {
    /// Known names, each with the last number appended to it, so that a million equal names are not
    /// counted from 1 each time.
    taken: HashMap<String, u32>,
}

impl DistinctNames {
    /// Returns the name, with a number if it is taken.
    pub fn distinct(&mut self, name: String) -> String {
        let Some(&last) = self.taken.get(&name) else {
            self.taken.insert(name.clone(), 1);
            return name;
        };
        let mut number = last + 1;
        let mut numbered = format!("{name}-{number}");
        while self.taken.contains_key(&numbered) {
            number += 1;
            numbered = format!("{name}-{number}");
        }
        self.taken.insert(name, number);
        self.taken.insert(numbered.clone(), 1);
        numbered
    }
}

impl<N: AsRef<str>> FromIterator<N> for DistinctNames {
    fn from_iter<T: IntoIterator<Item = N>>(names: T) -> Self {
        Self { taken: names.into_iter().map(|name| (name.as_ref().to_owned(), 1)).collect() }
    }
}
