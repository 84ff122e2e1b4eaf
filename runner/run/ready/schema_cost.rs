//! [`cost`]: whether evaluating a JSON Schema is provably cheap, judged by its text.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Parts that a cheap schema may have, with what it refers to counted at each place again.
const MAX_PARTS: u64 = 2_000;
/// How deep alternatives may be nested: for its messages the evaluator goes through those of each level twice.
const MAX_ALTERNATIVES: u32 = 3;

/// Keys whose schemas are evaluated more than once.
const ALTERNATIVES: [&str; 7] = ["anyOf", "oneOf", "allOf", "not", "if", "then", "else"];
/// Keys that may cost more than the parts below them, or nobody knows what: patterns go back, what is unevaluated is found
/// by evaluating again, dynamic references lead wherever the evaluation came from.
const COSTLY: [&str; 9] = [
    "$dynamicRef",
    "$recursiveRef",
    "pattern",
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "contentSchema",
    "contentMediaType",
];
/// Keys that change what references mean, wherever they are.
const BASES: [&str; 6] = [
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$vocabulary",
];
/// Formats that are read in one pass.
const FORMATS: [&str; 20] = [
    "int8",
    "int16",
    "int32",
    "int64",
    "int128",
    "int",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uint128",
    "uint",
    "float",
    "double",
    "uri",
    "date",
    "time",
    "date-time",
    "uuid",
    "email",
];
/// The drafts that the evaluator knows, and nothing of one's own.
const DRAFTS: [&str; 5] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-04/schema#",
];

/// How many parts a schema has that is cheap to evaluate: at most each of them is compared with each part of a value.
/// `None` if that is not known.
pub(in crate::run) fn cost(schema: &Value) -> Option<u64> {
    let mut survey = PartCounter {
        root: schema,
        known: HashMap::new(),
    };
    if has_bases(schema) {
        return None;
    }
    let parts = survey.parts(schema, 0)?;
    (parts <= MAX_PARTS).then_some(parts)
}

fn has_bases(schema: &Value) -> bool {
    let mut pending = vec![schema];
    while let Some(value) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(entries) => {
                let is_base =
                    |key: &&str| entries.get(*key).is_some_and(|value| !is_name(value, key));
                if BASES.iter().any(is_base) {
                    return true;
                }
                pending.extend(entries.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    false
}

struct PartCounter<'a> {
    root: &'a Value,
    /// What references come to; none while one is being followed, so that a cycle is found.
    known: HashMap<(&'a str, u32), Option<u64>>,
}

impl<'a> PartCounter<'a> {
    fn parts(&mut self, value: &'a Value, alternatives: u32) -> Option<u64> {
        let parts = match value {
            Value::Array(items) => self.all(items.iter(), alternatives)?,
            Value::Object(entries) => self.object(entries, alternatives)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        let parts = parts.saturating_add(1);
        (parts <= MAX_PARTS).then_some(parts)
    }

    fn all(&mut self, values: impl Iterator<Item = &'a Value>, alternatives: u32) -> Option<u64> {
        let mut parts = 0_u64;
        for value in values {
            parts = parts.saturating_add(self.parts(value, alternatives)?);
        }
        Some(parts)
    }

    /// Every object is read as a schema, which errs on the safe side: in `properties` a key is a name.
    fn object(&mut self, entries: &'a Map<String, Value>, alternatives: u32) -> Option<u64> {
        let mut parts = 0_u64;
        for (key, value) in entries {
            if COSTLY.contains(&key.as_str()) && !is_name(value, key) {
                return None;
            }
            let more = match (key.as_str(), value) {
                ("$ref", Value::String(target)) => self.reference(target, alternatives)?,
                ("$schema", Value::String(draft)) if !DRAFTS.contains(&draft.as_str()) => {
                    return None;
                }
                ("format", Value::String(format)) if !FORMATS.contains(&format.as_str()) => {
                    return None;
                }
                // They count where they are referred to.
                ("$defs" | "definitions", Value::Object(_)) => 0,
                (key, value) if ALTERNATIVES.contains(&key) => {
                    if alternatives == MAX_ALTERNATIVES {
                        return None;
                    }
                    self.parts(value, alternatives + 1)?
                }
                (_, value) => self.parts(value, alternatives)?,
            };
            parts = parts.saturating_add(more);
        }
        Some(parts)
    }

    /// Follows a reference within the schema.
    fn reference(&mut self, target: &'a str, alternatives: u32) -> Option<u64> {
        if let Some(known) = self.known.get(&(target, alternatives)) {
            return *known;
        }
        let pointer = target.strip_prefix('#')?;
        // What is escaped in it is read as such by the evaluator alone.
        if pointer.contains(['%', '~']) {
            return None;
        }
        let schema = self.root.pointer(pointer)?;
        self.known.insert((target, alternatives), None);
        let parts = self.parts(schema, alternatives);
        self.known.insert((target, alternatives), parts);
        parts
    }
}

/// Tells whether a key of this value is the name of a property rather than a keyword: where a keyword has no schema, one
/// that is an object is none.
fn is_name(value: &Value, key: &str) -> bool {
    value.is_object()
        && !matches!(
            key,
            "patternProperties" | "unevaluatedItems" | "unevaluatedProperties" | "contentSchema"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::cost;

    #[test]
    fn plain_schemas_are_cheap_and_those_that_explode_are_not() {
        let plain = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"id": {"type": "string"}, "n": {"type": "integer", "format": "uint32"},
                           "mode": {"$ref": "#/$defs/mode"}},
            "required": ["id"],
            "$defs": {"mode": {"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}},
        });
        assert!(cost(&plain).is_some_and(|parts| parts < 40));
        assert_eq!(cost(&json!(true)), Some(1));

        let doubling: serde_json::Map<String, Value> = (0..30)
            .map(|number| {
                let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
                (format!("d{number}"), json!({"allOf": [next, next]}))
            })
            .collect();
        let flat: serde_json::Map<String, Value> = (0..30)
            .map(|number| {
                let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
                (format!("d{number}"), json!({"prefixItems": [next, next]}))
            })
            .collect();
        let mut nested = json!({"type": "string"});
        for _ in 0..4 {
            nested = json!({"anyOf": [nested, nested]});
        }
        for costly in [
            json!({"$defs": doubling, "$ref": "#/$defs/d0"}),
            json!({"$defs": flat, "$ref": "#/$defs/d0"}),
            json!({"$ref": "#"}),
            json!({"properties": {"next": {"$ref": "#"}}}),
            json!({"$ref": "https://example.com/schema"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$dynamicRef": "#x"}),
            json!({"pattern": "(a+)+$"}),
            json!({"patternProperties": {"(a+)+$": true}}),
            json!({"format": "regex"}),
            json!({"unevaluatedProperties": false}),
            json!({"$schema": "https://example.com/my-draft"}),
            json!({"enum": vec![0; 2_001]}),
            json!({"$defs": {"a": {"$id": "https://example.com/a"}}}),
            nested,
        ] {
            assert_eq!(cost(&costly), None, "{costly}");
        }
    }
}
