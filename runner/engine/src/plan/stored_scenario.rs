//! Reads the scenario that is stored with a run.

use runner_record::{Manifest, RecordError, RunDir};
use runner_scenario::{Scenario, parse_stored};

use crate::EngineError;

/// Reads the stored scenario of a run.
pub(super) fn stored_scenario(dir: &RunDir, manifest: &Manifest) -> Result<Scenario, EngineError> {
    let text = stored(dir, dir.scenario(manifest))?;
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides)
            .map_err(EngineError::Scenario)?;
    scenario.override_by(&manifest.metadata.selection.overrides);
    // The manifest lacks those that the run's selection left out.
    scenario.keep_planned(manifest.planned().map(|stored| &*stored.name));
    Ok(scenario)
}

/// Turns missing or damaged content into a usage error: unlike with an error of the disk, nothing was changed, and trying again
/// does not help.
pub(super) fn stored<T>(dir: &RunDir, content: Result<T, RecordError>) -> Result<T, EngineError> {
    content.map_err(|error| {
        EngineError::Usage(format!(
            "{error}\nto take the current files in place of the stored ones: {}",
            dir.command("resume", &["--accept-changes"])
        ))
    })
}
