//! The real folders, files and secrets that a scenario uses outside of its text, as lines for people.

use std::path::Path;

use runner_record::{Manifest, ManifestProvider, ResultsRoot, RunDir};
use runner_scenario::{Scenario, parse_stored};

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
