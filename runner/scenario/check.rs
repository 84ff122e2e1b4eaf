//! Checks a value against its [`Form`] and collects everything that is wrong.

use regex::Regex;
use serde_json::{Map, Value};

use super::{
    FailFast, Rate, Template, TemplateError, budgets,
    describe::{describe, enumerate},
    form::{Form, Key, Name, Presence},
    globs, grant_names, meta, notify, reports, units,
};
use crate::model::{
    BoundSecret, Digest, NetGrant, ProviderId, TestId, is_file_name, is_secret_name, parse_age,
};

/// Something that is wrong, and where in the value.
#[derive(Debug)]
pub(super) struct FormError {
    pub(super) path: Vec<ValueStep>,
    pub(super) part: Part,
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueStep {
    Key(String),
    Index(usize),
}

/// Which part of an entry is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

/// Where a check is. A list of borrowed steps: valid values, of which there may be millions, cost no allocation.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    step: Option<(&'a Self, BorrowedStep<'a>)>,
}

#[derive(Clone, Copy)]
enum BorrowedStep<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(super) const ROOT: At<'static> = At { step: None };

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        At {
            step: Some((self, BorrowedStep::Key(key))),
        }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        At {
            step: Some((self, BorrowedStep::Index(index))),
        }
    }

    /// The steps from the root.
    pub(super) fn path(&self) -> Vec<ValueStep> {
        let mut path = Vec::new();
        let mut at = self;
        while let Some((parent, step)) = &at.step {
            path.push(match step {
                BorrowedStep::Key(key) => ValueStep::Key((*key).to_owned()),
                BorrowedStep::Index(index) => ValueStep::Index(*index),
            });
            at = parent;
        }
        path.reverse();
        path
    }

    /// What stands here, for people.
    fn subject(&self) -> String {
        match self.step {
            Some((_, BorrowedStep::Index(_))) => format!("each of `{}`", self.name()),
            _ => format!("`{}`", self.name()),
        }
    }

    fn name(&self) -> &'a str {
        match self.step {
            Some((_, BorrowedStep::Key(key))) => key,
            Some((parent, BorrowedStep::Index(_))) => parent.name(),
            None => "scenario",
        }
    }

    pub(super) fn finding(&self, part: Part, message: String, label: &str) -> FormError {
        FormError {
            path: self.path(),
            part,
            message,
            label: label.to_owned(),
            help: None,
        }
    }
}

/// Checks `value` against `form`.
pub(super) fn check(value: &Value, form: &Form, at: &At<'_>, findings: &mut Vec<FormError>) {
    let mut checker = Checker {
        findings,
        templates: None,
    };
    checker.value(value, form, at);
}

/// Shows a path as TOML would write it.
pub(super) fn show(path: &[ValueStep]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            ValueStep::Key(key) if text.is_empty() => text.push_str(key),
            ValueStep::Key(key) => text.extend([".", key]),
            ValueStep::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

struct Checker<'f> {
    findings: &'f mut Vec<FormError>,
    /// Where any string may be a template: what templates may begin with.
    templates: Option<&'static [&'static str]>,
}

impl Checker<'_> {
    fn value(&mut self, value: &Value, form: &Form, at: &At<'_>) {
        if let (Some(roots), Value::String(text)) = (self.templates, value)
            && text.contains("{{")
        {
            return self.template(text, roots, at);
        }
        match (form, value) {
            (Form::Any, _) | (Form::AnyTable, Value::Object(_)) => self.nested(value, at),
            (Form::Templates(roots), _) => self.templated(value, &Form::Any, roots, at),
            (Form::Templated(form, roots), _) => self.templated(value, form, roots, at),
            (Form::Table(groups), Value::Object(map)) => self.table(map, groups, at),
            (Form::Map(form, name), Value::Object(map)) => self.map(map, form, *name, at),
            (Form::SomeOf(_), Value::Array(items)) if items.is_empty() => {
                let message = format!("{} cannot be empty", at.subject());
                self.findings.push(at.finding(Part::Value, message, "here"));
            }
            (Form::List(form) | Form::SomeOf(form), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, form, &at.index(index));
                }
            }
            (Form::Either(_, table), Value::Object(_)) => self.value(value, table, at),
            (Form::Either(text, _), Value::String(_)) => self.value(value, text, at),
            (Form::TextOrList, Value::String(_) | Value::Array(_)) => self.nested(value, at),
            _ => self.scalar(value, form, at),
        }
    }

    fn templated(
        &mut self,
        value: &Value,
        form: &Form,
        roots: &'static [&'static str],
        at: &At<'_>,
    ) {
        self.templates = Some(roots);
        self.value(value, form, at);
        self.templates = None;
    }

    /// Looks for templates in a value of any form.
    fn nested(&mut self, value: &Value, at: &At<'_>) {
        if self.templates.is_none() {
            return;
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.value(value, &Form::Any, &at.key(key));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &Form::Any, &at.index(index));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn table(&mut self, map: &Map<String, Value>, groups: &[&[Key]], at: &At<'_>) {
        let keys = || groups.iter().copied().flatten();
        for (name, value) in map {
            match keys().find(|key| key.name == name) {
                Some(key) => self.value(value, &key.form, &at.key(name)),
                None => self.unknown(name, keys(), at),
            }
        }
        for key in keys() {
            if key.presence == Presence::Required && !map.contains_key(key.name) {
                let message = format!("`{}` is missing", key.name);
                let mut finding = at.finding(Part::Key, message, "here");
                finding.help = Some(key.meaning.to_owned());
                self.findings.push(finding);
            }
        }
    }

    fn unknown<'k>(&mut self, name: &str, keys: impl Iterator<Item = &'k Key>, at: &At<'_>) {
        let names: Vec<_> = keys.map(|key| key.name).collect();
        let mut finding =
            at.key(name)
                .finding(Part::Key, format!("unknown key `{name}`"), "unknown");
        finding.help = Some(suggest(name, &names));
        self.findings.push(finding);
    }

    fn map(&mut self, map: &Map<String, Value>, form: &Form, name: Name, at: &At<'_>) {
        if name == Name::Meta
            && let Some(excess) = meta::excess(map)
        {
            let message = format!("{} has too much: {excess}", at.subject());
            self.findings.push(at.finding(Part::Value, message, "here"));
        }
        for (key, value) in map {
            let at = at.key(key);
            let refused = match name {
                Name::Provider => ProviderId::parse(key).err().map(|error| error.to_string()),
                Name::MatrixKey => matrix_key_error(key),
                Name::Meta => meta::key_error(key),
                Name::Metric => budgets::metric_error(key),
                Name::Attachment => attachment_name_error(key),
                Name::Variable => grant_names::variable_error(key),
            };
            if let Some(reason) = refused {
                let message = format!("`{key}` is not a valid name here: {reason}");
                self.findings
                    .push(at.finding(Part::Key, message, "this name"));
            }
            self.value(value, form, &at);
        }
    }

    fn template(&mut self, text: &str, roots: &[&str], at: &At<'_>) {
        let checked = Template::parse(text).and_then(|template| template.check_roots(roots));
        let Err(error) = checked else { return };
        let mut finding = at.finding(Part::Value, error.to_string(), "this template");
        if matches!(&error, TemplateError::Root { root, .. } if root == grant_names::SECRET) {
            finding.help = Some(grant_names::SECRET_HELP.to_owned());
        }
        self.findings.push(finding);
    }

    fn scalar(&mut self, value: &Value, form: &Form, at: &At<'_>) {
        if let (Form::Template(roots), Value::String(text)) = (form, value) {
            return self.template(text, roots, at);
        }
        let Err(refusal) = scalar(value, form) else {
            return;
        };
        let subject = at.subject();
        let finding = match refusal {
            ScalarRefusal::Type => {
                let message = format!("{subject} must be {}", describe(form));
                at.finding(Part::Value, message, &format!("this is {}", kind(value)))
            }
            ScalarRefusal::Because(reason) => at.finding(
                Part::Value,
                format!("{subject} must be {}: {reason}", describe(form)),
                "here",
            ),
            ScalarRefusal::Word(words) => {
                let word = value.as_str().unwrap_or_default();
                let message = format!("`{word}` is not one of the words for `{}`", at.name());
                let mut finding = at.finding(Part::Value, message, "unknown");
                finding.help = Some(suggest(word, words));
                finding
            }
        };
        self.findings.push(finding);
    }
}

enum ScalarRefusal {
    /// It is of another type, or says nothing that could be explained further.
    Type,
    Because(String),
    Word(&'static [&'static str]),
}

fn scalar(value: &Value, form: &Form) -> Result<(), ScalarRefusal> {
    // In JSON an absent value; in TOML a number that has been reported already.
    if value.is_null() {
        return Ok(());
    }
    match form {
        Form::Integer { min, max } => in_range(integer(value)?, *min, *max),
        Form::Number { min, max } => {
            in_range(value.as_f64().ok_or(ScalarRefusal::Type)?, *min, *max)
        }
        Form::Size => match value {
            Value::Number(_) | Value::String(_) => units::size_of(value)
                .map(|_| ())
                .ok_or_else(|| ScalarRefusal::Because(format!("{value} is none"))),
            _ => Err(ScalarRefusal::Type),
        },
        Form::Boolean => value.is_boolean().then_some(()).ok_or(ScalarRefusal::Type),
        Form::Refused(reason) => Err(ScalarRefusal::Because((*reason).to_owned())),
        Form::Scalar => match value {
            Value::String(text) if text.is_empty() => {
                Err(ScalarRefusal::Because("it is empty".to_owned()))
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(ScalarRefusal::Type),
        },
        Form::ReportFile(extension) => match value {
            Value::Bool(_) => Ok(()),
            Value::String(name) => match reports::name_error(name, extension) {
                Some(reason) => Err(ScalarRefusal::Because(reason)),
                None => Ok(()),
            },
            _ => Err(ScalarRefusal::Type),
        },
        Form::FailFast => FailFast::of_json(value)
            .map(|_| ())
            .ok_or(ScalarRefusal::Type),
        _ => text(value.as_str().ok_or(ScalarRefusal::Type)?, form),
    }
}

fn text(text: &str, form: &Form) -> Result<(), ScalarRefusal> {
    let because = |reason: &dyn ToString| ScalarRefusal::Because(reason.to_string());
    match form {
        Form::Text | Form::File | Form::Folder if text.is_empty() => Err(because(&"it is empty")),
        Form::Text | Form::File | Form::Folder => Ok(()),
        Form::Mount => {
            grant_names::check_mount(text).map_err(|reason| because(&format!("`{text}` {reason}")))
        }
        Form::NetGrant => NetGrant::parse(text)
            .map(|_| ())
            .map_err(|reason| because(&format!("`{text}` is none; {reason}"))),
        Form::Host => BoundSecret::parse_host(text)
            .map(|_| ())
            .map_err(|reason| because(&format!("`{text}` is none; {reason}"))),
        Form::Header if BoundSecret::is_header(text) => Ok(()),
        Form::Header => Err(because(&format!("`{text}` is none"))),
        Form::SecretName if is_secret_name(text) => Ok(()),
        Form::SecretName => Err(because(&format!("`{text}` is none"))),
        Form::TestId => TestId::parse(text)
            .map(|_| ())
            .map_err(|error| because(&format!("in `{text}`, {error}"))),
        Form::Duration { zero } => match units::parse_duration(text) {
            Err(reason) => Err(because(&format!("`{text}` {reason}"))),
            Ok(duration) if duration.is_zero() && !zero => Err(because(&"it cannot be zero")),
            Ok(_) => Ok(()),
        },
        Form::Age => parse_age(text)
            .map(|_| ())
            .map_err(|_| because(&format!("`{text}` is none"))),
        Form::Url => notify::check_url(text).map_err(|reason| because(&reason)),
        Form::Rate => Rate::parse(text)
            .map(|_| ())
            .ok_or_else(|| because(&format!("`{text}` is none"))),
        Form::Digest => Digest::parse(text)
            .map(|_| ())
            .ok_or_else(|| because(&format!("`{text}` is none"))),
        Form::Regex => Regex::new(text)
            .map(|_| ())
            .map_err(|error| because(&format!("\n{error}"))),
        Form::Glob => globs::over_ids(text)
            .map(|_| ())
            .map_err(|error| because(error.kind())),
        Form::FileGlob => globs::over_files(text)
            .map(|_| ())
            .map_err(|error| because(error.kind())),
        Form::Word(words) if words.contains(&text) => Ok(()),
        Form::Word(words) => Err(ScalarRefusal::Word(words)),
        _ => Err(ScalarRefusal::Type),
    }
}

fn integer(value: &Value) -> Result<i64, ScalarRefusal> {
    match value {
        Value::Number(number) if !number.is_f64() => number.as_i64().map_or(Ok(i64::MAX), Ok),
        _ => Err(ScalarRefusal::Type),
    }
}

fn in_range<T: Copy + PartialOrd + ToString>(
    number: T,
    min: T,
    max: T,
) -> Result<(), ScalarRefusal> {
    if min <= number && number <= max {
        return Ok(());
    }
    Err(ScalarRefusal::Because(format!(
        "{} is out of range",
        number.to_string()
    )))
}

/// Tells why `key` cannot be one of a matrix: it stands in templates and in names.
fn matrix_key_error(key: &str) -> Option<String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    (key.is_empty() || key.len() > 32 || !key.chars().all(is_plain))
        .then(|| "keys of a matrix are made of at most 32 letters, digits, `_` and `-`".to_owned())
}

/// Tells why `name` cannot name an attachment.
pub fn attachment_name_error(name: &str) -> Option<String> {
    (!is_file_name(name)).then(|| {
        "attachments have the names of files, of at most 128 bytes and without folders".to_owned()
    })
}

/// Names the nearest of the known names, or all of them.
pub(super) fn suggest(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 3);
    match nearest {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None => format!("known here: {}", enumerate(known)),
    }
}

/// Says what to write instead of a glob that matches none of `names`.
pub(super) fn suggest_provider(glob: &str, names: &[&str]) -> String {
    let begins = |name: &&&str| {
        name.strip_prefix(glob)
            .is_some_and(|rest| rest.starts_with('['))
    };
    match names.iter().find(begins) {
        Some(_) => format!("`{glob}[*]` matches all that its matrix makes"),
        None => suggest(glob, names),
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}
