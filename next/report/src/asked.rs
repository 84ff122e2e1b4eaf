//! What came of asking a run to end, to pause or to go on.

use runner_model::Time;
use runner_record::{Answer, RecordError, ResultsRoot, RunDir, RunHead};
use serde::Serialize;

use crate::{VERSION, list::RunSummary, run::short_of};

/// `runner stop`, `cancel`, `pause` and `unpause`.
#[derive(Debug, Serialize)]
pub struct AskedRun {
    /// Always [`VERSION`].
    pub v: u8,
    /// What came of it.
    pub result: Answer,
    /// How the run stands now.
    #[serde(flatten)]
    pub run: RunSummary,
}

impl AskedRun {
    /// Reads how the run stands. `now` is the time, for a run that goes on.
    ///
    /// # Errors
    ///
    /// A run that cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        result: Answer,
        now: Time,
    ) -> Result<Self, RecordError> {
        let head = RunHead::from(&run.truth()?);
        let (short, path) = (short_of(root, run.id()), run.path().display().to_string());
        Ok(Self {
            v: VERSION,
            result,
            run: RunSummary::of(head, short, path, now),
        })
    }
}
