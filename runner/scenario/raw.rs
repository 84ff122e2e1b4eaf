//! [`Document`]: a TOML text as a JSON value, and where in the text everything stands.

use std::{collections::HashMap, ops::Range};

use miette::SourceSpan;
use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeFloat, DeInteger, DeTable, DeValue},
};

use super::{
    Problem,
    check::{FormError, Part, ValueStep},
};

/// A TOML text that has been parsed.
pub(super) struct Document<'a> {
    root: Spanned<DeTable<'a>>,
    /// Of each provider that a matrix has made, the table that it stands in.
    made: HashMap<String, String>,
}

impl<'a> Document<'a> {
    /// Parses a text. Reports every mistake in its syntax.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self {
                root,
                made: HashMap::new(),
            });
        }
        let problem = |error: &toml::de::Error| {
            let span = error.span().unwrap_or_default();
            Problem::new(
                format!("not valid TOML: {}", error.message()),
                "here",
                span.into(),
            )
        };
        let mut problems: Vec<_> = errors.iter().map(problem).collect();
        problems.sort_by_key(Problem::offset);
        Err(problems)
    }

    /// The text's value as JSON. Numbers that JSON does not have are reported.
    pub(super) fn value(&self, problems: &mut Vec<Problem>) -> Value {
        table(self.root.get_ref(), problems)
    }

    /// Says where providers stand that a matrix has made.
    pub(super) fn make_providers(&mut self, tables: HashMap<String, String>) {
        self.made = tables;
    }

    /// Where the table stands that something in a provider is of.
    pub(super) fn written(&self, mut path: Vec<ValueStep>) -> Vec<ValueStep> {
        if let [ValueStep::Key(root), ValueStep::Key(name), ..] = &mut path[..]
            && root == "providers"
            && let Some(table) = self.made.get(name)
        {
            name.clone_from(table);
        }
        path
    }

    /// Where something stands. What does not exist stands where the last existing step does.
    pub(super) fn span(&self, path: &[ValueStep], part: Part) -> SourceSpan {
        self.find(&self.written(path.to_vec()), part).into()
    }

    /// Where the item of an array at the top begins.
    pub(super) fn item(&self, array: &str, index: usize) -> usize {
        let path = [ValueStep::Key(array.to_owned()), ValueStep::Index(index)];
        self.find(&path, Part::Value).start
    }

    /// The keys of the table at `path` in the order in which they are written.
    pub(super) fn keys_in_order(&self, path: &[ValueStep]) -> Vec<&str> {
        let mut table = self.root.get_ref();
        for step in path {
            let ValueStep::Key(key) = step else {
                return Vec::new();
            };
            match table.get(key.as_str()).map(Spanned::get_ref) {
                Some(DeValue::Table(inner)) => table = inner,
                _ => return Vec::new(),
            }
        }
        let mut keys: Vec<_> = table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        keys.iter().map(|key| key.get_ref().as_ref()).collect()
    }

    /// Turns a finding into a problem with its place.
    pub(super) fn locate(&self, finding: FormError) -> Problem {
        let span = self.span(&finding.path, finding.part);
        Problem::new(finding.message, &finding.label, span).with_help(finding.help)
    }

    fn find(&self, path: &[ValueStep], part: Part) -> Range<usize> {
        let Some((ValueStep::Key(first), rest)) = path.split_first() else {
            return 0..0;
        };
        let Some((key, mut value)) = self.root.get_ref().get_key_value(first.as_str()) else {
            return 0..0;
        };
        let mut key = key.span();
        for step in rest {
            match (step, value.get_ref()) {
                (ValueStep::Key(name), DeValue::Table(table)) => {
                    let Some((next_key, next)) = table.get_key_value(name.as_str()) else {
                        break;
                    };
                    (key, value) = (next_key.span(), next);
                }
                (ValueStep::Index(index), DeValue::Array(items)) => {
                    let Some(next) = items.get(*index) else { break };
                    (key, value) = (next.span(), next);
                }
                _ => break,
            }
        }
        match part {
            Part::Key => key,
            Part::Value => value.span(),
        }
    }
}

/// Counts lines. Places that come in order cost one pass over the text.
pub(super) struct Lines<'t> {
    text: &'t str,
    offset: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            offset: 0,
            line: 1,
        }
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn at(&mut self, offset: usize) -> u64 {
        if offset < self.offset {
            *self = Self::new(self.text);
        }
        let passed = &self.text.as_bytes()[self.offset..offset];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.offset = offset;
        self.line
    }
}

fn table(table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Value {
    let entries = table
        .iter()
        .map(|(key, entry)| (key.get_ref().to_string(), value(entry, problems)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(spanned: &Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Value {
    let number = match spanned.get_ref() {
        DeValue::String(text) => return Value::String(text.to_string()),
        DeValue::Boolean(boolean) => return Value::Bool(*boolean),
        DeValue::Datetime(datetime) => return Value::String(datetime.to_string()),
        DeValue::Array(items) => {
            return items.iter().map(|item| value(item, problems)).collect();
        }
        DeValue::Table(inner) => return table(inner, problems),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => float(number),
    };
    number.unwrap_or_else(|message| {
        problems.push(Problem::new(message, "this number", spanned.span().into()));
        Value::Null
    })
}

fn integer(number: &DeInteger<'_>) -> Result<Value, &'static str> {
    i64::from_str_radix(number.as_str(), number.radix())
        .map(Value::from)
        .map_err(|_| "an integer has at most 64 bits")
}

fn float(number: &DeFloat<'_>) -> Result<Value, &'static str> {
    let parsed: f64 = number.as_str().parse().unwrap_or(f64::NAN);
    match serde_json::Number::from_f64(parsed) {
        Some(number) => Ok(Value::Number(number)),
        None => Err("values reach providers as JSON, which has no infinite number and no NaN"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Document;

    #[test]
    fn toml_values_become_json() {
        let text =
            "a = 0x1F\nb = +1_000.5\nc = 1979-05-27T07:32:00Z\nd = 07:32:00\ne = [{ f = true }]\n";
        let document = Document::parse(text).ok().unwrap();
        let value = document.value(&mut Vec::new());
        assert_eq!(
            value,
            json!({"a": 31, "b": 1000.5, "c": "1979-05-27T07:32:00Z", "d": "07:32:00", "e": [{"f": true}]})
        );
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused() {
        let document = Document::parse("a = inf\nb = -nan\nc = 1e999\nd = 99999999999999999999\n")
            .ok()
            .unwrap();
        let mut problems = Vec::new();
        document.value(&mut problems);
        assert_eq!(problems.len(), 4);
    }
}
