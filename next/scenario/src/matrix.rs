//! `[providers.NAME.matrix]`: one table that makes many providers, before anything else looks at them.
//!
//! Every combination of values becomes a table of its own, in which the values stand in place of `{{matrix.…}}`. After that
//! these are providers like all others; only a problem with one stands at the table that made it.

use std::collections::HashSet;

use runner_model::{
    ProviderName,
    template::{Template, TemplatePiece},
};
use serde_json::{Map, Value};

use crate::{
    document::{Document, Made},
    form::{Form, List, Named, Templated},
    reading::{At, MATRIX_ROOTS, Reading, suggest},
    scalar::Scalar,
};

/// How many providers the matrices of a scenario may make.
const MAX_MADE: usize = 1000;
/// The keys of a provider in which `{{matrix.…}}` may stand.
const FILLED: [&str; 5] = ["plugin", "config", "args", "stdin", "grants"];

pub(crate) const MATRIX: Named<List<Scalar>> = Named {
    form: List(1, Scalar(usize::MAX)),
    words: "a table",
    refuse: |key| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_key = (1..=32).contains(&key.len()) && key.bytes().all(is_plain);
        let reason = "keys of a matrix are made of at most 32 letters, digits, `_` and `-`";
        (!is_key).then(|| reason.to_owned())
    },
    pattern: "^[A-Za-z0-9_-]{1,32}$",
    count: (1, usize::MAX),
};
pub(crate) const MATRIX_NAME: Templated = Templated(MATRIX_ROOTS);

/// One combination: a value for each key, in the order written.
type Combination<'m> = Vec<(&'m str, Value)>;

/// Writes out the matrices of a scenario. A provider with a wrong one is left without it, so that other checks go on.
pub(crate) fn expand(root: &mut Value, document: &Document<'_>, reading: &mut Reading<'_>) -> Made {
    let tables = root.get_mut("providers").and_then(Value::as_object_mut);
    let Some(tables) = tables else {
        return Made::default();
    };
    let mut expander =
        Expander { reading, made: Made::default(), taken: tables.keys().cloned().collect() };
    for (name, mut table) in std::mem::take(tables) {
        match table.as_object_mut() {
            Some(map) if map.contains_key("matrix") => {
                let order = document.keys_in_order(&["providers", &name, "matrix"]);
                expander.table(&name, map, &order, tables);
                continue;
            }
            Some(map) => expander.plain(&name, map),
            None => {}
        }
        tables.insert(name, table);
    }
    expander.made
}

struct Expander<'r, 'p> {
    reading: &'r mut Reading<'p>,
    made: Made,
    /// Every name there is.
    taken: HashSet<String>,
}

impl Expander<'_, '_> {
    /// A provider without a matrix.
    fn plain(&mut self, name: &str, table: &mut Map<String, Value>) {
        let at = At::ROOT.key("providers");
        let at = at.key(name);
        if table.remove("name").is_some() {
            let message = "`name` names the providers of a `matrix`, and there is none";
            self.reading.refuse_key(&at.key("name"), message, "does nothing");
        }
        // Other names with brackets are wrong anyway.
        if name.contains('[') && ProviderName::parse(name).is_ok() {
            let message =
                format!("`{name}` is not a valid name here: only a matrix makes brackets");
            self.reading.refuse_key(&at, message, "this name");
        }
    }

    /// Puts the providers that a table makes into `tables`; `order` are the keys of its matrix.
    fn table(
        &mut self,
        name: &str,
        table: &mut Map<String, Value>,
        order: &[String],
        tables: &mut Map<String, Value>,
    ) {
        let at = At::ROOT.key("providers");
        let at = at.key(name);
        let before = self.reading.problems.len();
        let mut matrix = table.remove("matrix").unwrap_or_default();
        let read = MATRIX.read(&at.key("matrix"), &mut matrix, self.reading);
        let mut lists = read.unwrap_or_default();
        lists.sort_by_key(|(key, _)| order.iter().position(|written| written == key));
        let template = table.remove("name").and_then(|mut name| {
            let at = at.key("name");
            placeholders(&mut name, order, &at, self.reading);
            MATRIX_NAME.read(&at, &mut name, self.reading)
        });
        self.lists(&lists, &at.key("matrix"));
        for key in FILLED {
            if let Some(value) = table.get_mut(key) {
                placeholders(value, order, &at.key(key), self.reading);
            }
        }
        if self.reading.problems.len() > before {
            for key in FILLED {
                if let Some(value) = table.get_mut(key) {
                    each_text(value, &at, &mut |value, _| forget(value));
                }
            }
            tables.insert(name.to_owned(), Value::Object(std::mem::take(table)));
            return;
        }
        self.taken.remove(name);
        for (number, combination) in combinations(&lists).iter().enumerate() {
            let made = name_of(name, template.as_ref(), combination);
            let refused = match ProviderName::parse(&made) {
                Err(error) => Some(format!("`{made}` cannot be the name of a provider: {error}")),
                Ok(_) if !self.taken.insert(made.clone()) => {
                    Some(format!("two providers would be named `{made}`"))
                }
                Ok(_) => None,
            };
            if let Some(message) = refused {
                let (key, help) = match template {
                    Some(_) => ("name", "a name needs a value of every key of the matrix"),
                    None => ("matrix", "`name = \"…{{matrix.KEY}}…\"` gives other names"),
                };
                let problem = self.reading.refuse_key(&at.key(key), message, "makes this name");
                problem.help = Some(help.to_owned());
                return;
            }
            let mut filled = table.clone();
            for key in FILLED {
                if let Some(value) = filled.get_mut(key) {
                    each_text(value, &at, &mut |value, _| {
                        fill(value, combination, key == "config");
                    });
                }
            }
            tables.insert(made.clone(), Value::Object(filled));
            self.made.insert(made, (name.to_owned(), number));
        }
    }

    /// Refuses values that stand twice, and too many of them.
    fn lists(&mut self, lists: &[(String, Vec<Value>)], at: &At<'_>) {
        for (key, values) in lists {
            let at = at.key(key);
            for (index, value) in values.iter().enumerate() {
                if values[..index].contains(value) {
                    let message = format!("`{}` stands twice in `{key}`", text_of(value));
                    self.reading.refuse(&at.index(index), message, "again here");
                }
            }
        }
        let lengths = lists.iter().map(|(_, values)| values.len());
        let count = lengths.fold(1_usize, usize::saturating_mul);
        let before = self.made.len();
        if count.saturating_add(before) > MAX_MADE {
            let others = match before {
                0 => String::new(),
                before => format!(", with {before} of those before it"),
            };
            let message =
                format!("the matrix makes {count} providers{others}, and {MAX_MADE} is the most");
            self.reading.refuse_key(at, message, "too many");
        }
    }
}

/// Visits every text that may be a template.
fn each_text(value: &mut Value, at: &At<'_>, visit: &mut dyn FnMut(&mut Value, &At<'_>)) {
    match value {
        Value::String(text) if text.contains("{{") => visit(value, at),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                each_text(item, &at.index(index), visit);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                each_text(value, &at.key(key), visit);
            }
        }
        _ => {}
    }
}

/// The template that a text is; none if it is a wrong one, which is reported elsewhere.
fn template_of(value: &Value) -> Option<Template> {
    Template::parse(value.as_str()?).ok()
}

/// Refuses places in templates that stand for no key of the matrix.
fn placeholders(value: &mut Value, known: &[String], at: &At<'_>, reading: &mut Reading<'_>) {
    each_text(value, at, &mut |value, at| {
        let template = template_of(value);
        for keys in template.iter().flat_map(|template| template.keys_of("matrix")) {
            if matches!(keys, [key] if known.contains(key)) {
                continue;
            }
            let path = keys.join(".");
            let message = match keys {
                [] => "`{{matrix}}` needs a key of the matrix".to_owned(),
                _ => format!("there is no `matrix.{path}`"),
            };
            let help = suggest(&path, known.iter().map(String::as_str));
            reading.refuse(at, message, "this template").help = Some(help);
        }
    });
}

/// Takes a text with a placeholder away: what is wrong with it has been told, and null is told no more.
fn forget(value: &mut Value) {
    if template_of(value).is_some_and(|template| template.keys_of("matrix").next().is_some()) {
        *value = Value::Null;
    }
}

/// Every combination; the last key changes first.
fn combinations(lists: &[(String, Vec<Value>)]) -> Vec<Combination<'_>> {
    let mut all = vec![Combination::new()];
    for (key, values) in lists {
        let longer = all.iter().flat_map(|begun| {
            values.iter().map(|value| {
                let mut combination = begun.clone();
                combination.push((key.as_str(), value.clone()));
                combination
            })
        });
        all = longer.collect();
    }
    all
}

fn name_of(name: &str, template: Option<&Template>, combination: &Combination<'_>) -> String {
    let Some(template) = template else {
        let pairs = combination.iter();
        let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", plain(value))).collect();
        return format!("{name}[{}]", pairs.join(","));
    };
    let plain = |(key, value): &(_, Value)| (*key, plain(value).into());
    let mut name = template.to_string().into();
    fill(&mut name, &combination.iter().map(plain).collect(), false);
    text_of(&name)
}

/// A value as a part of a name: characters that no name can have become `-`.
fn plain(value: &Value) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    text_of(value).replace(|character| !is_plain(character), "-")
}

fn value_of<'c>(path: &[String], combination: &'c Combination<'_>) -> Option<&'c Value> {
    let mut pairs = combination.iter();
    let pair =
        pairs.find(|(known, _)| matches!(path, [root, key] if root == "matrix" && key == known));
    pair.map(|(_, value)| value)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts values in place of `{{matrix.…}}`, and leaves other paths as they are. A text that is nothing else gets the value
/// itself where `keeps_type`.
fn fill(value: &mut Value, combination: &Combination<'_>, keeps_type: bool) {
    let Some(template) = template_of(value) else {
        return;
    };
    if let ([TemplatePiece::Path(path)], true) = (template.pieces(), keeps_type)
        && let Some(found) = value_of(path, combination)
    {
        *value = found.clone();
        return;
    }
    let pieces = template.pieces().iter().map(|piece| match piece {
        TemplatePiece::Text(text) => text.clone(),
        TemplatePiece::Path(path) => match value_of(path, combination) {
            Some(value) => text_of(value),
            None => format!("{{{{{}}}}}", path.join(".")),
        },
    });
    *value = Value::String(pieces.collect());
}
