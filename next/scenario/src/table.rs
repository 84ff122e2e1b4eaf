//! [`Table`]: reads the keys of a table, or describes them.
//!
//! The function that reads a table names each of its keys once. With a value it reads; without one it notes the keys for
//! the schema. So unknown keys, suggestions, the schema and the documentation cannot differ from what is read. What a key
//! is for, a sentence for people, stands in `keys.md`.

use runner_model::Limits;
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
    LATER.iter().any(|(table, keys)| *table == title && keys.contains(&key))
}

/// A table that is read, or described.
pub(crate) struct Table<'a, 'p> {
    title: &'static str,
    map: &'a mut Map<String, Value>,
    at: &'a At<'a>,
    reading: &'a mut Reading<'p>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    /// What the keys so far look like, if they are described and not read.
    schema: Option<Value>,
}

/// Whether a key must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
    /// With this value, as JSON, if it is absent.
    Default(&'static str),
}

impl<'a, 'p> Table<'a, 'p> {
    /// A table that is read.
    pub(crate) fn new(
        title: &'static str,
        map: &'a mut Map<String, Value>,
        at: &'a At<'a>,
        reading: &'a mut Reading<'p>,
    ) -> Self {
        Self { title, map, at, reading, known: Vec::with_capacity(16), schema: None }
    }

    /// The schema of what `read` asks for.
    pub(crate) fn describe<T>(title: &'static str, read: fn(&mut Table<'_, '_>) -> T) -> Value {
        let (mut map, mut reading) = (Map::new(), Reading::new(&()));
        let mut table = Table::new(title, &mut map, &At::ROOT, &mut reading);
        table.schema = Some(json!({
            "title": title,
            "type": "object",
            "additionalProperties": false,
            "properties": {},
        }));
        read(&mut table);
        table.schema.unwrap_or_default()
    }

    /// A key that may be absent.
    pub(crate) fn optional<F: Form>(&mut self, key: &'static str, form: &F) -> Option<F::Out> {
        self.key(key, form, Presence::Optional)
    }

    /// A key that must be there.
    pub(crate) fn required<F: Form>(&mut self, key: &'static str, form: &F) -> Option<F::Out> {
        self.key(key, form, Presence::Required)
    }

    /// A key whose default, which is JSON, is applied elsewhere.
    pub(crate) fn with_default<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
    ) -> Option<F::Out> {
        self.key(key, form, Presence::Default(default))
    }

    /// A key that has the default, which is JSON, if it is absent or wrong.
    pub(crate) fn or<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
    ) -> F::Out {
        let value = self.with_default(key, form, default);
        value.unwrap_or_else(|| {
            form.read(&At::ROOT, &mut parse(default), &mut Reading::new(&()))
                .expect("a default is of its key's form")
        })
    }

    fn key<F: Form>(&mut self, key: &'static str, form: &F, presence: Presence) -> Option<F::Out> {
        if let Some(schema) = &mut self.schema {
            let mut property = form.schema();
            property["description"] = about(self.title, key).into();
            match presence {
                Presence::Required => match &mut schema["required"] {
                    Value::Array(required) => required.push(key.into()),
                    none => *none = json!([key]),
                },
                Presence::Optional => {}
                Presence::Default(default) => property["default"] = parse(default),
            }
            schema["properties"][key] = property;
            return None;
        }
        self.known.push(key);
        let value = self.map.get_mut(key);
        let is_told = value.is_some() && self.reading.refused_nulls;
        let present = value.filter(|value| !value.is_null() || form.takes_null());
        if let Some(value) = present {
            return read(form, &self.at.key(key), value, self.reading);
        }
        if presence == Presence::Required && !is_told {
            let message = format!("`{key}` is missing");
            let problem = self.reading.refuse_key(self.at, message, "here");
            problem.help = Some(about(self.title, key).to_owned());
        }
        None
    }

    /// The key under which the table stands.
    pub(crate) fn name(&self) -> &str {
        self.at.name()
    }

    /// Tells whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Tells whether a key is this word.
    pub(crate) fn is(&self, key: &str, word: &str) -> bool {
        self.map.get(key).is_some_and(|value| value == word)
    }

    /// Reports that a key which is there does nothing.
    pub(crate) fn refuse_key(&mut self, key: &str, message: &str) {
        let at = self.at.key(key);
        self.reading.refuse_key(&at, message, "does nothing");
    }

    /// Reports the keys that were not asked for.
    pub(crate) fn report_unknown(self) {
        let known = &self.known;
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let at = self.at.key(key);
            if is_later(self.title, key) {
                let message = format!("`{key}` is not supported yet");
                self.reading.refuse_key(&at, message, "not supported yet");
            } else {
                let message = format!("unknown key `{key}`");
                let problem = self.reading.refuse_key(&at, message, "unknown");
                problem.help = Some(suggest(key, known.iter().copied()));
            }
        }
    }
}

/// What a key of a table is for. Tests and test lists have keys of `[defaults]`.
fn about(title: &str, key: &str) -> &'static str {
    let in_table = |title: &str| {
        let (_, tables) = include_str!("keys.md").split_once(&format!("## {title}\n"))?;
        let table = tables.split("\n## ").next()?;
        let (_, sentence) = table.split_once(&format!("\n* `{key}`: "))?;
        sentence.lines().next()
    };
    let of_limit = || {
        let mut limits = Limits::TABLE.iter();
        limits.find(|limit| limit.key == key).map(|limit| limit.about)
    };
    let written = in_table(title).or_else(|| in_table("`[defaults]`"));
    written.or_else(of_limit).unwrap_or_default()
}

fn parse(default: &str) -> Value {
    serde_json::from_str(default).expect("defaults are JSON")
}
