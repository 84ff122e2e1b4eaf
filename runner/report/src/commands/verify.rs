//! `runner verify`.

use runner_model::{Places, TrialId};
use runner_record::{DiskFault, Manifest, RecordError, RunDir, Verified};
use runner_scenario::{Suite, parse_stored};
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// The result of a verification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// The directory as a user would type it.
    pub run_dir: String,
    #[serde(flatten)]
    pub found: Verified,
}

impl VerifyDocument {
    /// Verifies a run.
    ///
    /// # Errors
    ///
    /// The manifest cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, RecordError> {
        // The plan must be that of the rows.
        let found = run.snapshot(|| {
            let plan = plan(run);
            let places = plan.as_ref().ok().and_then(Option::as_ref);
            let mut found = run.verify(places.map(|suite| suite as &dyn Places))?;
            if let Err(problem) = plan {
                found
                    .faults
                    .insert(0, DiskFault { path: run.path(), line: None, problem, remedy: None });
            }
            Ok::<_, RecordError>(found)
        })?;
        Ok(Self {
            v: VERSION,
            run: run.id().to_owned(),
            run_dir: run.path().to_string_lossy().into_owned(),
            found,
        })
    }
}

/// Returns whether trials with rows are planned. Only a run that took over another plan has rows of other trials. All count if its
/// plan cannot be read.
pub(crate) fn is_planned(run: &RunDir, manifest: &Manifest) -> impl Fn(&TrialId) -> bool + use<> {
    let has_changed = manifest.sessions.iter().any(|session| session.adopted.is_some());
    let suite = has_changed.then(|| plan(run).ok().flatten()).flatten();
    move |trial| suite.as_ref().is_none_or(|suite| suite.index(trial).is_some())
}

/// Reads the tests of a run. `None` if the scenario or the suite is damaged, which `record` reports.
pub(crate) fn plan(run: &RunDir) -> Result<Option<Suite>, String> {
    let Ok(manifest) = run.manifest() else {
        return Ok(None);
    };
    let (Ok(text), Ok(content)) = (run.scenario(&manifest), run.content(&manifest.metadata.suite))
    else {
        return Ok(None);
    };
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides.vars)
            .map_err(|_| {
                "its scenario has problems: this runner does not understand it".to_owned()
            })?;
    // The manifest lacks those that the run's selection left out.
    scenario.keep_providers(|provider| {
        manifest.providers.iter().any(|stored| *stored.name == *provider.name)
    });
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
