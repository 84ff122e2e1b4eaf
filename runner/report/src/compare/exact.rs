//! [`ExactDocument`]: whether the results of two runs are equal.

use runner_record::{RecordError, RunDir};
use runner_results::ExactComparison;
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// `runner compare --exact`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExactDocument {
    /// Always [`VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub comparison: ExactComparison,
}

impl ExactDocument {
    /// Compares the rows of two runs.
    ///
    /// # Errors
    ///
    /// A run or a line cannot be read.
    pub fn read(runs: [&RunDir; 2]) -> Result<Self, RecordError> {
        Ok(Self { v: VERSION, comparison: ExactComparison::read(runs)? })
    }
}
