//! Expands `[providers.NAME.matrix]`: one table that makes many providers.
//!
//! Each combination of values becomes a table in which the values replace `{{matrix.…}}`. All later steps see ordinary
//! providers. Only their problems are reported at the table that made them.

use std::collections::HashSet;

use runner_model::ProviderName;
use runner_model::template::Template;
use serde_json::{Map, Value};

use crate::reading::{
    At, Document, Form, List, MATRIX_ROOTS, MatrixOrigins, Named, Reader, Scalar, Templated,
    TextPart, escape, key_of, parts, read_literal, suggest, text_of, visit_templates,
};

/// The greatest number of providers that the matrices of a scenario make.
const MAX_MATRIX_PROVIDERS: usize = 1000;
/// The greatest number of keys of a matrix. Each combination has a value for each.
const MAX_MATRIX_KEYS: usize = 100;
/// The keys of a provider that may contain `{{matrix.…}}`.
const FILLED: [&str; 5] = ["plugin", "config", "args", "stdin", "grants"];

pub(crate) const MATRIX: Named<List<Scalar>> = Named {
    form: List(1, Scalar(usize::MAX)),
    words: "a table",
    refuse: |key| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_key = (1..=32).contains(&key.len()) && key.bytes().all(is_plain);
        (!is_key).then(|| "use 1 to 32 letters, digits, `_` and `-`".to_owned())
    },
    pattern: "^[A-Za-z0-9_-]{1,32}$",
    count: (1, MAX_MATRIX_KEYS),
};
pub(crate) const MATRIX_NAME: Templated = Templated(MATRIX_ROOTS);

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
    let mut expander = Expander { reader, origins: MatrixOrigins::default(), names };
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
        let mut matrix = table.remove("matrix").unwrap_or_default();
        // TOML has no null: each is a number that was reported before.
        let has_refused = matrix.as_object().is_some_and(|map| {
            map.values().any(|list| list.as_array().is_some_and(|list| list.contains(&Value::Null)))
        });
        read_literal(&mut matrix, &at.key("matrix"), self.reader);
        let mut lists =
            MATRIX.read(&at.key("matrix"), &mut matrix, self.reader).unwrap_or_default();
        lists.sort_by_key(|(key, _)| order.iter().position(|written| written == key));
        let template = table.remove("name").and_then(|mut name| {
            let at = at.key("name");
            check_placeholders(&mut name, order, &at, self.reader);
            MATRIX_NAME.read(&at, &mut name, self.reader)
        });
        // Must precede `combinations`, which needs memory for the whole product.
        self.check_lists(&lists, &at.key("matrix"));
        for key in FILLED {
            if let Some(value) = table.get_mut(key) {
                check_placeholders(value, order, &at.key(key), self.reader);
            }
        }
        if has_refused || self.reader.problems.len() > before {
            for key in FILLED {
                if let Some(value) = table.get_mut(key) {
                    visit_templates(value, &at, &mut |value, _| remove_placeholder(value));
                }
            }
            tables.insert(name.to_owned(), Value::Object(std::mem::take(table)));
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

    /// Reports too many combinations and repeated values.
    fn check_lists(&mut self, lists: &[(String, Vec<Value>)], at: &At<'_>) {
        let count =
            lists.iter().map(|(_, values)| values.len()).fold(1_usize, usize::saturating_mul);
        let total = count.saturating_add(self.origins.len());
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
                if values[..index].contains(value) {
                    let message = format!("`{}` is in `{key}` twice", text_of(value));
                    self.reader.refuse(&at.index(index), message, "again here");
                }
            }
        }
    }
}

/// Returns the keys of the matrix that the placeholders of a text name.
fn placeholders(value: &Value) -> impl Iterator<Item = &str> {
    let parts = parts(value.as_str().unwrap_or_default()).into_iter();
    parts.filter_map(|part| match part {
        TextPart::Placeholder { path, .. } => key_of(path, "matrix"),
        TextPart::Text(_) | TextPart::Braces => None,
    })
}

/// Reports placeholders of unknown keys of the matrix.
fn check_placeholders(value: &mut Value, known: &[String], at: &At<'_>, reader: &mut Reader<'_>) {
    // Reported before. Each placeholder is compared with all keys.
    if known.len() > MAX_MATRIX_KEYS {
        return;
    }
    visit_templates(value, at, &mut |value, at| {
        for key in placeholders(value) {
            if known.iter().any(|known| known == key) {
                continue;
            }
            let message = match key {
                "" => "`{{matrix}}` needs a key of the matrix".to_owned(),
                _ => format!("there is no `matrix.{key}`"),
            };
            let help = suggest(key, known.iter().map(String::as_str));
            reader.refuse(at, message, "this template").help = Some(help);
        }
    });
}

/// Replaces a text that has a placeholder by null, which is not reported again.
fn remove_placeholder(value: &mut Value) {
    if placeholders(value).next().is_some() {
        *value = Value::Null;
    }
}

/// Returns every combination. The last key changes first.
fn combinations(lists: &[(String, Vec<Value>)]) -> Vec<Combination<'_>> {
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
    let Some(template) = template else {
        let pairs: Vec<_> =
            combination.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
        return format!("{name}[{}]", pairs.join(","));
    };
    let plain = combination.iter().map(|(key, value)| (*key, plain(value).into())).collect();
    let mut name = template.to_string().into();
    fill(&mut name, &plain, false);
    text_of(&name)
}

/// Returns a value as a part of a name. Characters that names cannot have become `-`.
fn plain(value: &Value) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    text_of(value).replace(|character| !is_plain(character), "-")
}

/// Replaces `{{matrix.…}}` by values, and leaves other paths as they are. With `keeps_type`, a text that is only a
/// placeholder becomes the value with its type.
fn fill(value: &mut Value, combination: &Combination<'_>, keeps_type: bool) {
    let Value::String(text) = &*value else { return };
    let mut filled = String::new();
    for part in parts(text) {
        let (source, path) = match part {
            TextPart::Text(text) => (text, ""),
            TextPart::Braces => ("{{{{", ""),
            TextPart::Placeholder { source, path } => (source, path),
        };
        let key = key_of(path, "matrix");
        let Some((_, found)) = combination.iter().find(|(known, _)| key == Some(*known)) else {
            filled.push_str(source);
            continue;
        };
        // The text is read again.
        let mut found = found.clone();
        escape(&mut found);
        if keeps_type && source.len() == text.len() {
            *value = found;
            return;
        }
        filled.push_str(&text_of(&found));
    }
    *value = Value::String(filled);
}
