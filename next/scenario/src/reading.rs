//! Where a reader of values is ([`At`]), and what it finds to be wrong ([`Reading`]).

use std::path::Path;

use runner_model::template::{Template, TemplateError};
use serde_json::Value;

use crate::{
    grant_keys::unnamed_secrets,
    problem::{Place, Problem},
};

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A path of keys.
pub(crate) fn keys<'k>(path: impl IntoIterator<Item = &'k str>) -> Vec<Step> {
    let path = path.into_iter();
    path.map(|key| Step::Key(key.to_owned())).collect()
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// Knows where the values stand that are read. What does not exist stands where the last existing step does.
pub(crate) trait Places {
    fn places(&self, path: &[Step], part: Part, label: &str) -> Vec<Place>;
}

/// Values that stand in no file.
impl Places for () {
    fn places(&self, _: &[Step], _: Part, _: &str) -> Vec<Place> {
        Vec::new()
    }
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
/// What templates of environment variables may begin with. Only there is a secret known.
pub(crate) const ENV_ROOTS: Roots = &["input", "config", "secret"];
/// What templates begin with that the values of a matrix fill.
pub(crate) const MATRIX_ROOTS: Roots = &["matrix"];
/// What to do where a template does not know secrets.
const SECRET_HELP: &str =
    "secrets reach a provider by its environment: `grants.env = { KEY = \"{{secret.KEY}}\" }`";
/// What `file` has in templates of a test list.
const FILE_KEYS: &[&str] = &["name", "path", "stem"];

/// What was found while values were read.
pub(crate) struct Reading<'p> {
    places: &'p dyn Places,
    pub(crate) problems: Vec<Problem>,
    /// Set where any string may be a template.
    pub(crate) templates: Option<Roots>,
    /// Whether a null is a number that was refused before. In JSON it is an absent value.
    pub(crate) refused_nulls: bool,
    /// Where the files are looked for that a scenario names.
    pub(crate) folder: Option<&'p Path>,
    /// The last regular expression that was right.
    pub(crate) last_pattern: Option<String>,
}

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At { step: None };

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        let step = Some((self, BorrowedStep::Key(key)));
        At { step }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        let step = Some((self, BorrowedStep::Index(index)));
        At { step }
    }

    /// The steps from the root.
    pub(crate) fn path(&self) -> Vec<Step> {
        let Some((parent, step)) = self.step else {
            return Vec::new();
        };
        let mut path = parent.path();
        path.push(match step {
            BorrowedStep::Key(key) => Step::Key(key.to_owned()),
            BorrowedStep::Index(index) => Step::Index(index),
        });
        path
    }

    /// What stands here, for people.
    pub(crate) fn subject(&self) -> String {
        match self.step {
            Some((_, BorrowedStep::Index(_))) => format!("each of `{}`", self.name()),
            _ => format!("`{}`", self.name()),
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
}

impl<'p> Reading<'p> {
    pub(crate) fn new(places: &'p dyn Places) -> Self {
        Self {
            places,
            problems: Vec::new(),
            templates: None,
            refused_nulls: false,
            folder: None,
            last_pattern: None,
        }
    }

    /// Notes a problem with a value. The caller may give it a help.
    pub(crate) fn refuse(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        label: &str,
    ) -> &mut Problem {
        self.note(at, Part::Value, message.into(), label)
    }

    /// Notes a problem with a key. The caller may give it a help.
    pub(crate) fn refuse_key(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        label: &str,
    ) -> &mut Problem {
        self.note(at, Part::Key, message.into(), label)
    }

    fn note(&mut self, at: &At<'_>, part: Part, message: String, label: &str) -> &mut Problem {
        let places = self.places.places(&at.path(), part, label);
        self.problems.push(Problem::new(message).at_all(places));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Notes that a value is of another kind than expected, and reads nothing.
    pub(crate) fn refuse_kind<T>(
        &mut self,
        at: &At<'_>,
        value: &Value,
        expected: &str,
    ) -> Option<T> {
        let message = format!("{} must be {expected}", at.subject());
        self.refuse(at, message, &format!("this is {}", kind(value)));
        None
    }

    /// Notes what is wrong with a value of the right kind, and reads nothing.
    pub(crate) fn refuse_value<T>(
        &mut self,
        at: &At<'_>,
        expected: &str,
        reason: &str,
    ) -> Option<T> {
        let message = format!("{} must be {expected}: {reason}", at.subject());
        self.refuse(at, message, "here");
        None
    }

    /// Adds the place of a value that the last problem's contradicts.
    pub(crate) fn also(&mut self, at: &At<'_>, label: &str) {
        let places = self.places.places(&at.path(), Part::Value, label);
        if let Some(problem) = self.problems.last_mut() {
            problem.places.extend(places);
        }
    }

    /// Parses a template and refuses paths in it that lead nowhere whatever the values are.
    pub(crate) fn template(&mut self, at: &At<'_>, text: &str, roots: Roots) -> Option<Template> {
        const LABEL: &str = "this template";
        let template = Template::parse(text);
        let checked = template.and_then(|read| read.check_roots(roots).map(|()| read));
        let template = match checked {
            Ok(template) => template,
            Err(error) => {
                let is_secret =
                    matches!(&error, TemplateError::Root { root, .. } if root == "secret");
                let problem = self.refuse(at, error.to_string(), LABEL);
                if is_secret && roots == COMMAND_ROOTS {
                    problem.help = Some(SECRET_HELP.to_owned());
                }
                return None;
            }
        };
        if roots == ENV_ROOTS {
            for message in unnamed_secrets(&template) {
                self.refuse(at, message, LABEL);
            }
        }
        if roots == LIST_ROOTS {
            let is_known = |keys: &[String]| matches!(keys, [key] if FILE_KEYS.contains(&&**key));
            for keys in template.keys_of("file").filter(|keys| !is_known(keys)) {
                let message = format!("there is no `{}`", dotted("file", keys));
                let key = keys.first().map_or("", String::as_str);
                let help = suggest(key, FILE_KEYS.iter().copied());
                self.refuse(at, message, LABEL).help = Some(help);
            }
            let behind = |keys: &&[String]| !keys.is_empty();
            for keys in template.keys_of("row_number").filter(behind) {
                let message = format!("there is no `{}`", dotted("row_number", keys));
                self.refuse(at, message, LABEL).help = Some("`row_number` is a number".to_owned());
            }
        }
        Some(template)
    }
}

/// A path as templates write it.
pub(crate) fn dotted(root: &str, keys: &[String]) -> String {
    keys.iter().fold(root.to_owned(), |path, key| path + "." + key)
}

/// Names what was probably meant, or what there is.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    const MAX_NAMED: usize = 24;
    let distances = known.clone().map(|candidate| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance, candidate)
    });
    let nearest = distances.min_by_key(|(distance, _)| *distance);
    if let Some((distance, candidate)) = nearest
        && distance <= 1 + candidate.len().min(name.len()) / 3
    {
        return format!("did you mean `{candidate}`?");
    }
    let named = known.clone().take(MAX_NAMED);
    let mut names: Vec<_> = named.map(|name| format!("`{name}`")).collect();
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
