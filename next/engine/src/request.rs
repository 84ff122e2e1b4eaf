//! What callers ask of the engine, and the preview of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use runner_model::SessionOverrides;
use runner_record::{ManifestProvider, Rerun, Selected, Share};
use serde::Serialize;

/// What `exec` is asked for.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// What is selected; of earlier runs, the newest of the scenario counts.
    pub selection: Selected,
    /// What the run is labelled with.
    pub labels: BTreeMap<String, String>,
    /// The name of the run's folder in the root. A run that is there is continued. None: a name that no other run has.
    pub folder: Option<String>,
    /// How a session runs.
    pub session: SessionRequest,
}

/// What `resume` is asked for.
#[derive(Clone, Debug)]
pub struct ResumeRequest {
    /// The run's name; none: the only incomplete one, or with `rerun` or `accept_changes` the newest.
    pub run: Option<String>,
    /// Which trials run again.
    pub rerun: Option<Rerun>,
    /// Take scenario, tests and plugins as they are now.
    pub accept_changes: bool,
    /// Continue a run that was cancelled.
    pub force: bool,
    /// How a session runs.
    pub session: SessionRequest,
}

/// How a session runs.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The results root.
    pub results: PathBuf,
    /// Settings that replace those of the run's last session or, for a new run, of the scenario.
    pub overrides: SessionOverrides,
    /// Whether other sessions may work in the root meanwhile.
    pub share: Share,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Files with values of secrets, which go before the environment; a later one before an earlier one.
    pub secret_files: Vec<PathBuf>,
}

/// What a run would be.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The scenario's name.
    pub scenario: String,
    /// How many attempts would run at once.
    pub jobs: u32,
    /// Its tests.
    #[serde(skip)]
    pub tests: u64,
    /// Its trials.
    pub trials: u64,
    /// Its providers, as its manifest would have them.
    pub providers: Vec<ManifestProvider>,
    /// The secrets that have no value.
    pub missing_secrets: BTreeSet<String>,
    /// What a user should know before.
    pub notices: Vec<String>,
}
