//! [`Start`], [`Resume`] and [`Rescore`]: what is asked for, as plain values.

use std::path::{Path, PathBuf};

use super::{Build, EngineChoice, Exclusivity, RerunChoice};
use crate::{
    filter::Filter,
    record::RunEntry,
    scenario::{RunOptions, Selection},
};

/// What is asked for: that a scenario runs.
#[derive(Clone, Debug)]
pub struct Start {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// Which of its tests run on which providers.
    pub selection: Selection,
    /// What holds instead of what the scenario says.
    pub overrides: RunOptions,
    /// Whether plugins may be built.
    pub build: Build,
    /// Files of secrets, which count before the environment.
    pub secret_files: Vec<PathBuf>,
    /// The results root.
    pub results: PathBuf,
    /// The run's own directory, whose parent is the results root then; a run of the same plan that is there is gone on with.
    pub into: Option<PathBuf>,
    /// Whether the run wants the results root for itself.
    pub exclusivity: Exclusivity,
    /// Over what workers on other machines make the attempts; without it they are made here.
    pub engine: Option<EngineChoice>,
}

/// What is asked for: that somebody goes on with a run.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The run.
    pub run: RunEntry,
    /// What holds instead of what held before.
    pub overrides: RunOptions,
    /// Files of secrets, which count before the environment.
    pub secret_files: Vec<PathBuf>,
    /// Which trials run again that have a final row.
    pub rerun: Option<RerunChoice>,
    /// Whether the scenario and the plugins are adopted as they are now, and what that changes runs again.
    pub accept_changes: bool,
    /// Whether a run is gone on with that was cancelled.
    pub force: bool,
    /// Over what workers on other machines make the attempts; without it they are made here.
    pub engine: Option<EngineChoice>,
}

impl Start {
    /// The results root.
    pub(super) fn root(&self) -> &Path {
        let around = self.into.as_deref().map(|dir| match dir.parent() {
            Some(root) if root != Path::new("") => root,
            _ => Path::new("."),
        });
        around.unwrap_or(&self.results)
    }

    /// All tests of `scenario` on all of its providers, as it says, as a new run in the results root `results`; no plugin is
    /// built unless the observer is asked and says so.
    pub fn new(scenario: impl Into<PathBuf>, results: impl Into<PathBuf>) -> Self {
        Self {
            scenario: scenario.into(),
            selection: Selection::default(),
            overrides: RunOptions::default(),
            build: Build::Ask,
            secret_files: Vec::new(),
            results: results.into(),
            into: None,
            exclusivity: Exclusivity::Shared,
            engine: None,
        }
    }
}

impl Resume {
    /// Goes on with `run` as its manifest says.
    pub fn new(run: RunEntry) -> Self {
        Self {
            run,
            overrides: RunOptions::default(),
            secret_files: Vec::new(),
            rerun: None,
            accept_changes: false,
            force: false,
            engine: None,
        }
    }

    /// The results root of the run: the folder that its directory is in.
    pub(super) fn root(&self) -> &Path {
        self.run.dir.parent().unwrap_or(Path::new("."))
    }

    /// Goes on with a run that is where a new one was to begin. Its plan is the same, and so are the options that are part
    /// of it.
    pub(super) fn of_start(request: &Start, run: RunEntry) -> Self {
        Self {
            run,
            overrides: request.overrides.clone(),
            secret_files: request.secret_files.clone(),
            rerun: None,
            accept_changes: false,
            force: false,
            engine: request.engine.clone(),
        }
    }
}

/// What is asked for: that the trials of a run are judged again.
#[derive(Clone, Debug)]
pub struct Rescore {
    /// The run.
    pub run: RunEntry,
    /// The scenario with the expectations and the graders; the run's own as it is now where there is none.
    pub scenario: Option<PathBuf>,
    /// Only the trials that this means.
    pub filter: Option<Filter>,
    /// Whether it is only told what would change.
    pub is_dry_run: bool,
    /// Whether graders are asked; without that, trials that graders judge are as they were.
    pub asks_graders: bool,
    /// Files that the secrets of graders are taken from before the environment.
    pub secret_files: Vec<PathBuf>,
}
