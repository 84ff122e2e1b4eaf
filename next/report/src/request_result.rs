//! The result of a request to a run.

use runner_record::{Answer, RecordError, ResultsRoot, RunDir, RunHead};
use serde::Serialize;

use crate::{VERSION, list::RunSummary, run::short_of};

/// `runner stop`, `cancel`, `pause` and `unpause`.
#[derive(Debug, Serialize)]
pub struct RequestResult {
    /// Always [`VERSION`].
    pub v: u8,
    pub result: Answer,
    /// The run after the request.
    #[serde(flatten)]
    pub run: RunSummary,
}

impl RequestResult {
    /// Reads the run after a request.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(root: &ResultsRoot, run: &RunDir, result: Answer) -> Result<Self, RecordError> {
        let head = RunHead::from(&run.truth()?);
        let (short, path) = (short_of(root, run.id()), run.path().to_string_lossy().into_owned());
        Ok(Self { v: VERSION, result, run: RunSummary::new(head, short, path) })
    }
}
