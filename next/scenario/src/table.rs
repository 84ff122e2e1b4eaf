//! [`Table`]: reads the keys of a table, or describes them.
//!
//! The function that reads a table names each of its keys once. With a value it reads; without one it notes the keys for
//! the schema. So unknown keys, suggestions, the schema and the documentation cannot differ from what is read.

use serde_json::{Map, Value, json};

use crate::{
    form::{Form, read},
    reading::{At, Reading, suggest},
};

/// Documented keys that this version does not read yet, by the titles of their tables.
const LATER: &[(&str, &[&str])] = &[
    ("`runner.toml`", &["max_active_runs", "notify", "serve"]),
    ("Top level", &["graders", "notify", "report"]),
    ("`[[tests]]`", &["reference"]),
    ("`expect`", &["graders"]),
    ("`[[test_lists]]`", &["reference"]),
];

/// Tells whether a documented key of a table is not read yet.
pub(crate) fn is_later(title: &str, key: &str) -> bool {
    LATER
        .iter()
        .any(|(table, keys)| *table == title && keys.contains(&key))
}

/// A table that is read, or described.
pub(crate) enum Table<'a, 'p> {
    Read {
        title: &'static str,
        map: &'a mut Map<String, Value>,
        at: &'a At<'a>,
        reading: &'a mut Reading<'p>,
        /// The keys that were asked for.
        known: Vec<&'static str>,
    },
    Describe(&'a mut Keys),
}

/// The keys of a table, for its schema.
#[derive(Default)]
pub(crate) struct Keys {
    schemas: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Keys {
    pub(crate) fn schema(self, title: &str) -> Value {
        let mut schema = json!({
            "title": title,
            "type": "object",
            "additionalProperties": false,
            "properties": self.schemas,
        });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        schema
    }
}

/// Whether a key must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
    /// With this value, as JSON, if it is absent.
    Default(&'static str),
}

impl Table<'_, '_> {
    /// A key that may be absent.
    pub(crate) fn optional<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        about: &'static str,
    ) -> Option<F::Out> {
        self.key(key, form, Presence::Optional, about)
    }

    /// A key that must be there.
    pub(crate) fn required<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        about: &'static str,
    ) -> Option<F::Out> {
        self.key(key, form, Presence::Required, about)
    }

    /// A key whose default is applied elsewhere.
    pub(crate) fn with_default<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
        about: &'static str,
    ) -> Option<F::Out> {
        self.key(key, form, Presence::Default(default), about)
    }

    /// A key that has the default, which is JSON, if it is absent or wrong.
    pub(crate) fn or<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
        about: &'static str,
    ) -> F::Out {
        self.with_default(key, form, default, about)
            .unwrap_or_else(|| default_of(form, default))
    }

    fn key<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        presence: Presence,
        about: &'static str,
    ) -> Option<F::Out> {
        match self {
            Self::Read {
                map,
                at,
                reading,
                known,
                ..
            } => {
                known.push(key);
                let value = map.get_mut(key);
                let is_there = value.is_some();
                let present = value.filter(|value| !value.is_null() || form.takes_null());
                match present {
                    Some(value) => read(form, &at.key(key), value, reading),
                    None => {
                        let is_told = is_there && reading.refused_nulls;
                        if presence == Presence::Required && !is_told {
                            let problem =
                                reading.refuse_key(at, format!("`{key}` is missing"), "here");
                            problem.help = Some(about.to_owned());
                        }
                        None
                    }
                }
            }
            Self::Describe(keys) => {
                let mut schema = form.schema();
                schema["description"] = json!(about);
                match presence {
                    Presence::Required => keys.required.push(key),
                    Presence::Optional => {}
                    Presence::Default(default) => schema["default"] = parse(default),
                }
                keys.schemas.insert(key.to_owned(), schema);
                None
            }
        }
    }

    /// The key under which the table stands.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Read { at, .. } => at.name(),
            Self::Describe(_) => "",
        }
    }

    /// Tells whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Self::Read { map, .. } => map.contains_key(key),
            Self::Describe(_) => false,
        }
    }

    /// Reports that a key which is there does nothing.
    pub(crate) fn refuse_key(&mut self, key: &str, message: &str) {
        if let Self::Read { at, reading, .. } = self {
            reading.refuse_key(&at.key(key), message, "does nothing");
        }
    }

    /// Reports the keys that were not asked for.
    pub(crate) fn report_unknown(self) {
        let Self::Read {
            title,
            map,
            at,
            reading,
            known,
        } = self
        else {
            return;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let at = at.key(key);
            if is_later(title, key) {
                let message = format!("`{key}` is not supported yet");
                reading.refuse_key(&at, message, "not supported yet");
            } else {
                let problem = reading.refuse_key(&at, format!("unknown key `{key}`"), "unknown");
                problem.help = Some(suggest(key, known.iter().copied()));
            }
        }
    }
}

fn default_of<F: Form>(form: &F, default: &str) -> F::Out {
    form.read(&At::ROOT, &mut parse(default), &mut Reading::new(&()))
        .expect("a default is of its key's form")
}

fn parse(default: &str) -> Value {
    serde_json::from_str(default).expect("defaults are JSON")
}
