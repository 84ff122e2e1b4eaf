//! `[providers.NAME.matrix]`: one table that makes many providers, before anything else looks at them.
//!
//! Every combination of the matrix becomes a table of its own, in which the values stand where `{{matrix.…}}` stood. From there
//! on these are providers like all others; only what is wrong with one is said at the place of the table that made it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    Template, TemplatePiece,
    check::{self, At, FormError, Part},
    keys::{self, MATRIX_ROOTS},
};

/// How many providers the matrices of a scenario may make.
const MAX_PROVIDERS: usize = 1_000;
/// The keys of a provider in which `{{matrix.…}}` may stand.
const FILLED: [&str; 5] = ["plugin", "config", "args", "stdin", "grants"];

/// The providers of a scenario once its matrices are written out.
#[derive(Default)]
pub(super) struct MatrixProviders {
    /// The names of all providers, in order: those of a matrix where its table stands.
    pub(super) names: Vec<String>,
    /// Of each provider that a matrix has made, the table that it stands in.
    pub(super) tables: HashMap<String, String>,
    /// Tables, and keys of their matrices that no template has.
    pub(super) idle: Vec<(String, String)>,
}

/// One combination: a value for each key, in the order written.
type Combination<'a> = Vec<(&'a str, &'a Value)>;

/// Writes out the matrices of `scenario`, whose providers are `written` in this order; `keys_of` has the keys of a provider's
/// matrix in order. A provider whose matrix is wrong is left as it is, without it.
pub(super) fn expand(
    scenario: &mut Value,
    written: &[&str],
    keys_of: impl Fn(&str) -> Vec<String>,
    findings: &mut Vec<FormError>,
) -> MatrixProviders {
    let mut expander = Expander {
        findings,
        made: MatrixProviders::default(),
        taken: written.iter().map(|name| (*name).to_owned()).collect(),
    };
    let tables = scenario.get_mut("providers").and_then(Value::as_object_mut);
    let Some(tables) = tables else {
        expander.made.names = written.iter().map(|name| (*name).to_owned()).collect();
        return expander.made;
    };
    for name in written {
        let has_matrix = |table: &Map<String, Value>| table.contains_key("matrix");
        let table = tables.get_mut(*name).and_then(Value::as_object_mut);
        match table {
            Some(table) if has_matrix(table) => {
                let table = std::mem::take(table);
                tables.remove(*name);
                expander.provider(name, table, &keys_of(name), tables);
            }
            Some(table) => {
                expander.plain(name, table);
            }
            None => expander.made.names.push((*name).to_owned()),
        }
    }
    expander.made
}

struct Expander<'f> {
    findings: &'f mut Vec<FormError>,
    made: MatrixProviders,
    /// Every name there is.
    taken: HashSet<String>,
}

impl Expander<'_> {
    /// A provider without a matrix.
    fn plain(&mut self, name: &str, table: &mut Map<String, Value>) {
        let root = At::ROOT;
        let providers = root.key("providers");
        let at = providers.key(name);
        if table.remove("name").is_some() {
            let message = "`name` names the providers of a `matrix`, and there is none";
            let at = at.key("name");
            let finding = at.finding(Part::Key, message.to_owned(), "does nothing");
            self.findings.push(finding);
        }
        if name.contains('[') {
            let message =
                format!("`{name}` is not a valid name here: only a matrix makes brackets");
            let finding = at.finding(Part::Key, message, "this name");
            self.findings.push(finding);
        }
        self.made.names.push(name.to_owned());
    }

    fn provider(
        &mut self,
        name: &str,
        mut table: Map<String, Value>,
        keys: &[String],
        tables: &mut Map<String, Value>,
    ) {
        let root = At::ROOT;
        let providers = root.key("providers");
        let at = providers.key(name);
        let matrix = table.remove("matrix").unwrap_or_default();
        let template = table.remove("name");
        let before = self.findings.len();
        let at_matrix = at.key("matrix");
        check::check(&matrix, &keys::MATRIX, &at_matrix, self.findings);
        if let Some(template) = &template {
            check::check(template, &keys::MATRIX_NAME, &at.key("name"), self.findings);
        }
        let lists = matrix.as_object().cloned().unwrap_or_default();
        let lists: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((key.as_str(), lists.get(key)?.as_array()?)))
            .collect();
        if matrix.as_object().is_some_and(Map::is_empty) {
            let message = "`matrix` cannot be empty".to_owned();
            let finding = at_matrix.finding(Part::Value, message, "here");
            self.findings.push(finding);
        }
        self.lists(&lists, &at_matrix);
        self.placeholders(&table, template.as_ref(), &lists, &at);
        if self.findings.len() > before {
            // One provider without a matrix, so that what else is wrong is found.
            blank(&mut table);
            self.made.names.push(name.to_owned());
            tables.insert(name.to_owned(), Value::Object(table));
            return;
        }
        let written = FILLED.iter().filter_map(|key| table.get(*key));
        let written: Vec<_> = written.chain(&template).collect();
        let is_idle = |key: &&String| !written.iter().any(|value| takes(value, key));
        let idle = keys.iter().filter(is_idle);
        let idle = idle.map(|key| (name.to_owned(), key.clone()));
        self.made.idle.extend(idle);
        let template = template.as_ref().and_then(Value::as_str);
        let template = template.and_then(|text| Template::parse(text).ok());
        for combination in combinations(&lists) {
            let made = name_of(name, template.as_ref(), &combination);
            if let Err(error) = crate::model::ProviderId::parse(&made) {
                let message = format!("`{made}` cannot be the name of a provider: {error}");
                self.refuse_name(&at, template.is_some(), message);
                break;
            }
            if !self.taken.insert(made.clone()) && made != name {
                let message = format!("two providers would be named `{made}`");
                self.refuse_name(&at, template.is_some(), message);
                break;
            }
            let mut filled = table.clone();
            for key in FILLED {
                if let Some(value) = filled.get_mut(key) {
                    fill(value, &combination, key == "config");
                }
            }
            tables.insert(made.clone(), Value::Object(filled));
            self.made.tables.insert(made.clone(), name.to_owned());
            self.made.names.push(made);
        }
    }

    /// Refuses values that stand twice, and too many of them.
    fn lists(&mut self, lists: &[(&str, &Vec<Value>)], at: &At<'_>) {
        for (key, values) in lists {
            let at = at.key(key);
            for (place, value) in values.iter().enumerate() {
                if values[..place].contains(value) {
                    let message = format!("`{}` stands twice in `{key}`", text_of(value));
                    let at = at.index(place);
                    let finding = at.finding(Part::Value, message, "again here");
                    self.findings.push(finding);
                }
            }
        }
        let lengths = lists.iter().map(|(_, values)| values.len());
        let count = lengths.fold(1_usize, usize::saturating_mul);
        let together = count.saturating_add(self.made.tables.len());
        if together > MAX_PROVIDERS {
            let before = match self.made.tables.len() {
                0 => String::new(),
                before => format!(", with {before} of those before it"),
            };
            let message = format!(
                "the matrix makes {count} providers{before}, and {MAX_PROVIDERS} is the most"
            );
            let finding = at.finding(Part::Key, message, "too many");
            self.findings.push(finding);
        }
    }

    /// Refuses placeholders that stand for nothing.
    fn placeholders(
        &mut self,
        table: &Map<String, Value>,
        name: Option<&Value>,
        lists: &[(&str, &Vec<Value>)],
        at: &At<'_>,
    ) {
        let known: Vec<_> = lists.iter().map(|(key, _)| *key).collect();
        for key in FILLED {
            if let Some(value) = table.get(key) {
                self.placeholders_in(value, &known, &at.key(key));
            }
        }
        if let Some(name) = name {
            self.placeholders_in(name, &known, &at.key("name"));
        }
    }

    fn placeholders_in(&mut self, value: &Value, known: &[&str], at: &At<'_>) {
        match value {
            Value::String(text) => {
                let Ok(template) = Template::parse(text) else {
                    return;
                };
                for keys in template.keys_of("matrix") {
                    if matches!(keys, [key] if known.contains(&key.as_str())) {
                        continue;
                    }
                    let path = keys.join(".");
                    let message = match keys {
                        [] => "`{{matrix}}` needs a key of the matrix".to_owned(),
                        _ => format!("there is no `matrix.{path}`"),
                    };
                    let mut finding = at.finding(Part::Value, message, "this template");
                    finding.help = Some(check::suggest(&path, known));
                    self.findings.push(finding);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.placeholders_in(item, known, &at.index(index));
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    self.placeholders_in(value, known, &at.key(key));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn refuse_name(&mut self, at: &At<'_>, has_template: bool, message: String) {
        let at = at.key(if has_template { "name" } else { "matrix" });
        let mut finding = at.finding(Part::Key, message, "makes this name");
        finding.help = Some(match has_template {
            true => "a name needs a value of every key of the matrix".to_owned(),
            false => "`name = \"…{{matrix.KEY}}…\"` gives other names".to_owned(),
        });
        self.findings.push(finding);
    }
}

/// Every combination, the last key changing first.
fn combinations<'a>(lists: &[(&'a str, &'a Vec<Value>)]) -> Vec<Combination<'a>> {
    let mut all = vec![Combination::new()];
    for (key, values) in lists {
        let longer = all.iter().flat_map(|begun| {
            values.iter().map(|value| {
                let mut combination = begun.clone();
                combination.push((key, value));
                combination
            })
        });
        all = longer.collect();
    }
    all
}

fn name_of(name: &str, template: Option<&Template>, combination: &Combination<'_>) -> String {
    if let Some(template) = template {
        let mut made = String::new();
        for piece in template.pieces() {
            match piece {
                TemplatePiece::Text(text) => made.push_str(text),
                TemplatePiece::Path(path) => made.push_str(&plain(value_of(path, combination))),
            }
        }
        return made;
    }
    let pairs = combination.iter();
    let pairs: Vec<_> = pairs
        .map(|(key, value)| format!("{key}={}", plain(Some(value))))
        .collect();
    format!("{name}[{}]", pairs.join(","))
}

/// A value as a part of a name: what no name can have becomes `-`.
fn plain(value: Option<&Value>) -> String {
    let text = value.map(text_of).unwrap_or_default();
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    text.chars()
        .map(|character| match is_plain(character) {
            true => character,
            false => '-',
        })
        .collect()
}

fn value_of<'a>(path: &[String], combination: &Combination<'a>) -> Option<&'a Value> {
    let [root, key] = path else { return None };
    let mut pairs = combination
        .iter()
        .filter(|_| MATRIX_ROOTS.contains(&root.as_str()));
    pairs
        .find(|(known, _)| known == key)
        .map(|(_, value)| *value)
}

/// Tells whether a template in `value` takes the value of this key.
fn takes(value: &Value, key: &str) -> bool {
    match value {
        Value::String(text) => Template::parse(text).is_ok_and(|template| {
            let mut keys = template.keys_of("matrix");
            keys.any(|keys| keys.first().is_some_and(|first| first == key))
        }),
        Value::Array(items) => items.iter().any(|item| takes(item, key)),
        Value::Object(map) => map.values().any(|item| takes(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts values in place of `{{matrix.…}}`, and leaves other templates as they are. A text that is nothing else gets the value
/// itself where `keeps_type`.
fn fill(value: &mut Value, combination: &Combination<'_>, keeps_type: bool) {
    match value {
        Value::String(text) if text.contains("{{") => {
            let whole = Template::parse(text).ok();
            let whole = whole.as_ref().map(Template::pieces);
            if let (true, Some([TemplatePiece::Path(path)])) = (keeps_type, whole)
                && let Some(found) = value_of(path, combination)
            {
                *value = found.clone();
            } else {
                *value = Value::String(filled(text, combination));
            }
        }
        Value::Array(items) => {
            for item in items {
                fill(item, combination, keeps_type);
            }
        }
        Value::Object(map) => {
            for item in map.values_mut() {
                fill(item, combination, keeps_type);
            }
        }
        _ => {}
    }
}

fn filled(text: &str, combination: &Combination<'_>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((path, behind)) = after.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        let keys: Vec<_> = path.trim().split('.').map(str::to_owned).collect();
        match value_of(&keys, combination) {
            Some(value) => filled.push_str(&text_of(value)),
            None => filled.extend(["{{", path, "}}"]),
        }
        rest = behind;
    }
    filled + rest
}

/// Takes the placeholders out of a provider whose matrix is wrong: what is wrong with them has been said.
fn blank(table: &mut Map<String, Value>) {
    fn blank_value(value: &mut Value) {
        match value {
            Value::String(text) => {
                let template = Template::parse(text).ok();
                let has_any = |template: &Template| template.keys_of("matrix").next().is_some();
                if template.as_ref().is_some_and(has_any) {
                    *value = Value::Null;
                }
            }
            Value::Array(items) => {
                items.iter_mut().for_each(blank_value);
                items.retain(|item| !item.is_null());
            }
            Value::Object(map) => {
                map.values_mut().for_each(blank_value);
                map.retain(|_, item| !item.is_null());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    for key in FILLED {
        if key != "plugin"
            && let Some(value) = table.get_mut(key)
        {
            blank_value(value);
        }
    }
}
