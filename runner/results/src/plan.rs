//! The stored tests of a run: its plan.

use runner_model::Places as _;
use runner_record::{Manifest, RunDir};
use runner_scenario::{Scenario, Suite, parse_stored};

/// Reads the scenario of a run. `None` if it cannot be read, or this runner does not understand it.
pub fn scenario(run: &RunDir, manifest: &Manifest) -> Option<Scenario> {
    let text = run.scenario(manifest).ok()?;
    parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides).ok()
}

/// Reads the tests of a run. `None` if they or the scenario cannot be read.
pub fn suite(run: &RunDir) -> Option<Suite> {
    read(run).ok().flatten()
}

/// Reads the tests of a run. `None` if the scenario or the suite is damaged, which `record` reports.
///
/// # Errors
///
/// The reason why this runner cannot read an undamaged plan.
pub fn read(run: &RunDir) -> Result<Option<Suite>, String> {
    let Ok(manifest) = run.manifest() else {
        return Ok(None);
    };
    let (Ok(text), Ok(content)) = (run.scenario(&manifest), run.content(&manifest.metadata.suite))
    else {
        return Ok(None);
    };
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides).map_err(
            |_| "its scenario has problems: this runner does not understand it".to_owned(),
        )?;
    // The manifest lacks those that the run's selection left out.
    scenario.keep_planned(manifest.planned().map(|stored| &*stored.name));
    let suite = Suite::open(content, &scenario.providers)
        .and_then(|suite| suite.of_shard(manifest.metadata.selection.shard))
        .map_err(|error| format!("its stored tests cannot be read: {error}"))?;
    let planned = manifest.metadata.planned_trial_count;
    if suite.trials() == planned {
        Ok(Some(suite))
    } else {
        let trials = suite.trials();
        Err(format!("the stored tests make {trials} trials, and the run plans {planned}"))
    }
}
