//! What providers take from their configuration and from tests, by templates and as attachments, so that what is not there
//! is found before anything runs.

use runner_model::{
    provider::{Provider, Stdin},
    template::{Template, lookup},
};
use serde_json::Value;

use crate::{
    problem::Problem,
    reading::{Part, Places, Step, dotted, keys, kind, suggest},
};

const NUL: &str = "neither an argument nor a variable can have a NUL in it";

/// What one key of a provider takes from each of its tests.
pub(crate) struct Need<'s> {
    /// Where the key stands in the scenario.
    pub(crate) path: Vec<Step>,
    what: What<'s>,
}

enum What<'s> {
    /// A value behind these keys.
    Value {
        keys: &'s [String],
        /// Whether it may have a NUL, which no argument can.
        takes_nul: bool,
    },
    /// The attachment of this name.
    File(&'s str),
}

/// What a provider takes from its tests.
pub(crate) fn needs(provider: &Provider) -> Vec<Need<'_>> {
    let mut needs = needs_of(provider, "input");
    if let Some(Stdin::File { file }) = &provider.stdin {
        let path = keys(["providers", &provider.name, "stdin", "file"]);
        let what = What::File(file);
        needs.push(Need { path, what });
    }
    needs
}

/// What the templates of a provider take from a root: `input` or `config`.
fn needs_of<'s>(provider: &'s Provider, root: &'static str) -> Vec<Need<'s>> {
    let needs = templates(provider).flat_map(|(path, template, takes_nul)| {
        template
            .keys_of(root)
            .map(move |keys| Need { path: path.clone(), what: What::Value { keys, takes_nul } })
    });
    needs.collect()
}

/// Reports what templates of a provider want and will never have, whatever its tests are.
pub(crate) fn never_there(provider: &Provider, places: &dyn Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &[Step], problem: Problem| {
        problems.push(problem.at_all(places.places(path, Part::Value, "this template")));
    };
    for (path, template, takes_nul) in templates(provider) {
        if !takes_nul && template.to_string().contains('\0') {
            refuse(&path, Problem::new(NUL));
        }
    }
    for need in needs_of(provider, "config") {
        let who = || "the provider".to_owned();
        if let Some(problem) = need.lack("config", &provider.config, &[], &who) {
            refuse(&need.path, problem);
        }
    }
    problems
}

/// The templates of a provider: where they stand, and whether they may have a NUL.
fn templates(provider: &Provider) -> impl Iterator<Item = (Vec<Step>, &Template, bool)> {
    let at = |inside: &[&str]| {
        let above = ["providers", &provider.name];
        keys(above.iter().chain(inside).copied())
    };
    let args = provider.args.iter().enumerate();
    let args = args.map(move |(index, template)| {
        let mut path = at(&["args"]);
        path.push(Step::Index(index));
        (path, template, false)
    });
    let stdin = provider.stdin.iter().filter_map(move |stdin| match stdin {
        Stdin::Text(template) => Some((at(&["stdin"]), template, true)),
        Stdin::File { .. } => None,
    });
    let env = provider.grants.env.iter();
    let env = env.map(move |(name, template)| (at(&["grants", "env", name]), template, false));
    args.chain(stdin).chain(env)
}

impl Need<'_> {
    /// Says what a test, or a configuration, does not have, without a place; `files` are its attachments.
    pub(crate) fn lack(
        &self,
        root: &str,
        value: &Value,
        files: &[(String, String)],
        who: &dyn Fn() -> String,
    ) -> Option<Problem> {
        let (keys, takes_nul) = match self.what {
            What::Value { keys, takes_nul } => (keys, takes_nul),
            What::File(name) => return lacks_file(name, files, who),
        };
        let path = || dotted(root, keys);
        match lookup(value, keys) {
            None => {
                let mut problem = Problem::new(format!("{} has no `{}`", who(), path()));
                problem.help = there_is(root, value, keys);
                Some(problem)
            }
            Some(Value::String(text)) if text.contains('\0') && !takes_nul => {
                let message = format!("{NUL}, and `{}` of {} has one", path(), who());
                Some(Problem::new(message))
            }
            Some(_) => None,
        }
    }
}

fn lacks_file(name: &str, files: &[(String, String)], who: &dyn Fn() -> String) -> Option<Problem> {
    let names = files.iter().map(|(name, _)| name.as_str());
    if names.clone().any(|known| known == name) {
        return None;
    }
    let mut problem = Problem::new(format!("{} has no attachment `{name}`", who()));
    problem.help = (!files.is_empty()).then(|| suggest(name, names));
    Some(problem)
}

/// Says what there is as far as `keys` lead.
fn there_is(root: &str, value: &Value, keys: &[String]) -> Option<String> {
    let lengths = (0..keys.len()).rev();
    let (length, found) =
        lengths.filter_map(|length| Some((length, lookup(value, &keys[..length])?))).next()?;
    let place = dotted(root, &keys[..length]);
    match found {
        Value::Object(map) if map.is_empty() => None,
        Value::Object(map) => Some(suggest(&keys[length], map.keys().map(String::as_str))),
        Value::Null => None,
        Value::Array(items) => Some(format!("`{place}` has {} elements, from 0", items.len())),
        other => Some(format!("`{place}` is {}, with nothing inside", kind(other))),
    }
}
