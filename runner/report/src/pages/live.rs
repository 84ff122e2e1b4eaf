//! [`LivePage`]: the attempts of a run that run now.

use runner_record::{Live, RecordError, RunCounts, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;

/// The progress of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LivePage {
    /// Always [`VERSION`].
    pub v: u8,
    pub counts: RunCounts,
    /// `null` unless a process works on the run.
    pub live: Option<Live>,
}

impl LivePage {
    /// Reads the progress.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(run: &RunDir) -> Result<Self, RecordError> {
        let live = run.live();
        let manifest = run.truth()?;
        let live = live.filter(|_| !manifest.status.is_terminal());
        Ok(Self { v: VERSION, counts: RunCounts::from(&manifest), live })
    }
}
