//! [`EngineError`]: why a command of the engine fails.

use runner_model::{StopSignal, exit::Exit};
use runner_prepare::PrepareError;
use runner_record::{RecordError, Rerun};
use runner_scenario::Problems;
use thiserror::Error;

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

/// An error of the machine before there is a run.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn machine(error: std::io::Error) -> EngineError {
    EngineError::Machine(format!("a session cannot be prepared: {error}"))
}
