//! Takes secrets out of JSON and numbers.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Redactor;

impl Redactor {
    /// The JSON `text` without secrets; `None` if there are none in it. A guest may write a secret with escapes, so its
    /// strings are read. A number that has a secret in it becomes a string, and keys that become equal are numbered.
    pub fn json(&self, text: &str) -> Option<String> {
        // As it is written nothing is hidden where nothing is escaped.
        if !text.contains('\\') && !self.is_in(text.as_bytes()) {
            return None;
        }
        let Ok(mut value) = serde_json::from_str(text) else {
            // What cannot be read is not handed on as it is.
            let mut text = text.to_owned();
            self.text(&mut text);
            return Some(Value::String(text).to_string());
        };
        self.value(&mut value).then(|| value.to_string())
    }

    /// Takes secrets out of a JSON value; tells whether there were any.
    pub fn value(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let is_in = self.is_in(text.as_bytes());
                if is_in {
                    self.text(text);
                }
                is_in
            }
            Value::Array(items) => self.values(items.iter_mut()),
            Value::Object(map) => self.object(map),
            Value::Number(number) => {
                let mut text = number.to_string();
                let is_in = self.is_in(text.as_bytes());
                if is_in {
                    self.text(&mut text);
                    *value = Value::String(text);
                }
                is_in
            }
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// Tells whether a number is written with a secret in it. A number has no place for a mark.
    pub fn is_in_number(&self, number: f64) -> bool {
        serde_json::to_vec(&number).is_ok_and(|text| self.is_in(&text))
    }

    fn values<'v>(&self, values: impl Iterator<Item = &'v mut Value>) -> bool {
        let mut is_in = false;
        for value in values {
            is_in |= self.value(value);
        }
        is_in
    }

    fn object(&self, map: &mut Map<String, Value>) -> bool {
        let is_in = self.values(map.values_mut());
        let is_told = |key: &String| self.is_in(key.as_bytes());
        if !map.keys().any(is_told) {
            return is_in;
        }
        let mut names: DistinctNames = map.keys().filter(|key| !is_told(key)).collect();
        for (mut key, value) in std::mem::take(map) {
            if is_told(&key) {
                self.text(&mut key);
                key = names.distinct(key);
            }
            map.insert(key, value);
        }
        true
    }
}

/// Names that stay different when what made them different is taken out of them.
#[derive(Default)]
pub struct DistinctNames {
    /// Those that are there, and the last number that was put behind each: where a million names become one, none of them
    /// is counted from the start.
    taken: HashMap<String, u32>,
}

impl DistinctNames {
    /// The name, with a number behind it if it is there already.
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

impl<'a> FromIterator<&'a String> for DistinctNames {
    fn from_iter<T: IntoIterator<Item = &'a String>>(names: T) -> Self {
        let names = names.into_iter();
        Self { taken: names.map(|name| (name.clone(), 1)).collect() }
    }
}
