//! Takes secrets out of JSON values, log records and numbers.

use serde_json::{Map, Value};

use super::{
    names::DistinctNames,
    redactor::{Redactor, SEAM},
};
use crate::model::LogRecord;

impl Redactor {
    pub(super) fn record(&self, record: &mut LogRecord) {
        let LogRecord {
            at: _,
            level: _,
            message,
            fields,
        } = record;
        self.cut_text(message);
        for (name, value) in fields {
            self.text(name);
            self.text(value);
        }
    }

    pub(super) fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => self.object(map),
            Value::Number(number) => {
                let mut text = number.to_string();
                if self.finder.find(&text).is_some() {
                    self.text(&mut text);
                    *value = Value::String(text);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>) {
        map.values_mut().for_each(|value| self.value(value));
        let is_suspect = |key: &String| self.finder.find(key).is_some() || SEAM.is_match(key);
        if !map.keys().any(is_suspect) {
            return;
        }
        let mut names: DistinctNames = map.keys().filter(|key| !is_suspect(key)).collect();
        for (mut key, value) in std::mem::take(map) {
            if is_suspect(&key) {
                self.text(&mut key);
                key = names.distinct(key);
            }
            map.insert(key, value);
        }
    }

    pub(super) fn optional(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Tells whether a number is written with a secret in it.
    pub(super) fn is_in_number(&self, number: impl serde::Serialize) -> bool {
        serde_json::to_vec(&number).is_ok_and(|text| self.is_in(&text))
    }
}
