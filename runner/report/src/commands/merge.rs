//! Result of `merge`.

use runner_model::GateResult;
use runner_record::{MergeFindings, RecordError, RunDir, RunHead};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    VERSION,
    list::{RunSummary, short_of},
};

/// `runner merge`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergeDocument {
    /// Always [`VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub found: MergeFindings,
    /// The merged run. `None` if nothing was merged.
    pub run: Option<RunSummary>,
    /// The result of the gate over all trials.
    pub gate: Option<GateResult>,
}

impl MergeDocument {
    /// Reads the merged run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(found: MergeFindings, run: Option<&RunDir>) -> Result<Self, RecordError> {
        let Some(run) = run else { return Ok(Self { v: VERSION, found, run: None, gate: None }) };
        let (manifest, root) = (run.truth()?, run.results_root()?);
        let run_dir = run.path().to_string_lossy().into_owned();
        let summary = RunSummary::new(RunHead::from(&manifest), short_of(&root, run.id()), run_dir);
        Ok(Self { v: VERSION, found, run: Some(summary), gate: manifest.gate })
    }
}
