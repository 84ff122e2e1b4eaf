//! Runs: plans them, schedules attempts, feeds worker processes, writes rows, starts, resumes and stops. It never parses,
//! compiles or runs foreign code. Plain threads and channels.
//!
//! Begin reading at [`exec`], then `schedule`.

#![warn(missing_docs)]

mod changes;
mod checks;
mod clock;
mod coordinator;
mod exec;
mod group;
mod in_flight;
mod plan;
mod pool;
pub mod probe;
mod requests;
mod resume;
mod root_queue;
mod schedule;
mod session;
mod signals;
mod validate;
mod watchdog;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use runner_model::{Counts, SessionOverrides, StopSignal, exit::Exit, row::Actor};
use runner_prepare::PrepareError;
pub use runner_record::Share;
use runner_record::{Manifest, ManifestProvider, RecordError, Rerun, RowFacts, Selected};
use runner_scenario::Problems;
use serde::Serialize;
use thiserror::Error;

use self::pool::PrestartedWorker;
pub use self::{
    exec::exec,
    group::Group,
    resume::{Decision, preview},
    session::exit_of,
    validate::{preview_exec, validate},
};

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

/// What a session tells while it goes on. Called on the coordinator's thread; must not block for long.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &RunEvent<'_>);
}

/// What a session tells.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The run is on disk, and this process holds it.
    Born {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// Its `runner.log`, open for appending.
        log: &'a std::fs::File,
    },
    /// The run exists; plugins are prepared.
    Started {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// Trials that this session has to do.
        pending: u64,
        /// How many attempts run at once.
        jobs: u32,
    },
    /// A plugin is being compiled.
    Compiling {
        /// The plugin as the scenario names it.
        plugin: &'a str,
    },
    /// A row is on disk.
    Row {
        /// What it says in short.
        row: RowFacts,
        /// Its line, without the line break.
        line: &'a [u8],
        /// By final rows, this one included.
        counts: &'a Counts,
        /// Trials of the plan.
        planned: u64,
    },
    /// About every 100 ms.
    Progress {
        /// By final rows.
        counts: &'a Counts,
        /// Trials of the plan.
        planned: u64,
        /// Attempts in flight.
        in_flight: u64,
        /// Whether more would run if there were memory for them.
        waits_for_memory: bool,
    },
    /// The session stops.
    Stopping {
        /// The signal that asked for it.
        signal: Option<StopSignal>,
        /// Who asked for it from another process.
        by: Option<&'a Actor>,
        /// Attempts that are waited for.
        in_flight: u64,
    },
    /// The session is paused.
    Paused {
        /// Who asked for it; none: Ctrl-Z did.
        by: Option<&'a Actor>,
    },
    /// The session goes on after a pause.
    Unpaused,
    /// Something that a user should know.
    Notice(&'a str),
    /// The session has ended.
    Finished {
        /// As it is on disk.
        manifest: &'a Manifest,
        /// The run's directory, as a user would type it.
        directory: &'a std::path::Path,
        /// How long the session took.
        took: Duration,
    },
}

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    /// As it is on disk.
    pub manifest: Manifest,
    /// The run's directory.
    pub directory: PathBuf,
    /// By [`Exit::of_run`].
    pub exit: Exit,
}

/// Why nothing was begun, or a session could not go on.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The scenario or its lists have problems. Exit code 2; nothing was created.
    #[error("the scenario has problems")]
    Scenario(Problems),
    /// A plugin's file is missing or no plugin, wrong usage, an unknown run. Exit code 2; nothing was created.
    #[error("{0}")]
    Usage(String),
    /// What is wrong with several scenarios. The exit code is that of the worst; nothing was created.
    #[error("there are problems with {} scenarios", .0.len())]
    Several(Vec<Self>),
    /// No test was selected. Exit code 5.
    #[error("no test was selected")]
    NothingSelected,
    /// No trial of a run is meant by this `--rerun`. Exit code 5.
    #[error("`--rerun {0}` means no trial of the run")]
    NothingMeant(Rerun),
    /// A signal came before anything was found out; nothing was created. The exit code is the signal's.
    #[error("stopped by {0}")]
    Stopped(StopSignal),
    /// The machine lacks what a run needs; nothing was created. Exit code 3.
    #[error("{0}")]
    Machine(String),
    /// The disk. Exit codes 2, 6 or 7.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<PrepareError> for EngineError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Refused(problem) => Self::Usage(problem),
            PrepareError::Record(error) => Self::Record(error),
        }
    }
}

impl EngineError {
    /// The exit code of the command.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_) | Self::Usage(_) => Exit::Usage,
            Self::Several(errors) => {
                let exits = errors.iter().map(Self::exit);
                exits.fold(Exit::Success, Exit::worse)
            }
            Self::NothingSelected | Self::NothingMeant(_) => Exit::NothingSelected,
            Self::Machine(_) => Exit::Failed,
            Self::Stopped(signal) => Exit::Signal(*signal),
            Self::Record(error) => match error {
                RecordError::Io { .. } => Exit::Storage,
                RecordError::Held { .. } | RecordError::RootHeld { .. } => Exit::Held,
                RecordError::Unknown { .. }
                | RecordError::Ambiguous { .. }
                | RecordError::Foreign { .. } => Exit::Usage,
                RecordError::Transition(_) => Exit::Internal,
            },
        }
    }
}

/// Continues a run that was cut short.
///
/// # Errors
///
/// Nothing was begun, or the run cannot be read or written.
pub fn resume(request: &ResumeRequest, observer: &mut dyn Observer) -> Result<Ended, EngineError> {
    resume::resume(early()?, request, observer, None)
}

fn early() -> Result<PrestartedWorker, EngineError> {
    runner_prepare::machine::raise_open_files().map_err(EngineError::Machine)?;
    PrestartedWorker::start(session::processes()).map_err(session::machine)
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
