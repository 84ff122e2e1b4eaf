//! What the templates of a command take from its configuration and from tests, so that what is not there is found before
//! anything runs.

use runner_model::{
    provider::{Provider, Stdin},
    template::{Template, lookup},
};
use serde_json::Value;

use crate::{
    problem::Problem,
    reading::{Part, Places, Step, dotted, kind, suggest},
};

/// What one template of a provider takes.
pub(crate) struct Need<'s> {
    /// Where the template stands in the scenario.
    pub(crate) path: Vec<Step>,
    keys: &'s [String],
    /// Whether it may have a NUL, which no argument can.
    takes_nul: bool,
}

/// What the templates of a provider take from its `root`: `input` or `config`.
pub(crate) fn needs<'s>(provider: &'s Provider, root: &'static str) -> Vec<Need<'s>> {
    let needs = templates(provider).flat_map(|(path, template, takes_nul)| {
        template.keys_of(root).map(move |keys| Need {
            path: path.clone(),
            keys,
            takes_nul,
        })
    });
    needs.collect()
}

/// Reports what templates of a provider want and will never have, whatever its tests are.
pub(crate) fn never_there(provider: &Provider, places: &dyn Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &[Step], mut problem: Problem| {
        problem.places = places.places(path, Part::Value, "this template");
        problems.push(problem);
    };
    for (path, template, takes_nul) in templates(provider) {
        if !takes_nul && template.text().contains('\0') {
            refuse(&path, Problem::new("an argument cannot have a NUL in it"));
        }
    }
    for need in needs(provider, "config") {
        if let Some(problem) = need.lack("config", &provider.config, &|| "the provider".to_owned())
        {
            refuse(&need.path, problem);
        }
    }
    problems
}

/// The templates of a provider: where they stand, and whether they may have a NUL.
fn templates(provider: &Provider) -> impl Iterator<Item = (Vec<Step>, &Template, bool)> {
    let at = |key: &str| {
        let steps = ["providers", &provider.name, key];
        steps.map(|key| Step::Key(key.to_owned())).to_vec()
    };
    let args = provider.args.iter().enumerate();
    let args = args.map(move |(index, template)| {
        let mut path = at("args");
        path.push(Step::Index(index));
        (path, template, false)
    });
    let stdin = provider.stdin.iter().filter_map(|stdin| match stdin {
        Stdin::Text(template) => Some(template),
        Stdin::File { .. } => None,
    });
    args.chain(stdin.map(move |template| (at("stdin"), template, true)))
}

impl Need<'_> {
    /// Says what is not in a value, without a place.
    pub(crate) fn lack(
        &self,
        root: &str,
        value: &Value,
        who: &dyn Fn() -> String,
    ) -> Option<Problem> {
        let path = || dotted(root, self.keys);
        match lookup(value, self.keys) {
            None => {
                let mut problem = Problem::new(format!("{} has no `{}`", who(), path()));
                problem.help = there_is(root, value, self.keys);
                Some(problem)
            }
            Some(Value::String(text)) if text.contains('\0') && !self.takes_nul => {
                let message = format!(
                    "an argument cannot have a NUL in it, and `{}` of {} has one",
                    path(),
                    who()
                );
                Some(Problem::new(message))
            }
            Some(_) => None,
        }
    }
}

/// Says what there is as far as `keys` lead.
fn there_is(root: &str, value: &Value, keys: &[String]) -> Option<String> {
    let lengths = (0..keys.len()).rev();
    let (length, found) = lengths
        .filter_map(|length| Some((length, lookup(value, &keys[..length])?)))
        .next()?;
    let place = dotted(root, &keys[..length]);
    match found {
        Value::Object(map) if map.is_empty() => None,
        Value::Object(map) => Some(suggest(&keys[length], map.keys().map(String::as_str))),
        Value::Null => None,
        Value::Array(items) => Some(format!("`{place}` has {} elements, from 0", items.len())),
        other => Some(format!("`{place}` is {}, with nothing inside", kind(other))),
    }
}
