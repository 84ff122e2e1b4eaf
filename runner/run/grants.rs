//! From what a provider is granted, as the scenario writes it, to what its attempts get.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    error::{PlanError, ProviderError},
    plan::{Plan, PlannedProvider},
};
use crate::{
    model::{FsMode, Grants, Limits, ProviderId},
    plugin::{Access, Mount, Network, Secrets},
    record::ManifestGrants,
    scenario::{MissingKey, Provider, Template},
};

/// The environment variables of a provider's attempts.
pub(super) struct Environment {
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

    /// Hands every provider the values of its secrets; what has no value in `values` is not there for it.
    pub fn give_secrets(&mut self, values: &BTreeMap<String, String>) {
        for provider in self.providers.iter_mut().flatten() {
            let names = secret_names(&provider.definition.grants).into_iter();
            let values = names.filter_map(|name| {
                let value = values.get(&name)?.clone();
                Some((name, value))
            });
            provider.secrets = Arc::new(Secrets::new(values.collect()));
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
    /// Takes the variables of a provider, and the secrets that they may stand for.
    pub(super) fn new(provider: &PlannedProvider) -> Self {
        let grants = &provider.definition.grants;
        let secrets = secret_names(grants).into_iter().filter_map(|name| {
            let value = provider.secrets.get(&name)?.into();
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

    /// Fills the variables in.
    pub(super) fn render(
        &self,
        input: &Value,
        config: &Value,
    ) -> Result<Vec<(String, String)>, MissingKey> {
        let roots = [
            ("input", input),
            ("config", config),
            ("secret", &self.secrets),
        ];
        let variables = self.variables.iter();
        variables
            .map(|(name, template)| Ok((name.clone(), template.render_text(&roots)?)))
            .collect()
    }
}

/// Finds the folders that a provider is granted, wherever the process is when it uses them.
pub(super) fn mounts(definition: &Provider, directory: &Path) -> Result<Vec<Mount>, PlanError> {
    let folders = definition.grants.fs.iter();
    let mounts = folders.map(|grant| {
        let path = directory.join(&grant.path);
        let host = fs_err::canonicalize(&path).map_err(|error| {
            ProviderError::new(&definition.id, format!("a granted folder: {error}"))
        })?;
        Ok(Mount {
            host,
            guest: grant.mount.clone(),
            is_writable: grant.mode == FsMode::ReadWrite,
        })
    });
    mounts
        .collect::<Result<_, ProviderError>>()
        .map_err(|problem| PlanError::Providers {
            problems: vec![problem],
        })
}

/// Takes the folders that a provider was granted when its run began.
pub(super) fn stored_mounts(
    definition: &Provider,
    stored: &ManifestGrants,
) -> Result<Vec<Mount>, PlanError> {
    let folders = stored.fs.iter().map(|folder| {
        let host = PathBuf::from(&folder.folder);
        if !host.is_dir() {
            let problem = format!(
                "the folder `{}` that it is granted as `{}` is not there any more",
                host.display(),
                folder.mount
            );
            let help =
                "put it back, or go on with `--accept-changes` and what the scenario says now";
            return Err(ProviderError::new(&definition.id, problem).with_help(help));
        }
        Ok(Mount {
            host,
            guest: folder.mount.clone(),
            is_writable: folder.mode == FsMode::ReadWrite.as_str(),
        })
    });
    folders
        .collect::<Result<_, _>>()
        .map_err(|problem| PlanError::Providers {
            problems: vec![problem],
        })
}

/// The names of all secrets that a provider is granted: those it may ask for, and those in its environment.
fn secret_names(grants: &Grants) -> BTreeSet<String> {
    let asked_for = grants.secrets.iter().cloned();
    let in_variables = variables(grants).flat_map(|(_, template)| {
        let keys = template.keys_of("secret");
        keys.flatten().cloned().collect::<Vec<_>>()
    });
    asked_for.chain(in_variables).collect()
}

fn variables(grants: &Grants) -> impl Iterator<Item = (String, Template)> {
    grants.env.iter().map(|(name, text)| {
        let template = Template::parse(text).expect("a valid scenario has valid templates");
        (name.clone(), template)
    })
}
