//! Result of `merge`.

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
}

impl MergeDocument {
    /// Reads the merged run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(found: MergeFindings, run: Option<&RunDir>) -> Result<Self, RecordError> {
        let summary = |run: &RunDir| {
            let (head, root) = (RunHead::from(&run.truth()?), run.results_root()?);
            let run_dir = run.path().to_string_lossy().into_owned();
            Ok::<_, RecordError>(RunSummary::new(head, short_of(&root, run.id()), run_dir))
        };
        Ok(Self { v: VERSION, found, run: run.map(summary).transpose()? })
    }
}
