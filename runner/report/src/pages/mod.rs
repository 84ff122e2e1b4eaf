//! Documents of `runner serve` that no command prints; in this file, the progress of a run.

mod actions;
mod charts;
mod failures;
mod run;
mod runs;
pub(crate) mod timeline;
mod trial;
mod trials;

use runner_record::{Live, RecordError, RunCounts, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::actions::*;
pub use self::{charts::*, failures::*, run::*, runs::*, timeline::Timeline, trial::*, trials::*};
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
        let (live, manifest) = (run.live(), run.truth()?);
        let live = live.filter(|_| !manifest.status.is_terminal());
        Ok(Self { v: VERSION, counts: RunCounts::from(&manifest), live })
    }
}
