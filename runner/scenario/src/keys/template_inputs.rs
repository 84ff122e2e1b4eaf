//! Values that the templates and attachments of providers need, so that missing ones are reported before anything runs.

use std::fmt::Display;

use runner_model::provider::{Arguments, OutputForm, PreparedProvider, Provider, Stdin};
use runner_model::template::{Template, lookup};
use serde_json::Value;

use crate::reading::{Part, Places, Step, dotted, keys, kind, suggest};
use crate::{grants_toml::written_name, keys::WrittenTest, problem::Problem};

// The command gets both as C strings, which end at a NUL.
const NUL: &str = "arguments and variables cannot contain a NUL";

/// A value or an attachment that a key of a provider needs from each of its tests.
pub(crate) struct TestInput<'s> {
    /// The path of the key in the scenario.
    pub(crate) path: Vec<Step>,
    kind: InputKind<'s>,
}

enum InputKind<'s> {
    /// The path of a value in the test's `input`.
    Value { keys: &'s [String], allows_nul: bool },
    /// The name of an attachment.
    File(&'s str),
}

/// A template of a provider, and its path in the scenario.
struct PlacedTemplate<'s> {
    path: Vec<Step>,
    template: &'s Template,
    allows_nul: bool,
}

/// Returns the inputs that a provider needs from each of its tests, or a grader from each test that names it.
pub(crate) fn test_inputs(provider: &Provider) -> Vec<TestInput<'_>> {
    let mut inputs = Vec::new();
    // The input of a tool is that of each call.
    if provider.tool.is_some() {
        return inputs;
    }
    // Only these templates of a grader are about the input of a test.
    if let Some(grading) = &provider.grading {
        for (place, template) in grading.workspace.iter().flat_map(|workspace| &workspace.hidden) {
            let path = keys(["graders", &provider.name, "hidden", place]);
            inputs.extend(template.keys_of("input").map(|keys| TestInput {
                path: path.clone(),
                kind: InputKind::Value { keys, allows_nul: true },
            }));
        }
        return inputs;
    }
    for PlacedTemplate { path, template, allows_nul } in templates(provider) {
        inputs.extend(template.keys_of("input").map(|keys| TestInput {
            path: path.clone(),
            kind: InputKind::Value { keys, allows_nul },
        }));
    }
    if let Some(Stdin::File { file }) = &provider.stdin
        && provider.files.iter().all(|known| known.name != *file)
    {
        let path = keys(["providers", &provider.name, "stdin", "file"]);
        inputs.push(TestInput { path, kind: InputKind::File(file) });
    }
    inputs
}

/// Returns the problems of a provider's templates that its tests cannot change.
pub(crate) fn check_templates(provider: &Provider, places: &dyn Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    for PlacedTemplate { path, template, allows_nul } in templates(provider) {
        let has_nul = !allows_nul && template.to_string().contains('\0');
        let found = template
            .keys_of("config")
            .filter_map(|keys| {
                missing_value("config", keys, &provider.config, allows_nul, &"the provider")
            })
            .chain(has_nul.then(|| Problem::new(NUL)));
        let place =
            |problem: Problem| problem.at_all(places.places(&path, Part::Value, "this template"));
        problems.extend(found.map(place));
    }
    problems
}

/// Returns a warning for each value that never reaches its plugin: the output that a grader judges, `config` of a plain command,
/// and the `input` of its tests if `has_input`.
pub fn unseen_values(prepared: &PreparedProvider, has_input: bool) -> Vec<String> {
    let provider = &prepared.provider;
    let is_plain = prepared.is_plain();
    let role = provider.role();
    let name = written_name(&provider.name);
    let lacks = |root: &str| {
        is_plain
            && !templates(provider).iter().any(|placed| placed.template.keys_of(root).count() > 0)
    };
    let mut warnings: Vec<_> = blind_grader(provider, is_plain).into_iter().collect();
    warnings.extend(fooled_grader(provider, is_plain));
    if has_input && provider.is_tested() && lacks("input") {
        warnings.push(format!(
            "provider `{name}` never gets the `input` of its tests: pass it, such as by `stdin = \"{{{{input}}}}\"`"
        ));
    }
    if provider.config.as_object().is_some_and(|config| !config.is_empty()) && lacks("config") {
        warnings.push(format!(
            "{role} `{name}` never gets its `config`: a plain command has it only as `{{{{config.KEY}}}}` in `args`, `stdin` or `grants.env`"
        ));
    }
    warnings
}

/// Returns a warning if a grader answers every output alike, because no placeholder inserts one.
///
/// Metrics count as an output, and so does a workspace. Without `input`, its input has all of them, and only a plain command can leave them out.
fn blind_grader(provider: &Provider, is_plain: bool) -> Option<String> {
    let grading = provider.grading.as_ref().filter(|grading| grading.workspace.is_none())?;
    let input = grading.input.as_ref();
    let reads_none = input.is_some_and(|input| !has_placeholder(input, is_output));
    let is_passed = templates(provider).iter().any(|placed| {
        placed.template.keys_of("input").any(|keys| {
            input.is_some() || keys.first().is_none_or(|first| is_output(first.as_str()))
        })
    });
    let fault = if reads_none {
        "its `input` has no `{{output}}` and no `{{metrics}}`"
    } else if is_plain && !is_passed {
        "its `args` and `stdin` have no `{{input.output}}`"
    } else {
        return None;
    };
    Some(format!("grader `{}` judges every output alike: {fault}", provider.name))
}

/// Returns a warning if a program with an agent's workspace and files of its own, which are its tests, judges by its exit code:
/// code of the agent that it runs can exit with 0 before a test has run.
fn fooled_grader(provider: &Provider, is_plain: bool) -> Option<String> {
    let workspace = provider.grading.as_ref()?.workspace.as_ref()?;
    let has_files = !workspace.hidden.is_empty() || !provider.grants.fs.is_empty();
    let is_fooled = is_plain && provider.output != OutputForm::Json && has_files;
    is_fooled.then(|| {
        format!(
            "grader `{}` judges by its exit code alone: code from the workspace that it runs itself can end it with 0; docs/agents.md has judges that run it as a tool",
            provider.name
        )
    })
}

fn is_output(root: &str) -> bool {
    ["output", "metrics"].contains(&root)
}

/// Returns whether a text in a value has a placeholder with such a root.
fn has_placeholder(value: &Value, is_root: impl Fn(&str) -> bool + Copy) -> bool {
    match value {
        Value::String(text) => Template::parse(text)
            .is_ok_and(|template| template.paths().any(|path| is_root(path[0].as_str()))),
        Value::Array(items) => items.iter().any(|item| has_placeholder(item, is_root)),
        Value::Object(map) => map.values().any(|item| has_placeholder(item, is_root)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn templates(provider: &Provider) -> Vec<PlacedTemplate<'_>> {
    let provider_path = keys([provider.table(), &provider.name]);
    let mut templates = Vec::new();
    let mut add = |steps: &[Step], template, allows_nul| {
        let path = [&provider_path[..], steps].concat();
        templates.push(PlacedTemplate { path, template, allows_nul });
    };
    match &provider.args {
        Arguments::Each(templates) => {
            for (index, template) in templates.iter().enumerate() {
                add(&[Step::Key("args".to_owned()), Step::Item(index)], template, false);
            }
        }
        Arguments::List(template) => add(&keys(["args"]), template, false),
    }
    if let Some(Stdin::Text(template)) = &provider.stdin {
        add(&keys(["stdin"]), template, true);
    }
    if let Some(from) = provider.workspace.as_ref().and_then(|workspace| workspace.from.as_ref()) {
        add(&keys(["workspace", "from"]), from, true);
    }
    for (name, template) in &provider.grants.env {
        add(&keys(["grants", "env", name]), template, false);
    }
    templates
}

impl TestInput<'_> {
    /// Returns the problem of a test that lacks the input, without a place.
    pub(crate) fn missing_in(&self, test: &WrittenTest) -> Option<Problem> {
        let subject = format_args!("test `{}`", test.id);
        match self.kind {
            InputKind::Value { keys, allows_nul } => {
                missing_value("input", keys, &test.input, allows_nul, &subject)
            }
            InputKind::File(name) => {
                let names = test.files.iter().map(|(name, _)| name.as_str());
                if names.clone().any(|known| known == name) {
                    return None;
                }
                let mut problem = Problem::new(format!("{subject} has no attachment `{name}`"));
                problem.help = (!test.files.is_empty()).then(|| suggest(name, names));
                Some(problem)
            }
        }
    }
}

/// Returns the problem if `value`, which is the `root` of the subject, lacks a path of keys or has a NUL in it.
fn missing_value(
    root: &str,
    keys: &[String],
    value: &Value,
    allows_nul: bool,
    subject: &dyn Display,
) -> Option<Problem> {
    match lookup(value, keys) {
        None => {
            let mut problem = Problem::new(format!("{subject} has no `{}`", dotted(root, keys)));
            problem.help = nearest_parent(root, value, keys);
            Some(problem)
        }
        Some(Value::String(text)) if text.contains('\0') && !allows_nul => {
            Some(Problem::new(format!("{NUL}, but `{}` of {subject} does", dotted(root, keys))))
        }
        Some(_) => None,
    }
}

/// Returns a help on the deepest value that exists on a path.
fn nearest_parent(root: &str, value: &Value, keys: &[String]) -> Option<String> {
    let (length, found) =
        (0..keys.len()).rev().find_map(|length| Some((length, lookup(value, &keys[..length])?)))?;
    let path = dotted(root, &keys[..length]);
    match found {
        Value::Object(map) if map.is_empty() => None,
        Value::Object(map) => Some(suggest(&keys[length], map.keys().map(String::as_str))),
        Value::Null => None,
        Value::Array(items) => Some(format!("`{path}` has {} elements, from 0", items.len())),
        other => Some(format!("`{path}` is {}, with nothing inside", kind(other))),
    }
}
