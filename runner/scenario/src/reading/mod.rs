//! Reads TOML and JSON values by their forms, and reports every problem with its place.
//!
//! [`Document`] is a TOML text as a JSON value, with the place of each part. [`Reader`] and [`Form`] read values.

mod form;
mod literals;
mod path;
mod placeholders;
mod reader;
mod scalar;
mod table;
mod templates;
mod text_file;

use std::collections::HashMap;
use std::{ops::Range, sync::Arc, sync::OnceLock};

use runner_model::{json::is_kept, without_mark};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use crate::problem::{Place, Problem, Source};

pub(crate) use self::form::{
    Any, AnyTable, Either, Form, Globs, List, MAX_GLOBS, Named, NotNull, OneOrList, StringOr,
    Templated, Templates, TextOrList, file_schema,
};
pub(crate) use self::literals::{read_literal, read_literals};
pub(crate) use self::path::{At, Part, Places, Step, dotted, is_pattern, keys};
pub(crate) use self::placeholders::{FilledText, TextPart, escape, key_of, parts, text_of};
pub use self::reader::similar;
pub(crate) use self::reader::{
    COMMAND_ROOTS, ENV_ROOTS, FILTER_PLACES, FileOwner, LIST_ROOTS, MATRIX_ROOTS, Reader, kind,
    slip_distance, suggest,
};
pub(crate) use self::scalar::{
    AGE, Boolean, DIGEST, DURATION, EXPECTED_ERROR, FILE_GLOB, FailFastForm, GLOB, Integer, Number,
    Pattern, RATE, SIZE, STACK, Scalar, TEST_ID, TEXT, TIMEOUT, Text, WORKSPACE_GLOB, WholeText,
    Word, size,
};
pub use self::table::gone;
pub(crate) use self::table::{Table, TableForm};
pub(crate) use self::templates::{RenderError, TemplateValue, visit_templates};
pub(crate) use self::text_file::{MAX_BYTES, not_utf8, read_text};
pub use self::text_file::{files_beside, open_named};

/// Providers that matrices make, by name: the table's name, and the number in its matrix.
pub(crate) type MatrixOrigins = HashMap<String, (String, usize)>;

/// A parsed TOML text.
pub(crate) struct Document<'a> {
    root: Spanned<DeTable<'a>>,
    source: Arc<Source>,
    /// Places of providers that a matrix makes are in its table. Empty until the matrices are expanded.
    pub(crate) matrix_origins: OnceLock<MatrixOrigins>,
}

const SURROGATES: &str =
    r"TOML has no surrogate pairs such as `\ud83d\udc69`: write the character, or `\U0001F469`";

impl<'a> Document<'a> {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// The first mistake in the syntax of each line. Most others of the line are consequences.
    pub(crate) fn parse(path: &str, text: &'a str) -> Result<Self, Vec<Problem>> {
        let text = without_mark(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        let source = Source::new(path, text, 1);
        if errors.is_empty() {
            return Ok(Self { root, source, matrix_origins: OnceLock::new() });
        }
        // An incomplete tree would cause false problems, so nothing else is checked.
        let problems = errors.iter().map(|error| {
            let span = error.span().unwrap_or_default();
            let place = Place::new(&source, span, "here");
            let mut problem =
                Problem::new(format!("not valid TOML: {}", error.message())).at(place);
            if error.message().contains("unicode hexadecimal") {
                problem.help = Some(SURROGATES.to_owned());
            }
            match first_key(text, error) {
                Some(first) => problem.at(Place::new(&source, first, "first here")),
                None => problem,
            }
        });
        let mut problems: Vec<Problem> = problems.collect();
        if let Some(open) = open_bracket(text) {
            // The lines after it were read as its elements.
            problems.truncate(1);
            problems[0].message = "not valid TOML: `[` is not closed".to_owned();
            problems[0].places.insert(0, Place::new(&source, open..open + 1, "opened here"));
        }
        if let Some(help) = format_help(path, text) {
            problems.truncate(1);
            problems.iter_mut().for_each(|problem| problem.help = Some(help.clone()));
        }
        problems.dedup_by_key(|problem| {
            let start = problem.places[0].span.start;
            text[..start].matches('\n').count()
        });
        Err(problems)
    }

    /// Returns the text as JSON. Reports numbers that JSON does not have; they become null.
    pub(crate) fn value(&self, problems: &mut Vec<Problem>) -> Value {
        self.table(self.root.get_ref(), problems)
    }

    /// Reads the whole text by its form.
    ///
    /// # Errors
    ///
    /// All of its problems.
    pub(crate) fn read<F: Form>(&self, form: &F) -> Result<F::Out, Vec<Problem>> {
        let mut reader = Reader::new(self);
        let mut root = self.value(&mut reader.problems);
        match form.read(&At::ROOT, &mut root, &mut reader) {
            Some(read) if reader.problems.is_empty() => Ok(read),
            _ => Err(reader.problems),
        }
    }

    fn table(&self, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Value {
        let entries = table
            .iter()
            .map(|(key, entry)| (key.get_ref().to_string(), self.entry(entry, problems)));
        Value::Object(entries.collect::<Map<_, _>>())
    }

    fn entry(&self, spanned: &Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Value {
        let number = match spanned.get_ref() {
            DeValue::String(text) => return Value::String(text.to_string()),
            DeValue::Boolean(boolean) => return Value::Bool(*boolean),
            DeValue::Datetime(datetime) => return Value::String(datetime.to_string()),
            DeValue::Array(items) => {
                return items.iter().map(|item| self.entry(item, problems)).collect();
            }
            DeValue::Table(inner) => return self.table(inner, problems),
            DeValue::Integer(number) => integer(number),
            DeValue::Float(number) => float(number),
        };
        number.unwrap_or_else(|message| {
            let place = Place::new(&self.source, spanned.span(), "this number");
            problems.push(Problem::new(message).at(place));
            Value::Null
        })
    }
}

impl Places for Document<'_> {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place> {
        vec![self.place(path, part, label)]
    }
}

impl Document<'_> {
    pub(crate) fn place(&self, path: &[Step], part: Part, label: &str) -> Place {
        let mut path = path.to_vec();
        if let [Step::Key(top), Step::Key(name), ..] = &mut path[..]
            && top == "providers"
            && let Some((table, _)) = self.matrix_origins.get().and_then(|all| all.get(name))
        {
            name.clone_from(table);
        }
        Place::new(&self.source, self.span(&path, part), label)
    }

    /// Returns the keys of a table in the order written. Empty if there is no table.
    pub(crate) fn keys_in_order(&self, path: &[&str]) -> Vec<String> {
        let mut table = self.root.get_ref();
        for key in path {
            match table.get(*key).map(Spanned::get_ref) {
                Some(DeValue::Table(inner)) => table = inner,
                _ => return Vec::new(),
            }
        }
        let mut keys: Vec<_> = table.iter().map(|(key, _)| key).collect();
        keys.sort_by_key(|key| key.span().start);
        keys.iter().map(|key| key.get_ref().to_string()).collect()
    }

    fn span(&self, path: &[Step], part: Part) -> Range<usize> {
        let Some((Step::Key(first), rest)) = path.split_first() else {
            return 0..0;
        };
        let Some((key, mut value)) = self.root.get_ref().get_key_value(first.as_str()) else {
            return 0..0;
        };
        let mut key = key.span();
        for step in rest {
            match (step, value.get_ref()) {
                (Step::Key(name), DeValue::Table(table)) => {
                    let Some((next_key, next)) = table.get_key_value(name.as_str()) else { break };
                    (key, value) = (next_key.span(), next);
                }
                (Step::Item(index), DeValue::Array(items)) => {
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

fn integer(number: &DeInteger<'_>) -> Result<Value, &'static str> {
    let digits = number.as_str();
    let radix = number.radix();
    i64::from_str_radix(digits, radix)
        .map(Value::from)
        .or_else(|_| u64::from_str_radix(digits, radix).map(Value::from))
        .map_err(|_| "an integer has at most 64 bits")
}

fn float(number: &DeFloat<'_>) -> Result<Value, &'static str> {
    let parsed: f64 = number.as_str().parse().unwrap_or(f64::NAN);
    match serde_json::Number::from_f64(parsed) {
        Some(_) if !is_kept(number.as_str()) => {
            Err("a float has fewer digits: write this number with fewer, or as a string")
        }
        Some(number) => Ok(Value::Number(number)),
        None => Err("values reach providers as JSON, which has no infinite number and no NaN"),
    }
}

/// Returns the first place of a key that is written twice.
fn first_key(text: &str, error: &toml::de::Error) -> Option<Range<usize>> {
    let span = error.span().filter(|_| error.message() == "duplicate key")?;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next()?.trim();
    let key = &text[span.clone()];
    let mut found = None;
    let mut at = 0;
    for other in text[..start].split_inclusive('\n') {
        let is_header = other.trim_start().starts_with('[');
        let after = other.trim_start().strip_prefix(key).map(str::trim_start);
        if other.trim() == line && line.starts_with('[') {
            found = Some(at + (span.start - start));
        } else if !line.starts_with('[') && is_header {
            // Here another table starts, so a key found before is not of this one.
            found = None;
        } else if after.is_some_and(|after| after.starts_with(['=', '.'])) {
            found = Some(at + other.len() - other.trim_start().len());
        }
        at += other.len();
    }
    found.map(|found| found..found + key.len())
}

/// Returns the position of the first `[` of a text without its `]`. `None` if the text has strings of several lines, which may
/// contain one.
fn open_bracket(text: &str) -> Option<usize> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let mut open = Vec::new();
    let mut quote = None;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (_, '\n') => quote = None,
            (Some('"'), '\\') if !is_escaped => {
                is_escaped = true;
                continue;
            }
            (Some(end), _) if end == character && end != '#' && !is_escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '#') => quote = Some(character),
            (None, '[') => open.push(at),
            (None, ']') => drop(open.pop()),
            (None, _) => {}
        }
        is_escaped = false;
    }
    open.first().copied()
}

/// Returns a help for a text of another format.
fn format_help(path: &str, text: &str) -> Option<String> {
    if let Some(key) = yaml_key(text) {
        return Some(format!("this looks like YAML, but it must be TOML: write `{key} = …`"));
    }
    let is_list = [".csv", ".json", ".jsonl"].iter().any(|end| path.ends_with(end));
    let is_json = text.trim_start().starts_with('{');
    match (is_list, is_json) {
        (true, _) => Some(format!("a scenario is TOML; it can name this file as a list of its tests:\n[[test_lists]]\nfiles = [{path:?}]")),
        (false, true) => Some("this looks like JSON, but it must be TOML: write `key = value` and tables such as `[providers.NAME]`".to_owned()),
        (false, false) => None,
    }
}

/// Returns the key of the first line if that is a line of YAML, such as `name: basic`.
fn yaml_key(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim_end);
    let line = lines.find(|line| !matches!(*line, "" | "---") && !line.starts_with('#'))?;
    let (key, rest) = line.split_once(':')?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Document;

    #[test]
    fn toml_values_become_json() {
        let text = "a = 0x1F\nb = +1_000.5\nc = 1979-05-27T07:32:00Z\nd = 07:32:00\ne = [{ f = true }]\nf = 18446744073709551615\n";
        let document = Document::parse("s.toml", text).unwrap_or_else(|_| panic!());
        let value = document.value(&mut Vec::new());
        assert_eq!(
            value,
            json!({"a": 31, "b": 1000.5, "c": "1979-05-27T07:32:00Z", "d": "07:32:00", "e": [{"f": true}], "f": u64::MAX})
        );
    }

    #[test]
    fn numbers_outside_json_are_refused() {
        let text = "a = inf\nb = -nan\nc = 1e999\nd = 99999999999999999999\n";
        let document = Document::parse("s.toml", text).unwrap_or_else(|_| panic!());
        let mut problems = Vec::new();
        document.value(&mut problems);
        assert_eq!(problems.len(), 4);
    }
}
