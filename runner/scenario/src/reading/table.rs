//! [`Table`]: reads the keys of a table, or describes them.
//!
//! A function names each key of its table once. The same calls read a value or make the schema, so unknown keys,
//! suggestions, the schema and `docs/` cannot differ from the keys that are read.

use runner_model::Limits;
use serde_json::{Map, Value, json};

use crate::reading::{At, Form, Reader, form::read, reader::similar, suggest};

/// Unknown keys of a table that are reported one by one. Each is searched for in the text.
const MAX_UNKNOWN: usize = 20;

/// A table that is read or described.
pub(crate) struct Table<'a, 'p> {
    title: &'static str,
    map: &'a mut Map<String, Value>,
    at: &'a At<'a>,
    reader: &'a mut Reader<'p>,
    /// The keys that were read.
    known: Vec<&'static str>,
    /// Required keys that are absent, with the indexes of their problems.
    missing: Vec<(&'static str, usize)>,
    /// The schema so far, if the table is described.
    schema: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
    /// The value of an absent key, as JSON.
    Default(&'static str),
}

impl<'a, 'p> Table<'a, 'p> {
    pub(crate) fn new(
        title: &'static str,
        map: &'a mut Map<String, Value>,
        at: &'a At<'a>,
        reader: &'a mut Reader<'p>,
    ) -> Self {
        Self {
            title,
            map,
            at,
            reader,
            known: Vec::with_capacity(16),
            missing: Vec::new(),
            schema: None,
        }
    }

    /// Returns the schema of the keys that `read` reads.
    fn describe<T>(title: &'static str, read: fn(&mut Table<'_, '_>) -> T) -> Value {
        let mut map = Map::new();
        let mut reader = Reader::new(&());
        let mut table = Table::new(title, &mut map, &At::ROOT, &mut reader);
        table.schema = Some(json!({
            "title": title,
            "type": "object",
            "additionalProperties": false,
            "properties": {},
        }));
        read(&mut table);
        table.schema.unwrap_or_default()
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<F: Form>(&mut self, key: &'static str, form: &F) -> Option<F::Out> {
        self.key(key, form, Presence::Optional)
    }

    /// Reads a key, and reports its absence.
    pub(crate) fn required<F: Form>(&mut self, key: &'static str, form: &F) -> Option<F::Out> {
        self.key(key, form, Presence::Required)
    }

    /// Reads a key whose default the caller applies. The schema has it, as JSON.
    pub(crate) fn with_default<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
    ) -> Option<F::Out> {
        self.key(key, form, Presence::Default(default))
    }

    /// Reads a key. Returns the default, which is JSON, if the key is absent or invalid.
    pub(crate) fn or<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        default: &'static str,
    ) -> F::Out {
        self.with_default(key, form, default).unwrap_or_else(|| {
            form.read(&At::ROOT, &mut parse(default), &mut Reader::new(&()))
                .expect("a default is of its key's form")
        })
    }

    fn key<F: Form>(&mut self, key: &'static str, form: &F, presence: Presence) -> Option<F::Out> {
        if let Some(schema) = &mut self.schema {
            let mut property = form.schema();
            property["description"] = description(self.title, key).into();
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
        if let Some(value) = self.map.get_mut(key) {
            return read(form, &self.at.key(key), value, self.reader);
        }
        if presence == Presence::Required {
            let message = format!("`{key}` is missing");
            let problem = self.reader.refuse_key(self.at, message, "here");
            problem.help = Some(description(self.title, key).to_owned());
            self.missing.push((key, self.reader.problems.len() - 1));
        }
        None
    }

    /// Returns the key of the table in its parent.
    pub(crate) fn name(&self) -> &str {
        self.at.name()
    }

    /// Returns whether the keys are described, and no table is read.
    pub(crate) fn is_described(&self) -> bool {
        self.schema.is_some()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Returns whether a key has this value.
    pub(crate) fn is(&self, key: &str, word: &str) -> bool {
        self.map.get(key).is_some_and(|value| value == word)
    }

    /// Reports a key that has no effect.
    pub(crate) fn refuse_key(&mut self, key: &str, message: &str) {
        let at = self.at.key(key);
        self.reader.refuse_key(&at, message, "has no effect");
    }

    /// Reports a key that this kind of file must not have. The schema has no such key.
    pub(crate) fn forbid(&mut self, key: &'static str, message: &str) {
        self.known.push(key);
        if self.has(key) {
            let at = self.at.key(key);
            self.reader.refuse_key(&at, message, "not allowed here");
        }
    }

    fn report_unknown(mut self) {
        // A misspelt key is reported once, and not as a missing key, too.
        self.missing.retain(|(missing, _)| {
            let mut keys = self.map.keys().filter(|key| !self.known.contains(&key.as_str()));
            keys.any(|key| similar(key, self.known.iter().copied()) == Some(missing))
        });
        for (_, index) in self.missing.iter().rev() {
            self.reader.problems.remove(*index);
        }
        let known = &self.known;
        let mut unknown = self.map.keys().filter(|key| !known.contains(&key.as_str()));
        for key in unknown.by_ref().take(MAX_UNKNOWN) {
            let at = self.at.key(key);
            let message = format!("unknown key `{key}`");
            let problem = self.reader.refuse_key(&at, message, "unknown");
            if let Some(advice) = gone(self.title, key) {
                problem.help = Some(advice.to_owned());
                continue;
            }
            let owners = other_tables(self.title, key);
            let nearest = similar(key, known.iter().copied());
            problem.help = Some(match (owners, nearest) {
                (None, None) if known.contains(&"config") => {
                    let known = suggest(key, known.iter().copied());
                    format!("settings of a plugin itself belong to `config`; {known}")
                }
                (None, _) => suggest(key, known.iter().copied()),
                (Some(owners), None) => owners,
                (Some(owners), Some(nearest)) => format!("did you mean `{nearest}`? {owners}"),
            });
        }
        let more = unknown.count();
        if more > 0 {
            let message = format!("{more} more keys are unknown");
            self.reader.refuse_key(self.at, message, "in this table");
        }
    }
}

/// A table of known keys: its title in `docs/`, and the function that reads it.
pub(crate) struct TableForm<T>(
    pub(crate) &'static str,
    pub(crate) fn(&mut Table<'_, '_>) -> Option<T>,
);

impl<T> Form for TableForm<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<T> {
        let Value::Object(map) = value else {
            return reader.refuse_kind(at, value, "a table");
        };
        let mut table = Table::new(self.0, map, at, reader);
        let out = self.1(&mut table);
        table.report_unknown();
        out
    }

    fn schema(&self) -> Value {
        Table::describe(self.0, self.1)
    }
}

/// Returns a help that names the other tables of a scenario with a key.
fn other_tables(title: &str, key: &str) -> Option<String> {
    let line = format!("\n* `{key}`: ");
    let (scenario, _) = include_str!("../keys.md").split_once("\n## `runner.toml`")?;
    if !scenario.contains(&format!("\n## {title}\n")) {
        return None;
    }
    let tables = scenario.split("\n## ").filter(|table| table.contains(&line));
    let is_limit = Limits::TABLE.iter().any(|limit| limit.key == key);
    let titles = tables.filter_map(|table| table.lines().next());
    let titles = titles.chain(is_limit.then_some("`limits` of a provider"));
    let titles: Vec<_> = titles.map(|title| title.replace("Top level", "the top level")).collect();
    (!titles.is_empty()).then(|| format!("`{key}` is a key of {}", titles.join(" and ")))
}

/// Returns the sentence about a key. Tests and test lists share those of `[defaults]`.
fn description(title: &str, key: &str) -> &'static str {
    let in_table = |title: &str| {
        let (_, tables) = include_str!("../keys.md").split_once(&format!("## {title}\n"))?;
        let table = tables.split("\n## ").next()?;
        let (_, sentence) = table.split_once(&format!("\n* `{key}`: "))?;
        sentence.lines().next()
    };
    in_table(title)
        .or_else(|| in_table("`[defaults]`"))
        .or_else(|| Limits::TABLE.iter().find(|limit| limit.key == key).map(|limit| limit.about))
        .unwrap_or_default()
}

/// Returns the advice about `name`, which an earlier version had. `owner` is the title of a table of keys, a file, or a command
/// such as `runner exec`.
pub fn gone(owner: &str, name: &str) -> Option<&'static str> {
    include_str!("../gone.md").lines().find_map(|line| {
        let (owners, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        let (names, advice) = rest.strip_suffix(" |")?.split_once(" | ")?;
        let is_found = [(owners, owner), (names, name)].into_iter().all(|(cell, word)| {
            cell.split(", ").any(|known| known.trim_matches('`') == word.trim_matches('`'))
        });
        is_found.then_some(advice)
    })
}

fn parse(default: &str) -> Value {
    serde_json::from_str(default).expect("defaults are JSON")
}
