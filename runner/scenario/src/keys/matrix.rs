//! Expands `[providers.NAME.matrix]`: one table that makes many providers.
//!
//! Each combination of values becomes a table in which the values replace `{{matrix.…}}`. All later steps see ordinary
//! providers. Only their problems are reported at the table that made them.

use std::collections::HashSet;

use runner_model::{ProviderName, template::Template};
use serde_json::{Map, Value};

use crate::keys::matrix_files::{MatrixValues, PARTS, TEXT, add_text, part_of};
use crate::reading::{
    At, Document, FilledText, Form, MATRIX_ROOTS, MatrixOrigins, Named, Reader, Templated,
    TextPart, escape, key_of, parts, read_literal, suggest, text_of, visit_templates,
};

/// The greatest number of providers that the matrices of a scenario make.
const MAX_MATRIX_PROVIDERS: usize = 1000;
/// The greatest number of keys of a matrix. Each combination has a value for each.
const MAX_MATRIX_KEYS: usize = 100;
/// Bytes of texts of files in all providers. A worker gets all providers in one frame of 16 MiB, in which a character of a text may
/// need two bytes.
const MAX_TEXTS: usize = 6 << 20;
/// The keys of a provider that may contain `{{matrix.…}}`.
const FILLED: [&str; 7] = ["plugin", "config", "args", "stdin", "files", "grants", "workspace"];

pub(crate) const MATRIX: Named<MatrixValues> = Named {
    form: MatrixValues,
    words: "a table",
    refuse: |key| {
        let is_key = (1..=32).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        (!is_key).then(|| "use 1 to 32 letters, digits, `_` and `-`".to_owned())
    },
    pattern: "^[A-Za-z0-9_-]{1,32}$",
    count: (1, MAX_MATRIX_KEYS),
};
pub(crate) const MATRIX_NAME: Templated = Templated(MATRIX_ROOTS);

/// The values of each key of a matrix, in the order written.
type Lists = Vec<(String, Vec<Value>)>;
/// A value for each key of a matrix, in the order written.
type Combination<'m> = Vec<(&'m str, Value)>;

/// Expands the matrices of a scenario. A provider with an invalid matrix is kept without it, so its other keys are checked.
pub(crate) fn expand(
    root: &mut Value,
    document: &Document<'_>,
    reader: &mut Reader<'_>,
) -> MatrixOrigins {
    let Some(tables) = root.get_mut("providers").and_then(Value::as_object_mut) else {
        return MatrixOrigins::default();
    };
    let names = tables.keys().cloned().collect();
    let mut expander = Expander { reader, origins: MatrixOrigins::default(), names, texts: 0 };
    for (name, mut table) in std::mem::take(tables) {
        match table.as_object_mut() {
            Some(map) if map.contains_key("matrix") => {
                let order = document.keys_in_order(&["providers", &name, "matrix"]);
                expander.expand_provider(&name, map, &order, tables);
                continue;
            }
            Some(map) => expander.check_plain_provider(&name, map),
            None => {}
        }
        tables.insert(name, table);
    }
    expander.origins
}

struct Expander<'r, 'p> {
    reader: &'r mut Reader<'p>,
    origins: MatrixOrigins,
    /// The names of all providers.
    names: HashSet<String>,
    /// Bytes of texts of files in the providers so far.
    texts: usize,
}

impl Expander<'_, '_> {
    /// Reports keys that need a matrix in a provider without one.
    fn check_plain_provider(&mut self, name: &str, table: &mut Map<String, Value>) {
        let at = At::ROOT.key("providers");
        let at = at.key(name);
        if table.remove("name").is_some() {
            let message = "`name` is for the providers of a `matrix`, which is missing";
            self.reader.refuse_key(&at.key("name"), message, "has no effect");
        }
        // Other names with brackets are invalid anyway.
        if name.contains('[') && ProviderName::parse(name).is_ok() {
            let message = format!("`{name}` is not a valid name here: brackets are for a matrix");
            self.reader.refuse_key(&at, message, "this name");
        }
    }

    /// Adds the providers of a table's matrix to `tables`. `order` has the keys of the matrix in the order written.
    fn expand_provider(
        &mut self,
        name: &str,
        table: &mut Map<String, Value>,
        order: &[String],
        tables: &mut Map<String, Value>,
    ) {
        let at = At::ROOT.key("providers");
        let at = at.key(name);
        let before = self.reader.problems.len();
        let start = match table.get("name").and_then(Value::as_str) {
            Some(name) => name.split("{{").next().unwrap_or_default().to_owned(),
            None => format!("{name}["),
        };
        let mut matrix = table.remove("matrix").unwrap_or_default();
        // TOML has no null: each is a number that was reported before.
        let has_refused = matrix.as_object().is_some_and(|map| {
            map.values().any(|list| list.as_array().is_some_and(|list| list.contains(&Value::Null)))
        });
        read_literal(&mut matrix, &at.key("matrix"), self.reader);
        let mut lists =
            MATRIX.read(&at.key("matrix"), &mut matrix, self.reader).unwrap_or_default();
        lists.sort_by_key(|(key, _)| order.iter().position(|written| written == key));
        let mut texts = Vec::new();
        for key in FILLED.into_iter().chain(["name"]) {
            if let Some(value) = table.get_mut(key) {
                let known = Known { order, lists: &lists };
                known.check_placeholders(value, &at.key(key), &mut texts, self.reader);
            }
        }
        let template = table
            .remove("name")
            .and_then(|mut name| MATRIX_NAME.read(&at.key("name"), &mut name, self.reader));
        // Both must precede `combinations`, which needs memory for the whole product.
        self.check_lists(&lists, &at.key("matrix"));
        self.add_texts(&mut lists, &texts, &at.key("matrix"));
        // A stored scenario without its files has no values for a key.
        let has_values =
            |key| lists.iter().any(|(known, values)| known == key && !values.is_empty());
        if has_refused || !order.iter().all(has_values) || self.reader.problems.len() > before {
            self.insert_plain(name, &start, table, tables);
            return;
        }
        self.names.remove(name);
        for (number, combination) in combinations(&lists).iter().enumerate() {
            let full_name = full_name(name, template.as_ref(), combination);
            let message = match ProviderName::parse(&full_name) {
                Err(error) => {
                    Some(format!("`{full_name}` is not a valid name of a provider: {error}"))
                }
                Ok(_) if !self.names.insert(full_name.clone()) => {
                    Some(format!("two providers would be named `{full_name}`"))
                }
                Ok(_) => None,
            };
            if let Some(message) = message {
                let (key, help) = match template {
                    Some(_) => ("name", "use every key of the matrix in `name`"),
                    None => ("matrix", "set other names with `name = \"…{{matrix.KEY}}…\"`"),
                };
                let problem = self.reader.refuse_key(&at.key(key), message, "makes this name");
                problem.help = Some(help.to_owned());
                self.insert_plain(name, &start, table, tables);
                return;
            }
            let mut filled = table.clone();
            for key in FILLED {
                if let Some(value) = filled.get_mut(key) {
                    visit_templates(value, &at, &mut |value, _| {
                        fill(value, combination, key == "config");
                    });
                }
            }
            tables.insert(full_name.clone(), Value::Object(filled));
            self.origins.insert(full_name, (name.to_owned(), number));
        }
    }

    /// Adds a provider without its invalid matrix to `tables`. `start` is the start of all names that the matrix would make.
    fn insert_plain(
        &mut self,
        name: &str,
        start: &str,
        table: &mut Map<String, Value>,
        tables: &mut Map<String, Value>,
    ) {
        self.reader.missing_names.push(start.to_owned());
        for key in FILLED {
            if let Some(value) = table.get_mut(key) {
                visit_templates(value, &At::ROOT, &mut |value, _| remove_placeholder(value));
            }
        }
        tables.insert(name.to_owned(), Value::Object(std::mem::take(table)));
    }

    /// Adds the texts of files to the lists of these keys. `keys` has a key once for each of its placeholders.
    fn add_texts(&mut self, lists: &mut Lists, keys: &[String], at: &At<'_>) {
        let count = combination_count(lists);
        for (key, values) in lists {
            let uses = keys.iter().filter(|used| *used == key).count();
            if uses == 0 || count > MAX_MATRIX_PROVIDERS {
                continue;
            }
            let at = at.key(key);
            let mut bytes = 0;
            for value in &mut *values {
                add_text(value, &at, self.reader);
                bytes += part_of(value, Some(TEXT)).map_or(0, |text| text_of(text).len());
            }
            self.texts += bytes * uses * (count / values.len().max(1));
            if self.texts > MAX_TEXTS {
                let message = "the providers so far have more than 6 MiB of texts of files";
                self.reader.refuse_key(&at, message, "too many or too long").help =
                    Some("insert fewer or shorter files, or attach them by `files`".into());
            }
        }
    }

    /// Reports too many combinations and repeated values.
    fn check_lists(&mut self, lists: &Lists, at: &At<'_>) {
        let total = combination_count(lists).saturating_add(self.origins.len());
        if total > MAX_MATRIX_PROVIDERS {
            let message = format!(
                "the matrices so far make {total} providers; at most {MAX_MATRIX_PROVIDERS} are allowed"
            );
            self.reader.refuse_key(at, message, "too many");
            // Comparing each value with all before it is only affordable within this bound.
            return;
        }
        for (key, values) in lists {
            let at = at.key(key);
            for (index, value) in values.iter().enumerate() {
                let own = part_of(value, None);
                let other = values[..index].iter().find(|other| part_of(other, None) == own);
                let Some(other) = other else { continue };
                let name = own.map(text_of).unwrap_or_default();
                if let [Some(path), Some(other)] = [value, other].map(|file| file.get("path")) {
                    let [path, other] = [path, other].map(text_of);
                    let message =
                        format!("`{other}` and `{path}` give the same value `{name}` in `{key}`");
                    let problem = self.reader.refuse(&at, message, "these files");
                    problem.help = Some("rename one of them, or change `files`".to_owned());
                } else {
                    let message = format!("`{name}` is in `{key}` twice");
                    self.reader.refuse(&at.index(index), message, "again here");
                }
            }
        }
    }
}

/// Returns the keys of the matrix that the placeholders of a text name, each with the part of a file.
fn placeholders(value: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    parts(value.as_str().unwrap_or_default()).into_iter().filter_map(|part| match part {
        TextPart::Placeholder { path, .. } => key_and_part(path),
        TextPart::Text(_) | TextPart::Braces => None,
    })
}

/// Splits the path of a placeholder into the key of the matrix and the part of a file.
fn key_and_part(path: &str) -> Option<(&str, Option<&str>)> {
    let keys = key_of(path, "matrix")?;
    Some(keys.split_once('.').map_or((keys, None), |(key, part)| (key, Some(part))))
}

/// The keys of a matrix.
struct Known<'m> {
    /// In the order written.
    order: &'m [String],
    /// The keys with valid values.
    lists: &'m Lists,
}

impl Known<'_> {
    /// Reports placeholders of unknown keys of the matrix, and of parts that a value does not have. Adds the key of each placeholder
    /// that inserts the text of a file to `texts`.
    fn check_placeholders(
        &self,
        value: &mut Value,
        at: &At<'_>,
        texts: &mut Vec<String>,
        reader: &mut Reader<'_>,
    ) {
        // Reported before. Each placeholder is compared with all keys.
        if self.order.len() > MAX_MATRIX_KEYS {
            return;
        }
        visit_templates(value, at, &mut |value, at| {
            for (key, part) in placeholders(value) {
                let values = self.lists.iter().find(|(known, _)| known == key);
                let first = values.and_then(|(_, values)| values.first());
                let known = self.order.iter().map(String::as_str);
                let (message, help) = match (part, first) {
                    _ if !known.clone().any(|known| known == key) => match key {
                        "" => {
                            ("`{{matrix}}` needs a key of the matrix".into(), suggest(key, known))
                        }
                        _ => (format!("there is no `matrix.{key}`"), suggest(key, known)),
                    },
                    (None, _) | (_, None) => continue,
                    (Some(part), Some(Value::Object(_))) if PARTS.contains(&part) => {
                        texts.extend((part == TEXT).then(|| key.to_owned()));
                        continue;
                    }
                    (Some(part), Some(first)) => {
                        let plain = format!("write `{{{{matrix.{key}}}}}`");
                        let help = match first {
                            Value::Object(_) => format!(
                                "{plain} for a file's name without its extension, `{{{{matrix.{key}.text}}}}` for its content, or `{{{{matrix.{key}.path}}}}`"
                            ),
                            _ => format!("{plain}: its values are not files"),
                        };
                        (format!("there is no `matrix.{key}.{part}`"), help)
                    }
                };
                reader.refuse(at, message, "this template").help = Some(help);
            }
        });
    }
}

/// Replaces a text that has a placeholder by null, which is not reported again.
fn remove_placeholder(value: &mut Value) {
    if placeholders(value).next().is_some() {
        *value = Value::Null;
    }
}

fn combination_count(lists: &Lists) -> usize {
    lists.iter().map(|(_, values)| values.len()).fold(1, usize::saturating_mul)
}

/// Returns every combination. The last key changes first.
fn combinations(lists: &Lists) -> Vec<Combination<'_>> {
    let mut all = vec![Combination::new()];
    for (key, values) in lists {
        all = all
            .iter()
            .flat_map(|shorter| {
                values.iter().map(|value| [&shorter[..], &[(key.as_str(), value.clone())]].concat())
            })
            .collect();
    }
    all
}

fn full_name(name: &str, template: Option<&Template>, combination: &Combination<'_>) -> String {
    let plain: Combination<'_> =
        combination.iter().map(|(key, value)| (*key, plain(value))).collect();
    let Some(template) = template else {
        let pairs = plain.iter().map(|(key, value)| {
            format!("{key}={}", part_of(value, None).map(text_of).unwrap_or_default())
        });
        return format!("{name}[{}]", pairs.collect::<Vec<_>>().join(","));
    };
    let mut name = template.to_string().into();
    fill(&mut name, &plain, false);
    text_of(&name)
}

/// Returns a value as a part of a name. Characters that names cannot have become `-`.
fn plain(value: &Value) -> Value {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    match value {
        Value::Object(file) => {
            file.iter().map(|(part, value)| (part.clone(), plain(value))).collect()
        }
        value => text_of(value).replace(|character| !is_plain(character), "-").into(),
    }
}

/// Replaces `{{matrix.…}}` by values, and leaves other paths as they are. With `keeps_type`, a text that is only a
/// placeholder becomes the value with its type.
fn fill(value: &mut Value, combination: &Combination<'_>, keeps_type: bool) {
    let Value::String(text) = &*value else { return };
    let mut filled = FilledText::default();
    let parts = parts(text);
    let is_whole = parts.len() == 1;
    for part in parts {
        let found = match part {
            TextPart::Placeholder { path, .. } => key_and_part(path).and_then(|(key, part)| {
                let (_, value) = combination.iter().find(|(known, _)| key == *known)?;
                part_of(value, part)
            }),
            TextPart::Text(_) | TextPart::Braces => None,
        };
        match found {
            Some(found) if keeps_type && is_whole => {
                let mut found = found.clone();
                // Placeholders are read again later. Braces of a value must stay text.
                escape(&mut found);
                *value = found;
                return;
            }
            Some(found) => filled.push_text(&text_of(found)),
            None => filled.push_part(part),
        }
    }
    *value = Value::String(filled.into_text());
}
