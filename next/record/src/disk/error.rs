//! [`RecordError`]: what goes wrong with what is on disk.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// What goes wrong with what is on disk. Each message says what, where, and what to do.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The system refused something.
    #[error("cannot {what} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, such as `write`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another live process holds the run.
    #[error("run {run} is held by {}: wait until it ends, or stop it", holder(*pid, host))]
    Held {
        /// The run.
        run: String,
        /// The process that holds it; 0 if unknown.
        pid: u32,
        /// Its machine.
        host: String,
    },
    /// Other sessions work in a results root that one wants alone, or one has it alone.
    #[error("{}: wait until that ends, or use `--exclusive --wait`", in_use(root, runs))]
    RootHeld {
        /// The root.
        root: PathBuf,
        /// The runs that processes work on, with their process; without any, a session has no run yet.
        runs: Vec<(String, u32)>,
    },
    /// No run has this name.
    #[error("there is no run `{name}`: `runner list` shows the runs of a results root")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The results root in which it was looked for.
        root: PathBuf,
    },
    /// Several runs have this name.
    #[error("`{name}` could be {}: type more of the name", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The results root in which it was looked for.
        root: PathBuf,
        /// The ids that it could be.
        candidates: Vec<String>,
    },
    /// A change of status that the graph does not have.
    #[error(transparent)]
    Transition(#[from] runner_model::status::BadTransition),
    /// What is there is not what the runner has written: a damaged manifest or one of another format, rows that another
    /// program has removed, replaced, cut or appended, or a folder that is no run.
    #[error("{}: {problem}", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What was seen.
        problem: String,
    },
}

impl RecordError {
    pub(crate) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        Self::Io { what, path, source }
    }

    /// Tells whether there is nothing at the path.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// The kind of what the system said.
    pub(crate) fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space",
        io::ErrorKind::FileTooLarge => "; allow more space for a file (`ulimit -f`)",
        io::ErrorKind::PermissionDenied => "; check the owner and the mode",
        io::ErrorKind::ReadOnlyFilesystem => "; choose another folder",
        _ => "",
    }
}

fn holder(pid: u32, host: &str) -> String {
    match pid {
        0 => "another process".into(),
        _ => format!("process {pid} on {host}"),
    }
}

/// Who is in the way in a results root, as the beginning of a sentence; see [`RecordError::RootHeld`].
pub fn in_use(root: &Path, runs: &[(String, u32)]) -> String {
    let run = |(run, pid): &(String, u32)| match pid {
        0 => format!("run {run}"),
        pid => format!("run {run} (process {pid})"),
    };
    let sessions = match runs {
        [] => "a session that has no run yet".into(),
        runs => runs.iter().map(run).collect::<Vec<_>>().join(", "),
    };
    format!("{} is in use by {sessions}", root.display())
}
