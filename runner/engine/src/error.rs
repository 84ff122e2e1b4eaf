//! [`EngineError`]: failures of the engine's commands, and their exit codes.

use std::{fmt, path::PathBuf};

use runner_model::visible::{shown_path, visible_line};
use runner_model::{Reason, StopSignal, digest, exit::Exit};
use runner_prepare::{PrepareError, machine};
use runner_record::{RecordError, Rerun};
use runner_scenario::{Filter, Problems, similar};
use thiserror::Error;

/// Width of problems of a scenario, in columns.
const COLUMNS: usize = 100;

/// A failure before a session started, or of its disk. Failures of a running session are in its manifest.
#[derive(Error)]
pub enum EngineError {
    /// The scenario or its lists have problems. Exit code 2, or 3 if the machine lacks something, such as space; no run was
    /// created.
    #[error("{}", .0.render(false, COLUMNS).trim_end())]
    Scenario(Problems),
    /// Wrong usage, a plugin, worker or stored content that cannot be used, or a run that cannot be continued. Exit
    /// code 2; no run was created.
    #[error("{0}")]
    Usage(String),
    /// `resume` without a run, and not exactly one run is incomplete. Exit code 2.
    #[error("{} runs in {} are incomplete", candidates.len(), shown_path(root))]
    NotOneIncomplete {
        /// The results root.
        root: PathBuf,
        /// Ids of the incomplete runs, newest first.
        candidates: Vec<String>,
        /// Notices of runs that were left out.
        skipped: Vec<String>,
    },
    /// Problems of several scenarios. The exit code is that of the worst; no run was created.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
    /// The selection matches no test, for these reasons. Exit code 5.
    #[error("no test is selected{}", .0.iter().map(|reason| format!("\n{}", visible_line(reason))).collect::<String>())]
    NothingSelected(Vec<String>),
    /// The newest result of every planned trial of the scenario is passed or skipped, so `--last-failed` selects none. Exit code
    /// 5, as pytest has with `--last-failed-no-failures none`. The text has a line for each skipped run, and for new trials.
    #[error(
        "the newest result of every planned trial is passed or skipped, so `--last-failed` selects none{0}"
    )]
    NothingFailed(String),
    /// `--rerun` or a filter matches no trial of the run; the text names the nearest. Exit code 5, or 2 for a misspelt word.
    #[error("{}", nothing_meant(.0, .1))]
    NothingMeant(Rerun, String),
    /// A signal ended the checks before a run's first trial; there is no run. The exit code is the signal's.
    #[error("stopped by {0}")]
    Stopped(StopSignal),
    /// Another process stopped a new run before its first trial; there is no run. Exit code 4.
    #[error("stopped before the first trial; there is no run")]
    Unstarted,
    /// Too few open files, or no process or temporary file could be created. No run was created. Exit code 3.
    #[error("{0}")]
    Machine(String),
    /// A process that inspects or compiles a plugin was killed or too slow. No run was created. Exit code 6: the same command may
    /// work the next time.
    #[error("{0}")]
    Interrupted(String),
    /// An error of the results root. Exit code 2, 6, 7 or 70.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Formats the message, because a `main` that returns the error prints this.
impl fmt::Debug for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl From<PrepareError> for EngineError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Refused(problem) => Self::Usage(problem),
            PrepareError::Machine(problem) => Self::Machine(problem),
            PrepareError::Interrupted(problem) => Self::Interrupted(problem),
            PrepareError::Record(error) => Self::Record(error),
        }
    }
}

impl EngineError {
    /// Returns the error of a filter that matches no result of a run.
    pub(crate) fn no_match(filter: &Filter) -> Self {
        // The message has only the text.
        let rerun = Rerun::Filter { filter: filter.text().to_owned(), trials: digest(b"") };
        Self::NothingMeant(rerun, String::new())
    }

    /// Wraps the failure of a worker without a run.
    pub(crate) fn of_pool(reason: Reason, message: String) -> Self {
        match reason {
            Reason::Machine | Reason::Storage => Self::Machine(message),
            _ => Self::Usage(message),
        }
    }

    /// Fails if there are problems.
    pub(crate) fn check(problems: Problems) -> Result<(), Self> {
        if problems.count() > 0 { Err(Self::Scenario(problems)) } else { Ok(()) }
    }

    /// Returns the exit code of the command.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Scenario(problems) if problems.are_of_machine() => Exit::Failed,
            Self::Scenario(_) | Self::Usage(_) | Self::NotOneIncomplete { .. } => Exit::Usage,
            Self::Several(errors) => errors.iter().map(Self::exit).fold(Exit::Success, Exit::worse),
            Self::NothingMeant(Rerun::Glob(word), _) if slip_of_word(word).is_some() => Exit::Usage,
            Self::NothingSelected(_) | Self::NothingFailed(_) | Self::NothingMeant(..) => {
                Exit::NothingSelected
            }
            Self::Machine(_) => Exit::Failed,
            Self::Interrupted(_) => Exit::Held,
            Self::Stopped(signal) => Exit::Signal(*signal),
            Self::Unstarted => Exit::Incomplete,
            Self::Record(error) => match error {
                RecordError::Io { .. } => Exit::Storage,
                RecordError::Held { .. }
                | RecordError::RootHeld { .. }
                | RecordError::QueueHeld { .. } => Exit::Held,
                RecordError::Unknown { .. }
                | RecordError::Removed { .. }
                | RecordError::Ambiguous { .. }
                | RecordError::NotOwn { .. }
                | RecordError::NoCache
                | RecordError::Foreign { .. } => Exit::Usage,
                RecordError::Transition(_) => Exit::Internal,
            },
        }
    }
}

/// Returns the message about a `--rerun` that selects no trial.
fn nothing_meant(rerun: &Rerun, nearest: &str) -> String {
    let trials = match rerun {
        Rerun::Failed => "no trial failed",
        Rerun::Errors => "no trial ended in an error or a timeout",
        Rerun::All => "no trial has a result",
        Rerun::Filter { filter, .. } => {
            let filter = visible_line(filter);
            return format!("the filter `{filter}` matches no trial of the run that has a result");
        }
        Rerun::Glob(glob) => {
            let glob = visible_line(glob);
            return match slip_of_word(&glob) {
                Some(word) => format!(
                    "there is no `--rerun {glob}`, and no trial has this name; did you mean `{word}`?"
                ),
                None => format!("`--rerun {glob}` matches no trial of the run{nearest}"),
            };
        }
    };
    format!("nothing to run again: {trials}{nearest}")
}

/// Returns the word of `--rerun` that a glob may be a slip of.
fn slip_of_word(glob: &str) -> Option<&'static str> {
    similar(glob, ["failed", "errors", "all"].into_iter())
}

/// Wraps an I/O error that occurs before there is a run.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn machine_error(error: std::io::Error) -> EngineError {
    EngineError::Machine(machine::failure("cannot prepare a session", error))
}
