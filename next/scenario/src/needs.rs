//! What the templates of providers take from tests, so that what a test lacks is found before anything runs.

use runner_model::{provider::Provider, template::lookup};
use serde_json::Value;

use crate::{
    check,
    reading::{Step, dotted},
};

/// What one template of a provider takes from every test that runs on it.
pub(crate) struct Need<'s> {
    /// Where the template stands.
    pub(crate) path: Vec<Step>,
    keys: &'s [String],
    takes_nul: bool,
}

/// What a provider takes from its tests.
pub(crate) fn needs(provider: &Provider) -> Vec<Need<'_>> {
    let at = |key: &str| {
        let steps = ["providers", &provider.name, key];
        steps.map(|key| Step::Key(key.to_owned())).to_vec()
    };
    let args = provider.args.iter().enumerate().map(|(index, template)| {
        let mut path = at("args");
        path.push(Step::Index(index));
        (template, path, false)
    });
    let stdin = provider
        .stdin
        .iter()
        .map(|template| (template, at("stdin"), true));
    let needs = args.chain(stdin).flat_map(|(template, path, takes_nul)| {
        template.keys_of("input").map(move |keys| Need {
            path: path.clone(),
            keys,
            takes_nul,
        })
    });
    needs.collect()
}

impl Need<'_> {
    /// Says what a test with this input lacks.
    pub(crate) fn lack(&self, test: &str, input: &Value) -> Option<(String, Option<String>)> {
        let path = || dotted("input", self.keys);
        match lookup(input, self.keys) {
            None => Some(check::lack(
                "input",
                input,
                self.keys,
                &format!("test `{test}`"),
            )),
            Some(Value::String(value)) if value.contains('\0') && !self.takes_nul => {
                let message = format!(
                    "an argument cannot have a NUL in it, and `{}` of test `{test}` has one",
                    path()
                );
                Some((message, None))
            }
            Some(_) => None,
        }
    }
}
