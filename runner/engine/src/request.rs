//! Requests of callers, [`Preview`]: a run before it starts, and [`Decision`]: a trial before a session.

use std::collections::{BTreeMap, BTreeSet};
use std::{env, path::PathBuf};

use runner_model::{ScenarioOverrides, Selected, SessionOverrides};
use runner_record::{ManifestProvider, RequestMark, Rerun, Share};
use runner_scenario::{Filter, Notify};

use crate::workers::RemoteRequest;

/// Arguments of [`exec`](crate::exec).
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// Path of the scenario.
    pub scenario: PathBuf,
    /// Selected tests and providers, and replaced values. `last_failed` refers to the newest results of the
    /// scenario's trials, of all of its runs.
    pub selection: Selected,
    /// Labels of the run, by key.
    pub labels: BTreeMap<String, String>,
    /// Name of the run's folder in the results root. A run in it is continued. `None` generates a new name.
    pub folder: Option<String>,
    /// Whether several scenarios have this selection. Then a word of the filter may match nothing in one of them.
    pub is_shared: bool,
    /// Settings of the session.
    pub session: SessionRequest,
}

impl ExecRequest {
    /// Requests a run of all trials of `scenario` in the results root `results`, with the settings of the scenario. `exec`
    /// creates the root if it is missing.
    pub fn new(scenario: impl Into<PathBuf>, results: impl Into<PathBuf>) -> Self {
        Self {
            scenario: scenario.into(),
            selection: Selected::default(),
            labels: BTreeMap::new(),
            folder: None,
            is_shared: false,
            session: SessionRequest::new(results),
        }
    }
}

/// Arguments of [`resume`](crate::resume).
#[derive(Clone, Debug)]
pub struct ResumeRequest {
    /// Name of the run. `None` takes the only incomplete run, or with `rerun` or `accept_changes` the newest.
    pub run: Option<String>,
    /// Finished trials to run again.
    pub rerun: Option<Rerun>,
    /// Replaces the stored scenario, tests and plugins by the current files.
    pub accept_changes: bool,
    /// Allows access of the current files that the run's plan does not have. Without it, such files are refused.
    pub accept_access: bool,
    /// Continues a cancelled run, too.
    pub force: bool,
    /// Settings of the session.
    pub session: SessionRequest,
}

impl ResumeRequest {
    /// Requests the trials without a final row of a run in the results root `results`, with the plan and the settings that the
    /// run stores. `run` is its id, a unique part of the id, its path, or `latest`.
    pub fn new(run: impl Into<String>, results: impl Into<PathBuf>) -> Self {
        Self {
            run: Some(run.into()),
            rerun: None,
            accept_changes: false,
            accept_access: false,
            force: false,
            session: SessionRequest::new(results),
        }
    }
}

/// Arguments of [`rescore`](crate::rescore).
#[derive(Clone, Debug)]
pub struct RescoreRequest {
    /// Name of the run. `None` takes the newest of this user.
    pub run: Option<String>,
    /// Path of the scenario with the expectations. `None` takes that of the run.
    pub scenario: Option<PathBuf>,
    /// Whether trials that graders judge are judged.
    pub with_graders: bool,
    /// Allows access of the scenario that the run's plan does not have. Without it, such a scenario is refused.
    pub accept_access: bool,
    /// The trials that are judged. `None` selects all.
    pub filter: Option<Filter>,
    /// Settings of the session.
    pub session: SessionRequest,
}

/// Settings of a session that are not part of the scenario.
#[derive(Clone, Debug, Default)]
pub struct SessionRequest {
    /// Path of the results root.
    pub results: PathBuf,
    /// Settings that replace those of the run's last session or, for a new run, of the scenario.
    pub overrides: SessionOverrides,
    /// Whether other sessions may run in the results root at the same time.
    pub share: Share,
    /// Command line for the manifest, as the user typed it. Arguments with secrets must not be in it.
    pub command: Vec<String>,
    /// The request of the queue or of a server that the session is started for.
    pub request: Option<RequestMark>,
    /// Files with values of secrets. They take precedence over the environment, and later files over earlier ones.
    pub secret_files: Vec<PathBuf>,
    /// Workers on other machines. `None` runs all attempts on this machine.
    pub remote: Option<RemoteRequest>,
}

impl SessionRequest {
    /// Requests a session in the results root `results`, with the name of this program as its command line.
    pub fn new(results: impl Into<PathBuf>) -> Self {
        let program = env::args_os().next().unwrap_or_default();
        let command = vec![program.to_string_lossy().into_owned()];
        Self { results: results.into(), command, ..Self::default() }
    }
}

/// A run that `exec` would create.
#[derive(Debug)]
pub struct Preview {
    /// Name of the scenario.
    pub scenario: String,
    /// Maximum number of attempts that would run at the same time.
    pub jobs: u32,
    /// Number of selected tests.
    pub tests: u64,
    /// Number of selected trials.
    pub trials: u64,
    /// Values that replace those of the scenario.
    pub overrides: ScenarioOverrides,
    /// Providers as the manifest would list them.
    pub providers: Vec<ManifestProvider>,
    /// Granted secrets without a value.
    pub missing_secrets: BTreeSet<String>,
    /// The real folders, files and secrets that the scenario uses, a sentence for each.
    pub access: Vec<String>,
    /// Receivers of a message about the run's end that the scenario names.
    pub notify: Notify,
    /// Messages for the user.
    pub notices: Vec<String>,
}

/// Whether a resumed session runs a trial, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the trial runs or is judged again.
    pub is_pending: bool,
    /// Whether its stored output is judged.
    pub is_judged: bool,
    /// Reason as a clause, for the user.
    pub why: String,
}
