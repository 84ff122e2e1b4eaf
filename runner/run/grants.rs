//! From what a provider is granted, as the scenario writes it, to what its attempts get.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    error::{PlanError, ProviderError},
    folders::{Protected, check_folders},
    plan::{Plan, PlannedProvider},
};
use crate::{
    model::{FsMode, Grants, Limits, ProviderId},
    plugin::{Access, CommandForm, Kind, Mount, Network, Secrets},
    record::ManifestGrants,
    scenario::{Scenario, Selection, Suite, Template},
    toolchain,
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

impl Plan {
    /// What each provider may use and touch.
    pub fn access(&self) -> impl Iterator<Item = (&ProviderId, &Limits, &Grants)> {
        let providers = self.providers.iter().flatten();
        providers.map(|provider| {
            let definition = &provider.definition;
            (&definition.id, &provider.limits, &definition.grants)
        })
    }

    /// The secrets that each provider is granted, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&ProviderId, BTreeSet<String>)> {
        let providers = self.providers.iter().flatten();
        providers.map(|provider| {
            let definition = &provider.definition;
            (&definition.id, secret_names(&definition.grants))
        })
    }

    /// Finds grants that do nothing for what a provider's plugin is, each with a sentence that says so.
    pub fn idle_grants(&self) -> impl Iterator<Item = (&ProviderId, &'static str)> {
        let providers = self.providers.iter().flatten();
        providers.flat_map(|provider| {
            let definition = &provider.definition;
            let idle = idle(&definition.grants, provider.file.kind);
            idle.map(|idle| (&definition.id, idle))
        })
    }

    /// Finds the folders again that providers are granted, and checks that none lets a guest get at more than that, such
    /// as at what is `protected`, or at what the plan itself is made of.
    ///
    /// Done once, before any guest runs: those of a run may be gone since it began.
    pub fn check_folders(&mut self, mut protected: Vec<Protected>) -> Result<(), PlanError> {
        let planned = self.providers.iter_mut().flatten();
        let mut problems = Vec::new();
        for provider in planned {
            let id = &provider.definition.id;
            let lost = provider.mounts.iter_mut().filter_map(|mount| {
                let error = mount.find_again().err()?;
                Some(lost_folder(id, mount, &error))
            });
            problems.extend(lost);
        }
        protected.extend(self.read());
        let planned = self.providers.iter().flatten();
        let granted = planned.flat_map(|provider| {
            let id = &provider.definition.id;
            provider.mounts.iter().map(move |mount| (id, mount))
        });
        problems.extend(refused(&granted.collect::<Vec<_>>(), &protected));
        if problems.is_empty() {
            return Ok(());
        }
        Err(PlanError::Providers { problems })
    }

    /// Everything that the plan was read from.
    pub fn read(&self) -> Vec<Protected> {
        let mut read = read_by(self.scenario(), self.path(), Some(self.suite()));
        let planned = self.providers.iter().flatten();
        // One that was built is in another place than the scenario says.
        let files = planned.map(|provider| Protected::file("a plugin", &provider.file.path));
        read.extend(files);
        read
    }

    /// The secrets that each provider was handed.
    pub fn given_secrets(&self) -> impl Iterator<Item = Arc<Secrets>> {
        let providers = self.providers.iter().flatten();
        providers.map(|provider| Arc::clone(&provider.secrets))
    }

    /// Hands every provider the values of its secrets; what has no value in `values` is not there for it.
    pub fn give_secrets(&mut self, values: &BTreeMap<String, String>) {
        for provider in self.providers.iter_mut().flatten() {
            let grants = &provider.definition.grants;
            provider.secrets = Arc::new(secrets(grants, provider.file.kind, values));
        }
    }
}

impl PlannedProvider {
    /// What its attempts may touch.
    pub(super) fn access(&self) -> Access {
        Access {
            net: Network::new(self.definition.grants.net.clone()),
            secrets: Arc::clone(&self.secrets),
            mounts: self.mounts.clone(),
            ..Access::default()
        }
    }
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
    pub(super) fn is_empty(&self) -> bool {
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

/// Checks the folders that a scenario grants to what is selected as [`Plan::check_folders`] does; no plugin is opened.
/// Without `suite` the files that tests name are not among what is protected.
pub fn check_scenario(
    scenario: &Scenario,
    suite: Option<&Suite>,
    selection: &Selection,
    mut protected: Vec<Protected>,
) -> Result<(), PlanError> {
    let (mut granted, mut problems) = (Vec::new(), Vec::new());
    for provider in scenario.providers() {
        if !selection.has_provider(&provider.id)? {
            continue;
        }
        match mounts(&provider.grants, scenario.directory()) {
            Ok(mounts) => granted.extend(mounts.into_iter().map(|mount| (&provider.id, mount))),
            Err(problem) => problems.push(ProviderError::new(&provider.id, problem)),
        }
    }
    protected.extend(read_by(scenario, scenario.path(), suite));
    let granted: Vec<_> = granted.iter().map(|(id, mount)| (*id, mount)).collect();
    problems.extend(refused(&granted, &protected));
    if problems.is_empty() {
        return Ok(());
    }
    Err(PlanError::Providers { problems })
}

/// Everything that a scenario is made of: itself, the files that it names, and the source of its plugins. What is read for
/// a plan and is not in this list is open to guests that may write.
fn read_by(scenario: &Scenario, path: &Path, suite: Option<&Suite>) -> Vec<Protected> {
    let mut read = vec![Protected::file("the scenario", path)];
    for provider in scenario.providers() {
        if provider.plugin.is_dir() {
            let folders = toolchain::folders(&provider.plugin);
            let folders = folders.iter();
            read.extend(folders.map(|folder| Protected::folder("the source of a plugin", folder)));
        } else {
            read.push(Protected::file("a plugin", &provider.plugin));
        }
    }
    let named = suite.into_iter().flat_map(Suite::named);
    let named = scenario.list_places().chain(named);
    read.extend(named.map(|(what, path)| Protected::file(what, path)));
    read
}

/// Says of each folder that cannot be granted why.
fn refused(granted: &[(&ProviderId, &Mount)], protected: &[Protected]) -> Vec<ProviderError> {
    let mounts: Vec<_> = granted.iter().map(|(_, mount)| *mount).collect();
    let errors = check_folders(&mounts, protected).into_iter();
    let refused = granted.iter().zip(errors);
    refused
        .filter_map(|((id, _), error)| Some(ProviderError::folder(id, &error?)))
        .collect()
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
pub(super) fn stored_mounts(stored: &ManifestGrants) -> Vec<Mount> {
    let folders = stored.fs.iter().map(|folder| {
        let is_writable = folder.mode == FsMode::ReadWrite.as_str();
        Mount::stored(&folder.folder, &folder.mount, is_writable)
    });
    folders.collect()
}

fn lost_folder(provider: &ProviderId, mount: &Mount, error: &io::Error) -> ProviderError {
    let host = mount.host.display();
    let what = if error.kind() == io::ErrorKind::NotFound {
        "is not there any more".to_owned()
    } else {
        format!("cannot be used any more: {error}")
    };
    let problem = format!(
        "the folder `{host}`, which it is granted as `{}`, {what}",
        mount.guest
    );
    let help = "put it back, or go on with what the scenario grants now: `--accept-changes`";
    ProviderError::new(provider, problem).with_help(help)
}

/// What of `grants` a plugin of this kind can do nothing with.
///
/// Only components can send requests, and only those of the contract can ask for secrets.
fn idle(grants: &Grants, kind: Kind) -> impl Iterator<Item = &'static str> + use<> {
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

/// The names of the secrets in environment variables.
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
