//! What the providers of a plan are granted, and whether they may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{PlanError, ProviderError},
    planned::{Plan, PlannedProvider},
};
use crate::{
    model::{Grants, Limits, PluginRole, ProviderId, bundled_name},
    plugin::{Access, Mount, Network, Secrets},
    run::grants::{Protected, check_folders, idle, mounts, secret_names, secrets},
    scenario::{Scenario, Selection, Suite},
    toolchain,
};

impl Plan {
    /// What each provider and each grader may use and touch.
    pub fn access(&self) -> impl Iterator<Item = (PluginRole, &ProviderId, &Limits, &Grants)> {
        let providers = self.plugins();
        providers.map(|provider| {
            let definition = &provider.definition;
            let (limits, grants) = (&provider.limits, &definition.grants);
            (definition.role, &definition.id, limits, grants)
        })
    }

    /// The folders that each provider is granted, and whether it may write to them.
    pub fn folders(&self) -> impl Iterator<Item = (&ProviderId, &Path, bool)> {
        self.providers.iter().flatten().flat_map(|provider| {
            let mounts = provider.mounts.iter();
            let id = &provider.definition.id;
            mounts.map(move |mount| (id, mount.host.as_path(), mount.is_writable))
        })
    }

    /// The secrets that each provider is granted and this process must have, by name: workers on other machines have their
    /// own, and graders are asked here.
    pub fn secrets(&self) -> impl Iterator<Item = (&ProviderId, BTreeSet<String>)> {
        self.plugins().map(|provider| {
            let definition = &provider.definition;
            let is_elsewhere = self.is_spread() && definition.role == PluginRole::Provider;
            let names = match is_elsewhere {
                true => BTreeSet::new(),
                false => secret_names(&definition.grants),
            };
            (&definition.id, names)
        })
    }

    /// The secrets of all providers, by name.
    pub fn provider_secrets(&self) -> BTreeSet<String> {
        let providers = self.providers.iter().flatten();
        providers
            .flat_map(|provider| secret_names(&provider.definition.grants))
            .collect()
    }

    /// Finds grants that do nothing for what a provider's plugin is, each with a sentence that says so.
    pub fn idle_grants(&self) -> impl Iterator<Item = (&ProviderId, &'static str)> {
        let providers = self.plugins();
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
        let planned = self.plugins_mut();
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
        let planned = self.plugins();
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
        let planned = self.plugins();
        // One that was built is in another place than the scenario says.
        let files = planned.map(|provider| Protected::file("a plugin", &provider.file.path));
        read.extend(files);
        read
    }

    /// The secrets that each provider was handed.
    pub fn secret_values(&self) -> impl Iterator<Item = Arc<Secrets>> {
        let providers = self.plugins();
        providers.map(|provider| Arc::clone(&provider.secrets))
    }

    /// Hands every provider the values of its secrets; what has no value in `values` is not there for it.
    pub fn set_secrets(&mut self, values: &BTreeMap<String, String>) {
        self.secrets.clone_from(values);
        for provider in self.plugins_mut() {
            let grants = &provider.definition.grants;
            provider.secrets = Arc::new(secrets(grants, provider.file.kind, values));
        }
    }
}

impl PlannedProvider {
    /// What its attempts may touch.
    pub(in crate::run) fn access(&self) -> Access {
        Access {
            // One value for all of its attempts, which share connections; no two providers share any, so that a connection
            // which one may use is never there for another.
            net: Network::new(self.definition.grants.net.clone()),
            secrets: Arc::clone(&self.secrets),
            mounts: self.mounts.clone(),
            ..Access::default()
        }
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
    for (place, provider) in scenario.plugins().enumerate() {
        let is_grader = place >= scenario.providers().len();
        if !is_grader && !selection.has_provider(&provider.id)? {
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

/// Every file and folder that decides whether a scenario is valid, and what it comes to.
pub fn read_for_validation(scenario: &Scenario, suite: &Suite) -> Vec<PathBuf> {
    let read = read_by(scenario, scenario.path(), Some(suite)).into_iter();
    let granted = scenario.plugins().flat_map(|provider| {
        let mounts = mounts(&provider.grants, scenario.directory());
        mounts.unwrap_or_default()
    });
    let granted = granted.map(|mount| mount.host);
    read.map(|read| read.path).chain(granted).collect()
}

/// Everything that a scenario is made of: itself, the files that it names, and the source of its plugins. What is read for
/// a plan and is not in this list is open to guests that may write.
fn read_by(scenario: &Scenario, path: &Path, suite: Option<&Suite>) -> Vec<Protected> {
    let mut read = vec![Protected::file("the scenario", path)];
    for provider in scenario.plugins() {
        if toolchain::Source::is_at(&provider.plugin) {
            let folders = toolchain::folders(&provider.plugin);
            let folders = folders.iter();
            read.extend(folders.map(|folder| Protected::folder("the source of a plugin", folder)));
        } else if bundled_name(&provider.plugin).is_none() {
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
