//! Documents of `runner serve` that no command prints; in this file, those of the server itself, its scenarios and the progress
//! of a run.

mod actions;
mod charts;
mod failures;
mod run;
mod runs;
mod trial;
mod trials;

use runner_model::Time;
use runner_record::{Live, RecordError, RunCounts, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::actions::*;
pub use self::{charts::*, failures::*, run::*, runs::*, trial::*, trials::*};
use crate::{ScenarioProblem, VERSION};

/// A server, for the pages that it serves.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ServerDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Version of the runner.
    pub version: String,
    /// The server's time, by which pages show ages.
    pub now: Time,
    /// Whether the server refuses every change.
    pub read_only: bool,
    /// The results root.
    pub root: String,
    /// Whether scenarios can be started.
    pub scenarios: bool,
}

/// The scenarios below the server's folders.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenariosPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// By path.
    pub scenarios: Vec<ScenarioItem>,
    /// Whether there are more files than the server looks at.
    pub is_cut: bool,
}

/// A scenario.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioItem {
    /// Path relative to its folder.
    pub path: String,
    /// The scenario's name. `null` with problems.
    pub name: Option<String>,
    /// Problems that prevent a start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ScenarioProblem>,
}

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
