//! [`Tagged`], tagged JSON for parsers that only support serde.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A document, tagged during deserialization. It has no times, which need a parser's own types.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged(
    /// The canonical tagged JSON.
    pub Value,
);

impl<'de> Deserialize<'de> for Tagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tagging)
    }
}

struct Tagging;

impl<'de> Visitor<'de> for Tagging {
    type Value = Tagged;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a TOML value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tagged, E> {
        Ok(Tagged(crate::boolean(flag)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Tagged, E> {
        Ok(Tagged(crate::integer(number)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tagged, E> {
        Ok(Tagged(crate::float(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tagged, E> {
        Ok(Tagged(crate::string(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tagged, A::Error> {
        let mut tagged = Vec::new();
        while let Some(Tagged(item)) = items.next_element()? {
            tagged.push(item);
        }
        Ok(Tagged(Value::Array(tagged)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tagged, A::Error> {
        let mut tagged = Map::new();
        while let Some((key, Tagged(value))) = entries.next_entry()? {
            tagged.insert(key, value);
        }
        Ok(Tagged(Value::Object(tagged)))
    }
}
