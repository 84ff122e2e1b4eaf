//! From what a provider is granted, as the scenario writes it, to what its attempts get.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Map, Value};

use crate::{
    model::{FsMode, Grants},
    plugin::{CommandForm, Kind, Mount, Secrets},
    record::ManifestGrants,
    scenario::Template,
};

const NET_OF_MODULE: &str = "`net` does nothing for a module of WASI preview 1, which has no network; a component \
                             has one by `wasi:http`";
const SECRETS_OF_MODULE: &str = "`secrets` does nothing for a module of WASI preview 1; it gets one by `env`, as in \
                                 `env = { TOKEN = \"{{secret.API_KEY}}\" }`";
const SECRETS_WITHOUT_NET: &str = "`secrets` without `net` does nothing for a command, which gets one only in the \
                                   headers of its requests, or by `env`, as in \
                                   `env = { TOKEN = \"{{secret.API_KEY}}\" }`";

/// The environment variables of a provider's attempts.
pub struct Environment {
    variables: Vec<(String, Template)>,
    /// What `secret` stands for in them.
    secrets: Value,
}

impl Environment {
    /// Takes the variables of `grants`, whose templates are valid, and the secrets that they may stand for.
    pub fn new(grants: &Grants, secrets: &Secrets) -> Self {
        let secrets = secret_names(grants).into_iter().filter_map(|name| {
            let value = secrets.get(&name)?.into();
            Some((name, value))
        });
        Self {
            variables: variables(grants).collect(),
            secrets: secrets.collect::<Map<_, _>>().into(),
        }
    }

    /// Tells whether there is no variable.
    pub(in crate::run) fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// Fills the variables in; the error says which cannot be.
    pub fn render(&self, input: &Value, config: &Value) -> Result<Vec<(String, String)>, String> {
        let roots = [
            ("input", input),
            ("config", config),
            ("secret", &self.secrets),
        ];
        let variables = self.variables.iter();
        let render = |(name, template): &(String, Template)| {
            let value = template.render_text(&roots);
            let value = value.map_err(|missing| format!("{missing}, which `env.{name}` needs"))?;
            if value.contains('\0') {
                return Err(format!("`env.{name}` cannot have a NUL in its value"));
            }
            Ok((name.clone(), value))
        };
        variables.map(render).collect()
    }
}

/// Finds the folders that are granted, wherever the process is when it uses them; the error says which is not there.
pub fn mounts(grants: &Grants, directory: &Path) -> Result<Vec<Mount>, String> {
    let mounts = grants.fs.iter().map(|grant| {
        let path = directory.join(&grant.path);
        let is_writable = grant.mode == FsMode::ReadWrite;
        Mount::find(&path, &grant.mount, is_writable)
            .map_err(|error| format!("a granted folder: {error}"))
    });
    mounts.collect()
}

/// Takes the folders that a provider was granted when its run began; they may be gone.
pub(in crate::run) fn stored_mounts(stored: &ManifestGrants) -> Vec<Mount> {
    let folders = stored.fs.iter().map(|folder| {
        let is_writable = folder.mode == FsMode::ReadWrite.as_str();
        Mount::stored(&folder.folder, &folder.mount, is_writable)
    });
    folders.collect()
}

/// What of `grants` a plugin of this kind can do nothing with.
///
/// Only components can send requests, and only those of the contract can ask for secrets.
pub(in crate::run) fn idle(
    grants: &Grants,
    kind: Kind,
) -> impl Iterator<Item = &'static str> + use<> {
    let (has_net, has_secrets) = (
        !grants.net.is_empty(),
        !grants.secrets.is_empty() || !grants.bound_secrets.is_empty(),
    );
    let (net, secrets) = match kind {
        Kind::Component { .. } => (None, None),
        Kind::Command(CommandForm::Module) => (
            has_net.then_some(NET_OF_MODULE),
            has_secrets.then_some(SECRETS_OF_MODULE),
        ),
        Kind::Command(CommandForm::Component) => (
            None,
            (has_secrets && !has_net).then_some(SECRETS_WITHOUT_NET),
        ),
    };
    net.into_iter().chain(secrets)
}

/// The secrets that a provider of this kind is granted; what has no value in `values` is not there for it.
///
/// Only a component of the contract can ask for one: what a command is not handed in its environment, nor what is bound to
/// a header, its guest never knows.
pub fn secrets(grants: &Grants, kind: Kind, values: &BTreeMap<String, String>) -> Secrets {
    let mut known = in_variables(grants);
    if matches!(kind, Kind::Component { .. }) {
        known.extend(grants.secrets.iter().cloned());
    }
    let names = secret_names(grants);
    let places = names.iter().filter(|name| !known.contains(*name));
    let places = places.map(|name| {
        let bound = grants.bound_secrets.iter();
        let bound = bound.filter(|bound| bound.name == *name && !grants.secrets.contains(name));
        (name.clone(), bound.cloned().collect())
    });
    let values = names.iter().filter_map(|name| {
        let value = values.get(name)?.clone();
        Some((name.clone(), value))
    });
    Secrets::hiding(values.collect(), places.collect())
}

/// The names of all secrets that are granted: those to be asked for, those for headers, and those in environment
/// variables.
pub fn secret_names(grants: &Grants) -> BTreeSet<String> {
    let asked_for = grants.secrets.iter().cloned();
    let bound = grants.bound_secrets.iter().map(|bound| bound.name.clone());
    let in_variables = in_variables(grants).into_iter();
    asked_for.chain(bound).chain(in_variables).collect()
}

/// The names of the secrets in environment variables. What a variable uses is granted by that: to name it in `secrets`, too,
/// would only be a second chance to forget it.
fn in_variables(grants: &Grants) -> BTreeSet<String> {
    let templates = variables(grants).flat_map(|(_, template)| {
        let keys = template.keys_of("secret");
        keys.flatten().cloned().collect::<Vec<_>>()
    });
    templates.collect()
}

fn variables(grants: &Grants) -> impl Iterator<Item = (String, Template)> {
    grants.env.iter().map(|(name, text)| {
        let template = Template::parse(text).expect("a valid scenario has valid templates");
        (name.clone(), template)
    })
}
