//! The real folders, files and secrets that a scenario uses outside of its text, as lines for people.

use std::{collections::BTreeSet, path::Path};

use runner_model::visible::visible_line;
use runner_record::{Manifest, ManifestProvider, ResultsRoot, RunDir};
use runner_results::plan;
use runner_scenario::{GrantsToml, Scenario, written_name};

use super::{load::manifest_providers, plan::Plan, stored_scenario::stored_scenario};
use crate::EngineError;

/// Returns the lines of a run, from its stored scenario and the folders that it mounted. Empty if the scenario cannot be read.
pub fn access(dir: &RunDir, manifest: &Manifest) -> Vec<String> {
    let lines = |scenario| access_of(&scenario, &manifest.scenario_path, &manifest.providers);
    plan::scenario(dir, manifest).map(lines).unwrap_or_default()
}

/// Returns whether attempts of a run have a journal. `None` if its scenario cannot be read.
pub fn has_journal(dir: &RunDir, manifest: &Manifest) -> Option<bool> {
    let scenario = stored_scenario(dir, manifest).ok()?;
    Some(scenario.providers.iter().any(|provider| provider.journal().is_some()))
}

/// Returns the lines of the scenario in the file `path`.
pub(crate) fn access_of(
    scenario: &Scenario,
    path: impl AsRef<Path>,
    providers: &[ManifestProvider],
) -> Vec<String> {
    let mounts =
        providers.iter().map(|one| (one.table().trim_end_matches('s'), &*one.name, &*one.mounts));
    scenario.access(path.as_ref().parent().unwrap_or(Path::new(".")), mounts)
}

/// The access that the plan of a run has. More is refused: who can change the current files need not be the user.
pub(crate) struct PlannedAccess<'a> {
    pub(crate) dir: &'a RunDir,
    pub(crate) manifest: &'a Manifest,
    /// Path of the current scenario.
    pub(crate) path: &'a Path,
    /// The command that allows more. `None` if this command does.
    pub(crate) command: Option<String>,
}

impl<'a> PlannedAccess<'a> {
    /// Returns the access of a run for a command that cannot allow more.
    pub(crate) fn new(dir: &'a RunDir, manifest: &'a Manifest) -> Self {
        let command = dir.command("resume", &["--accept-changes", "--accept-access"]);
        Self { dir, manifest, path: Path::new(&manifest.scenario_path), command: Some(command) }
    }

    /// Fails if the current scenario, or one of `providers` with its folders, has access that the run's plan does not have.
    pub(crate) fn check(
        &self,
        scenario: &Scenario,
        providers: &[ManifestProvider],
    ) -> Result<(), EngineError> {
        let Some(command) = &self.command else { return Ok(()) };
        let added = self.added(scenario, providers);
        if added.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = added.iter().map(|line| visible_line(line)).collect();
        Err(EngineError::Usage(format!(
            "the current files have access that the plan of run {} does not have:\n{}\nto allow it: {command}",
            self.dir.id(),
            lines.join("\n")
        )))
    }

    fn added(&self, scenario: &Scenario, providers: &[ManifestProvider]) -> BTreeSet<String> {
        let manifest = self.manifest;
        let mut added = BTreeSet::from_iter(access_of(scenario, self.path, &[]));
        if !added.is_empty() {
            // Without the stored scenario, its folders and secrets outside of grants are unknown.
            let stored = stored_scenario(self.dir, manifest).unwrap_or_default();
            for line in access_of(&stored, &manifest.scenario_path, &[]) {
                added.remove(&line);
            }
        }
        // The graders of a `rescore` were allowed when it started.
        let known = manifest.planned().chain(&manifest.providers);
        let known: BTreeSet<_> = known.map(provider_access).collect();
        let current: BTreeSet<_> = providers.iter().map(provider_access).collect();
        for lines in current {
            // A server of one variant of a matrix and a secret of another one are new if they come together.
            let new = known.iter().map(|known| beyond(&lines, known)).min_by_key(Vec::len);
            added.extend(new.unwrap_or(lines));
        }
        added
    }
}

/// Returns the lines of a provider with those about grants. Variants of a matrix have the name of their table.
fn provider_access(provider: &ManifestProvider) -> Vec<String> {
    let name = written_name(&provider.name).to_owned();
    let of_table = [ManifestProvider { name, ..provider.clone() }];
    let mut lines = access_of(&Scenario::default(), "", &of_table);
    lines.extend(of_table.iter().flat_map(granted));
    lines
}

/// Returns the lines that are not in `known`, which may allow to write a folder that is only read.
fn beyond(lines: &[String], known: &[String]) -> Vec<String> {
    let is_known = |line: &String| {
        let more = line.replacen(" reads the folder ", " reads and writes the folder ", 1);
        known.contains(line) || known.contains(&more)
    };
    lines.iter().filter(|line| !is_known(line)).cloned().collect()
}

/// Returns a line for each grant of servers, secrets and tools.
fn granted(provider: &ManifestProvider) -> Vec<String> {
    let (role, name) = (provider.role(), &provider.name);
    let GrantsToml { net, secrets, tools, .. } = GrantsToml::from(&provider.grants);
    let in_env = provider.grants.secrets_in_env().into_iter().map(|name| format!("\"{name}\""));
    let secrets = secrets.into_iter().chain(in_env).map(|item| ("secrets", item));
    let net = net.into_iter().map(|item| ("net", item));
    let tools = tools.into_iter().map(|item| ("tools", item));
    let lines = net.chain(secrets).chain(tools);
    lines.map(|(key, item)| format!("{role} `{name}` is granted {key} = [{item}]")).collect()
}

/// Returns the lines of a plan that the newest run of its scenario in this results root does not have. `path` is the absolute
/// path of the scenario.
pub(crate) fn new_access(root: &ResultsRoot, plan: &Plan, path: &Path) -> Vec<String> {
    let mut lines = access_of(&plan.scenario, path, &manifest_providers(plan));
    if lines.is_empty() {
        return lines;
    }
    let runs = root.runs_of(&plan.scenario.name, path);
    // This user may never have seen the access of another user's run.
    let own =
        |run: Result<(RunDir, Manifest), _>| run.ok().filter(|(dir, _)| dir.foreign().is_none());
    let newest = runs.ok().and_then(|mut runs| runs.find_map(own));
    let known = newest.map(|(dir, manifest)| access(&dir, &manifest)).unwrap_or_default();
    lines.retain(|line| !known.contains(line));
    lines
}
