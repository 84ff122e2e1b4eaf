//! [`Table`]: reads the keys of a table, or describes them.
//!
//! The function that reads a table names each of its keys once. With a value it reads; without one it notes the keys, in
//! the order written. So unknown keys, suggestions, the schema and the documentation cannot differ from what is read.

use serde_json::{Map, Value, json};

use crate::{
    form::{Form, read},
    reading::{At, Reading, suggest},
};

/// Documented keys that this version does not read yet, by the titles of their tables.
const LATER: &[(&str, &[&str])] = &[
    ("Top level", &["dimensions", "graders", "notify", "report"]),
    ("`[defaults]`", &["meta"]),
    ("`retries`", &["backoff", "on"]),
    ("`[run]`", &["budget", "fail_fast", "memory"]),
    (
        "`[providers.NAME]`",
        &[
            "budget", "grants", "matrix", "name", "rate", "reuse", "sha256",
        ],
    ),
    ("`[[tests]]`", &["files", "meta", "reference"]),
    (
        "`expect`",
        &["exit_code", "graders", "max_memory", "min_score", "schema"],
    ),
    ("`[[test_lists]]`", &["meta", "reference"]),
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
        map: &'a Map<String, Value>,
        at: &'a At<'a>,
        reading: &'a mut Reading<'p>,
        /// The keys that were asked for.
        known: Vec<&'static str>,
    },
    Describe(&'a mut KeyTable),
}

/// The keys of a table, in the order in which they are read.
pub(crate) struct KeyTable {
    pub(crate) title: &'static str,
    pub(crate) keys: Vec<Key>,
    is_shared: bool,
}

/// A key of a table.
pub(crate) struct Key {
    pub(crate) key: &'static str,
    pub(crate) form: String,
    pub(crate) presence: Presence,
    pub(crate) about: &'static str,
    /// Whether it stands in the table of `[defaults]`, too.
    pub(crate) is_shared: bool,
    pub(crate) inner: Option<KeyTable>,
    schema: Value,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// With this value, as JSON, if it is absent.
    Default(&'static str),
}

impl<'a, 'p> Table<'a, 'p> {
    pub(crate) fn reading(
        title: &'static str,
        map: &'a Map<String, Value>,
        at: &'a At<'a>,
        reading: &'a mut Reading<'p>,
    ) -> Self {
        Self::Read {
            title,
            map,
            at,
            reading,
            known: Vec::new(),
        }
    }

    pub(crate) fn describing(keys: &'a mut KeyTable) -> Self {
        Self::Describe(keys)
    }

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
                let value = map.get(key);
                let present = value.filter(|value| !value.is_null() || form.takes_null());
                match present {
                    Some(value) => read(form, &at.key(key), value, reading),
                    None => {
                        let is_told = value.is_some() && reading.refused_nulls;
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
                keys.keys.push(Key {
                    key,
                    form: form.name(),
                    presence,
                    about,
                    is_shared: keys.is_shared,
                    inner: form.keys(),
                    schema: form.schema(),
                });
                None
            }
        }
    }

    /// Reads keys that stand in the table of `[defaults]`, too.
    pub(crate) fn shared<T>(&mut self, read: fn(&mut Table<'_, '_>) -> T) -> T {
        self.set_shared(true);
        let out = read(self);
        self.set_shared(false);
        out
    }

    fn set_shared(&mut self, is_shared: bool) {
        if let Self::Describe(keys) = self {
            keys.is_shared = is_shared;
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

    /// Reports the keys that nobody asked for.
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
    let value = serde_json::from_str(default).expect("defaults are JSON");
    form.read(&At::ROOT, &value, &mut Reading::new(&()))
        .expect("a default is of its key's form")
}

impl KeyTable {
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            keys: Vec::new(),
            is_shared: false,
        }
    }

    pub(crate) fn schema(&self) -> Value {
        let properties = self.keys.iter().map(|key| {
            let mut schema = key.schema.clone();
            schema["description"] = json!(key.about);
            if let Presence::Default(default) = key.presence {
                schema["default"] = serde_json::from_str(default).expect("defaults are JSON");
            }
            (key.key.to_owned(), schema)
        });
        let mut schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties.collect::<Map<_, _>>(),
        });
        let required = self
            .keys
            .iter()
            .filter(|key| key.presence == Presence::Required);
        let required: Vec<_> = required.map(|key| key.key).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}
