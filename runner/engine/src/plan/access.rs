//! The real folders, files and secrets that a scenario uses outside of its text, as lines for people.

use std::path::Path;

use runner_model::visible::visible_line;
use runner_record::{Manifest, ManifestProvider, ResultsRoot, RunDir};
use runner_scenario::{GrantsToml, Scenario, parse_stored, written_name};

use super::{load::manifest_providers, plan::Plan, stored_scenario::stored_scenario};

/// Returns the lines of a run, from its stored scenario and the folders that it mounted. Empty if the scenario cannot be read.
pub fn access(dir: &RunDir, manifest: &Manifest) -> Vec<String> {
    let overrides = &manifest.metadata.selection.overrides;
    let scenario = dir.scenario(manifest).ok();
    let scenario =
        scenario.and_then(|text| parse_stored(&text, &manifest.scenario, overrides).ok());
    let lines = |scenario| access_of(&scenario, &manifest.scenario_path, &manifest.providers);
    scenario.map(lines).unwrap_or_default()
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

/// Returns the lines of a new plan that the stored plan of a run does not have, with those about grants. Variants of a matrix have
/// the access of their table.
pub(crate) fn added_access(dir: &RunDir, manifest: &Manifest, plan: &Plan) -> Vec<String> {
    let of_table = |provider: &ManifestProvider| ManifestProvider {
        name: written_name(&provider.name).to_owned(),
        ..provider.clone()
    };
    let all = |scenario: &Scenario, providers: Vec<ManifestProvider>| {
        let mut lines = access_of(scenario, &manifest.scenario_path, &providers);
        lines.extend(providers.iter().flat_map(granted));
        lines
    };
    let mut lines = all(&plan.scenario, manifest_providers(plan).iter().map(of_table).collect());
    // Without the stored scenario, its folders and secrets outside of grants are unknown.
    let stored = stored_scenario(dir, manifest).unwrap_or_default();
    let known = all(&stored, manifest.planned().map(of_table).collect());
    let is_less = |line: &str| {
        known.contains(&line.replacen(" reads the folder ", " reads and writes the folder ", 1))
    };
    lines.retain(|line| !known.contains(line) && !is_less(line));
    lines.dedup();
    lines.iter().map(|line| visible_line(line).into_owned()).collect()
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
