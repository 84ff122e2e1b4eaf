//! Where a reader of values is ([`At`]), and what it found to be wrong ([`Reading`]).

use std::{ops::Range, sync::Arc};

use runner_model::template::Template;
use serde_json::Value;

use crate::problem::{Place, Problem, Source};

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// Where a reader is. A list of borrowed steps: valid values, of which there may be millions, cost no allocation.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    step: Option<(&'a Self, BorrowedStep<'a>)>,
}

#[derive(Clone, Copy)]
enum BorrowedStep<'a> {
    Key(&'a str),
    Index(usize),
}

/// What a template may begin with.
pub(crate) type Roots = &'static [&'static str];

/// What templates of a test list may begin with.
pub(crate) const LIST_ROOTS: Roots = &["row", "file", "row_number"];
/// What templates of a command may begin with.
pub(crate) const COMMAND_ROOTS: Roots = &["input", "config"];
/// What `file` has in templates of a test list.
const FILE_KEYS: &[&str] = &["name", "path", "stem"];

/// What was found while values were read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) findings: Vec<Finding>,
    /// Set where any string may be a template.
    pub(crate) templates: Option<Roots>,
    /// Whether a null is a number that was refused before. In JSON it is an absent value.
    pub(crate) refused_nulls: bool,
    /// The last regular expression that was right. An empty one always is.
    pub(crate) last_pattern: String,
}

/// Something that is wrong, and where in the value.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) path: Vec<Step>,
    pub(crate) part: Part,
    pub(crate) message: String,
    pub(crate) label: &'static str,
    pub(crate) help: Option<String>,
    /// A value that this one contradicts, and what to say there.
    pub(crate) other: Option<(Vec<Step>, &'static str)>,
}

/// A text with values in it, which knows where they stand.
pub(crate) trait Places {
    fn source(&self) -> &Arc<Source>;
    /// Where something stands. What does not exist stands where the last existing step does.
    fn span(&self, path: &[Step], part: Part) -> Range<usize>;

    fn place(&self, path: &[Step], part: Part, label: &str) -> Place {
        Place {
            source: Arc::clone(self.source()),
            span: self.span(path, part),
            label: label.to_owned(),
        }
    }

    fn locate(&self, finding: Finding) -> Problem {
        let place = self.place(&finding.path, finding.part, finding.label);
        let other = finding
            .other
            .map(|(path, label)| self.place(&path, Part::Value, label));
        Problem {
            message: finding.message,
            places: [place].into_iter().chain(other).collect(),
            help: finding.help,
        }
    }
}

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At { step: None };

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        At {
            step: Some((self, BorrowedStep::Key(key))),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        At {
            step: Some((self, BorrowedStep::Index(index))),
        }
    }

    /// The steps from the root.
    pub(crate) fn path(&self) -> Vec<Step> {
        let mut path = Vec::new();
        let mut at = self;
        while let Some((parent, step)) = &at.step {
            path.push(match step {
                BorrowedStep::Key(key) => Step::Key((*key).to_owned()),
                BorrowedStep::Index(index) => Step::Index(*index),
            });
            at = parent;
        }
        path.reverse();
        path
    }

    /// What stands here, for people.
    pub(crate) fn subject(&self) -> String {
        match self.step {
            Some((_, BorrowedStep::Index(_))) => format!("each of `{}`", self.name()),
            None => "a record".to_owned(),
            Some((_, BorrowedStep::Key(_))) => format!("`{}`", self.name()),
        }
    }

    /// The last key.
    pub(crate) fn name(&self) -> &'a str {
        match self.step {
            Some((_, BorrowedStep::Key(key))) => key,
            Some((parent, BorrowedStep::Index(_))) => parent.name(),
            None => "",
        }
    }

    pub(crate) fn finding(&self, part: Part, message: String, label: &'static str) -> Finding {
        Finding {
            path: self.path(),
            part,
            message,
            label,
            help: None,
            other: None,
        }
    }
}

impl Reading {
    pub(crate) fn refuse(&mut self, at: &At<'_>, message: String, label: &'static str) {
        self.findings.push(at.finding(Part::Value, message, label));
    }

    pub(crate) fn refuse_with_help(
        &mut self,
        at: &At<'_>,
        part: Part,
        message: String,
        label: &'static str,
        help: String,
    ) {
        let mut finding = at.finding(part, message, label);
        finding.help = Some(help);
        self.findings.push(finding);
    }

    /// Parses a template and refuses paths in it that lead nowhere whatever the values are.
    pub(crate) fn template(&mut self, at: &At<'_>, text: &str, roots: Roots) -> Option<Template> {
        const LABEL: &str = "this template";
        let parsed = Template::parse(text).and_then(|template| {
            template.check_roots(roots)?;
            Ok(template)
        });
        let template = match parsed {
            Ok(template) => template,
            Err(error) => {
                self.refuse(at, error.to_string(), LABEL);
                return None;
            }
        };
        if roots == LIST_ROOTS {
            for keys in template.keys_of("file") {
                if !matches!(keys, [key] if FILE_KEYS.contains(&key.as_str())) {
                    let message = format!("there is no `{}`", dotted("file", keys));
                    let key = keys.first().map_or("", String::as_str);
                    let help = suggest(key, FILE_KEYS.iter().copied());
                    self.refuse_with_help(at, Part::Value, message, LABEL, help);
                }
            }
            for keys in template
                .keys_of("row_number")
                .filter(|keys| !keys.is_empty())
            {
                let message = format!("there is no `{}`", dotted("row_number", keys));
                let help = "`row_number` is a number".to_owned();
                self.refuse_with_help(at, Part::Value, message, LABEL, help);
            }
        }
        Some(template)
    }
}

/// A path as templates write it.
pub(crate) fn dotted(root: &str, keys: &[String]) -> String {
    keys.iter()
        .fold(root.to_owned(), |path, key| path + "." + key)
}

/// Names what was probably meant, or what there is.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    const MAX_NAMED: usize = 24;
    let nearest = known
        .clone()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 3);
    if let Some((_, candidate)) = nearest {
        return format!("did you mean `{candidate}`?");
    }
    let mut names: Vec<_> = known
        .clone()
        .take(MAX_NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = known.skip(MAX_NAMED).count();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    format!("known here: {}", names.join(", "))
}

/// What a value is, for people.
pub(crate) fn kind(value: &Value) -> &'static str {
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

/// What a value of another kind than expected is, as a label.
pub(crate) fn kind_label(value: &Value) -> &'static str {
    match value {
        Value::Null => "this is null",
        Value::Bool(_) => "this is a boolean",
        Value::Number(number) if number.is_f64() => "this is a float",
        Value::Number(_) => "this is an integer",
        Value::String(_) => "this is a string",
        Value::Array(_) => "this is an array",
        Value::Object(_) => "this is a table",
    }
}
