//! [`Reader`]: the settings and the problems of one read.

use runner_model::grants::is_secret_name;
pub(crate) use runner_model::provider::{COMMAND_ROOTS, ENV_ROOTS};
use runner_model::template::{Template, TemplateError, TemplatePiece};
use serde_json::Value;

use crate::project::{Project, Refusal};
use crate::reading::placeholders::{escape_help, places_of};
use crate::reading::{At, Part, Places, Step, dotted, is_pattern};
use crate::{problem::Problem, stored_files::StoredFiles};

/// First keys that a template may have.
pub(crate) type Roots = &'static [&'static str];

/// Roots of templates in a test list.
pub(crate) const LIST_ROOTS: Roots = &["row", "file", "row_number"];
/// Roots of templates that the values of a matrix fill.
pub(crate) const MATRIX_ROOTS: Roots = &["matrix"];
/// Help on `{{secret.KEY}}` outside of the environment.
const SECRET_HELP: &str =
    "secrets reach a provider by its environment: `grants.env = { KEY = \"{{secret.KEY}}\" }`";
/// Message about the filter in another place.
pub(crate) const FILTER_PLACES: &str = "`|regex` is only for `matches` of `expect`";
/// Keys of `file` in templates of a test list.
const FILE_KEYS: &[&str] = &["dir", "name", "path", "stem"];

/// The part of a scenario that needs a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileOwner {
    Provider(String),
    /// Tests, or the tests of a list.
    Tests,
    /// A list, which has this index, for its records.
    List(usize),
    /// A list that may lack it.
    Optional,
}

/// Settings and problems of one read.
pub(crate) struct Reader<'p> {
    places: &'p dyn Places,
    pub(crate) problems: Vec<Problem>,
    /// Roots of templates, if any string may be a template.
    pub(crate) templates: Option<Roots>,
    /// The end of the message about a placeholder of the runner, in a file where none has a value.
    pub(crate) no_placeholders: Option<&'static str>,
    /// Whether a null is a number that was reported before. In the records of a list it is a value.
    pub(crate) refused_nulls: bool,
    /// Problems of files that a selection may not need.
    pub(crate) missing_files: Vec<(FileOwner, Problem)>,
    /// The project in which named files are looked for. `None` skips looking for them.
    pub(crate) project: Option<&'p Project>,
    /// The files that providers name. Without a project, those of the stored scenario.
    pub(crate) files: StoredFiles,
    /// The starts of the names that invalid matrices would have made.
    pub(crate) missing_names: Vec<String>,
    /// The last valid regular expression.
    pub(crate) last_pattern: Option<String>,
    /// Whether the texts are those of a record, whose blank cells are missing answers.
    pub(crate) is_of_record: bool,
}

impl<'p> Reader<'p> {
    pub(crate) fn new(places: &'p dyn Places) -> Self {
        Self {
            places,
            problems: Vec::new(),
            templates: None,
            no_placeholders: None,
            refused_nulls: false,
            missing_files: Vec::new(),
            project: None,
            files: StoredFiles::default(),
            missing_names: Vec::new(),
            last_pattern: None,
            is_of_record: false,
        }
    }

    /// Reports a problem with a value. The caller may add a help.
    pub(crate) fn refuse(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        label: &str,
    ) -> &mut Problem {
        self.report(at, Part::Value, message.into(), label)
    }

    /// Reports a file that is not read. `file` starts the message.
    pub(crate) fn refuse_file(&mut self, at: &At<'_>, file: &str, refusal: Refusal, label: &str) {
        self.refuse(at, format!("{file} {}", refusal.reason), label).help = refusal.help;
        self.defer_missing_file(at);
    }

    /// Moves the last problem, which is about a file, to the missing files. Those of `[run]` and `[known]`
    /// stay, since every selection needs them.
    pub(crate) fn defer_missing_file(&mut self, at: &At<'_>) {
        let owner = match &at.path()[..] {
            [Step::Key(table), ..] if table == "run" || table == "known" => return,
            [_, Step::Key(name), ..] => FileOwner::Provider(name.clone()),
            [Step::Key(root), Step::Item(index), Step::Key(key), ..]
                if root == "test_lists"
                    && ["files", "attachments", "plugin", "grants"].contains(&&**key) =>
            {
                FileOwner::List(*index)
            }
            _ => FileOwner::Tests,
        };
        self.missing_files.extend(self.problems.pop().map(|problem| (owner, problem)));
    }

    /// Reports a problem with a key. The caller may add a help.
    pub(crate) fn refuse_key(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        label: &str,
    ) -> &mut Problem {
        self.report(at, Part::Key, message.into(), label)
    }

    fn report(&mut self, at: &At<'_>, part: Part, message: String, label: &str) -> &mut Problem {
        let places = self.places.places(&at.path(), part, label);
        self.problems.push(Problem::new(message).at_all(places));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Reports a value of the wrong kind. Returns `None`.
    pub(crate) fn refuse_kind<T>(
        &mut self,
        at: &At<'_>,
        value: &Value,
        expected: &str,
    ) -> Option<T> {
        // The label is not shown if a placeholder made the value.
        let instead = if value.is_null() { ", not null" } else { "" };
        let message = format!("{} must be {expected}{instead}", at.subject());
        let problem = self.refuse(at, message, &format!("this is {}", kind(value)));
        problem.help = example(expected, value, at.name());
        None
    }

    /// Reports a wrong value of the right kind. Returns `None`.
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

    /// Adds the place of a value that the last problem contradicts.
    pub(crate) fn add_place(&mut self, at: &At<'_>, label: &str) {
        let places = self.places.places(&at.path(), Part::Value, label);
        if let Some(problem) = self.problems.last_mut() {
            problem.places.extend(places);
        }
    }

    /// Parses a template. Reports paths in it that no value can have.
    pub(crate) fn template(&mut self, at: &At<'_>, text: &str, roots: Roots) -> Option<Template> {
        const LABEL: &str = "this template";
        let parsed = Template::parse(text)
            .and_then(|template| template.check_roots(roots).map(|()| template));
        let template = match parsed {
            Ok(template) => template,
            Err(error) => {
                let help = match &error {
                    TemplateError::Root { root, .. }
                        if root == "secret" && roots == COMMAND_ROOTS =>
                    {
                        Some(SECRET_HELP.to_owned())
                    }
                    TemplateError::Root { path, .. } => Some(root_help(path)),
                    TemplateError::Unclosed | TemplateError::Path(_) => None,
                };
                self.refuse(at, error.to_string(), LABEL).help = help;
                return None;
            }
        };
        if template.pieces().iter().any(|piece| matches!(piece, TemplatePiece::Expression(_)))
            && !is_pattern(&at.path())
        {
            self.refuse(at, FILTER_PLACES, LABEL);
            return None;
        }
        for root in ["run", "trial"] {
            for keys in template.keys_of(root).filter(|keys| *keys != ["id"]) {
                let message = format!("there is no `{}`", dotted(root, keys));
                self.refuse(at, message, LABEL).help = Some(format!("write `{{{{{root}.id}}}}`"));
            }
        }
        if roots == ENV_ROOTS {
            for keys in template.keys_of("secret") {
                if !matches!(keys, [name] if is_secret_name(name)) {
                    let path = dotted("secret", keys);
                    let message = format!("`{{{{{path}}}}}` is not the name of a secret");
                    self.refuse(at, message, LABEL).help =
                        Some("write a name such as `{{secret.API_KEY}}`".to_owned());
                }
            }
        }
        if roots == LIST_ROOTS {
            for keys in template.keys_of("file") {
                if !matches!(keys, [key] if FILE_KEYS.contains(&&**key)) {
                    let message = format!("there is no `{}`", dotted("file", keys));
                    let key = keys.first().map_or("", String::as_str);
                    let help = suggest(key, FILE_KEYS.iter().copied());
                    self.refuse(at, message, LABEL).help = Some(help);
                }
            }
            for keys in template.keys_of("row_number").filter(|keys| !keys.is_empty()) {
                let message = format!("there is no `{}`", dotted("row_number", keys));
                self.refuse(at, message, LABEL).help = Some("`row_number` is a number".to_owned());
            }
        }
        Some(template)
    }
}

/// Returns a help on a placeholder that has no value where it is.
fn root_help(path: &str) -> String {
    let escaped = escape_help(path);
    match places_of(path) {
        Some(places) => format!("`{{{{{path}}}}}` {places}; {escaped}"),
        None => escaped,
    }
}

/// Returns a help with a line to write instead of a value of the wrong kind.
fn example(expected: &str, value: &Value, key: &str) -> Option<String> {
    let is_of_keys = matches!(expected, "a table" | "an array");
    let right = match (value, key) {
        (Value::Array(_), "providers") if expected == "a table" => {
            return Some("write a table for each provider: `[providers.NAME]`".to_owned());
        }
        (Value::Object(_), "tests" | "test_lists") => {
            return Some(format!("write a table for each element: `[[{key}]]`"));
        }
        (_, "run" | "defaults") if is_of_keys => return Some(format!("write a table: `[{key}]`")),
        (Value::Number(max), "retries") if is_of_keys => format!("{{ max = {max} }}"),
        (_, "retries") if is_of_keys => "{ max = 3 }".to_owned(),
        (_, "net") if is_of_keys => r#"["https://example.com"]"#.to_owned(),
        (_, "fs") if is_of_keys => {
            r#"[{ path = "data", mount = "/data", mode = "ro" }]"#.to_owned()
        }
        (_, "env") if is_of_keys => r#"{ NAME = "value" }"#.to_owned(),
        (_, "grants") if is_of_keys => r#"{ net = ["https://example.com"] }"#.to_owned(),
        (_, "limits") if is_of_keys => r#"{ memory = "64MiB" }"#.to_owned(),
        (_, "budget") if is_of_keys => "{ tokens = 100_000 }".to_owned(),
        (_, "matrix") if is_of_keys => r#"{ size = ["small", "large"] }"#.to_owned(),
        (_, "meta") if is_of_keys => r#"{ topic = "birds" }"#.to_owned(),
        (_, "expect") if is_of_keys => r#"{ equals = "x" }"#.to_owned(),
        (_, "stderr" | "not") if is_of_keys => r#"{ contains = "x" }"#.to_owned(),
        (_, "files" | "attachments") if expected == "a table" => {
            r#"{ report = "data/report.txt" }"#.to_owned()
        }
        (Value::String(_) | Value::Number(_), _) if expected == "an array" => format!("[{value}]"),
        (Value::Number(_) | Value::Bool(_), _) if ["a string", "a test id"].contains(&expected) => {
            format!("\"{value}\"")
        }
        (Value::Object(_), "secrets") => r#"["KEY"]"#.to_owned(),
        (Value::String(text), _) if !expected.contains("string") => serde_json::from_str(text)
            .ok()
            .filter(|value| {
                let is_number = expected.contains("integer") || expected.contains("number");
                is_number && Value::is_number(value)
                    || expected.contains("`true`") && value.is_boolean()
            })?
            .to_string(),
        _ => return None,
    };
    Some(format!("for example: `{key} = {right}`"))
}

/// Returns a help that names the most similar known name, or lists the known names.
pub(crate) fn suggest<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    const MAX_NAMED: usize = 24;
    if let Some(nearest) = similar(name, known.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let mut names: Vec<_> = known.clone().take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
    let more = known.skip(MAX_NAMED).count();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if names.is_empty() {
        return "there is nothing to choose from".to_owned();
    }
    format!("choose from: {}", names.join(", "))
}

/// Returns the known name that `name` may be a slip of.
pub fn similar<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let slips = known.filter_map(|known| Some((slip_distance(name, known)?, known)));
    slips.min_by_key(|(distance, _)| *distance).map(|(_, nearest)| nearest)
}

/// Returns the distance of two names, without regard to case. `None` if `name` is rarely a slip: more than a third of the shorter
/// one differs, and it is not the start of `known`.
pub(crate) fn slip_distance(name: &str, known: &str) -> Option<usize> {
    const MIN_START: usize = 3;
    let name = name.to_lowercase();
    let known = known.to_lowercase();
    let distance = strsim::damerau_levenshtein(&name, &known);
    let is_start = name.len() >= MIN_START && known.starts_with(&name);
    let most = (known.len().min(name.len()) / 3).max(1);
    (is_start || distance <= most).then_some(distance)
}

/// Returns a value's kind for messages.
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
