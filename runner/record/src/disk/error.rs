//! [`RecordError`]: failures of the disk and of files on it.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use runner_model::Time;
use runner_model::visible::{shown_path, visible_line};
use rustix::{fs::statvfs, io::Errno};
use thiserror::Error;

use crate::disk::layout::command;

/// A failure of the disk or of a file on it. Each message has the cause, the place and the next step.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A system call failed.
    #[error("cannot {what} {}: {source}{}", shown_path(path), advice(path, source))]
    Io {
        /// The action, such as `write`.
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Another live process holds the run.
    #[error(
        "run {run} is held by {holder}; to wait until it ends: {}; to stop it: {}",
        command(root, &["wait", run]),
        command(root, &["stop", run])
    )]
    Held {
        run: String,
        /// The results root.
        root: PathBuf,
        holder: Holder,
    },
    /// The results root is in use, and one of the sessions needs it exclusively.
    #[error("{}: wait until that ends, or use `--exclusive --wait`", in_use(root, runs))]
    RootHeld {
        root: PathBuf,
        /// Ids of the live runs, each with its process. Empty while the other session has no run yet.
        runs: Vec<(String, u32)>,
    },
    /// Another process works on the queue of the results root, and has not ended in time.
    #[error(
        "another process works on the queue and did not end in time: try again; to find it: fuser {}",
        shown_path(lock)
    )]
    QueueHeld { lock: PathBuf },
    /// No run has this name.
    #[error("there is no run `{}`; to list all runs: {}", visible_line(name), command(root, &["list"]))]
    Unknown {
        name: String,
        /// The results root that was searched.
        root: PathBuf,
    },
    /// Another process has removed the run.
    #[error(
        "run {run} no longer exists: it was deleted, or it was refused or stopped before its first trial"
    )]
    Removed { run: String },
    /// Another user, or the owner of another key, can have decided what the run executes.
    #[error("run {run} {problem}{grants}{}{advice}", separator(grants))]
    NotOwn {
        run: String,
        /// The owner, as the rest of a sentence.
        problem: String,
        /// What the run would get if it were executed, on lines of its own. Empty if unknown.
        grants: String,
        /// How to use the run nevertheless.
        advice: String,
    },
    /// Several runs have this name.
    #[error("`{}` could be {}: type more of the name", visible_line(name), candidates.join(", "))]
    Ambiguous {
        name: String,
        /// The results root that was searched.
        root: PathBuf,
        /// Ids of the matching runs.
        candidates: Vec<String>,
    },
    /// The environment names no folder for compiled plugins.
    #[error(
        "there is no place for the plugin cache, because HOME is not set: set RUNNER_CACHE to a folder of yours"
    )]
    NoCache,
    /// The status graph has no such change.
    #[error(transparent)]
    Transition(#[from] runner_model::status::BadTransition),
    /// A file was not written by this runner: a damaged manifest or one of another format, rows that another program
    /// has removed, replaced, cut or extended, or a folder that is not a run.
    #[error("{}: {problem}", shown_path(path))]
    Foreign { path: PathBuf, problem: String },
}

/// The process that holds a lock, by the text of the lock file. Parts may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// 0 if unknown, or if that process cannot be the holder.
    pub pid: u32,
    pub host: String,
    /// Start of the holding.
    pub since: Option<Time>,
    pub(crate) token: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => out.write_str("another program")?,
            pid => write!(out, "process {pid} on {}", visible_line(&self.host))?,
        }
        self.since.map_or(Ok(()), |since| write!(out, " since {since}"))
    }
}

impl RecordError {
    /// Returns the error for a run whose folder `dir` another process holds.
    pub(crate) fn held(run: &str, dir: &Path, holder: Holder) -> Self {
        let root = dir.parent().unwrap_or(dir).to_owned();
        Self::Held { run: run.to_owned(), root, holder }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let path = path.to_owned();
        let source = source.into();
        Self::Io { what, path, source }
    }

    /// Returns whether the path or run does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Removed { .. })
            || self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// Returns whether the process or the machine has no files or memory left, which shows nothing about the path.
    pub fn is_exhausted(&self) -> bool {
        let numbers = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|number| numbers.contains(&number))
    }

    /// Returns the kind of a failed system call.
    pub(crate) fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Returns the separator of a sentence after grants, which have lines of their own.
fn separator(grants: &str) -> &'static str {
    if grants.is_empty() { "; " } else { "\n" }
}

/// Returns whether a disk or a quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the end of a message about a failed system call: how to avoid it.
pub fn advice(path: &Path, source: &io::Error) -> &'static str {
    match source.kind() {
        _ if is_full(source) && lacks_inodes(path) => {
            "; its file system has no inode left: remove some files"
        }
        _ if is_full(source) => "; free some space",
        io::ErrorKind::FileTooLarge => "; allow more space for a file (`ulimit -f`)",
        io::ErrorKind::PermissionDenied => "; check the owner and the mode",
        io::ErrorKind::ReadOnlyFilesystem => "; choose another folder",
        _ => "",
    }
}

/// Returns whether the file system of a path that may be missing has no inode left. Some file systems count none.
fn lacks_inodes(path: &Path) -> bool {
    // The last ancestor of a relative path is empty: the current folder.
    let ancestors = path.ancestors().chain([Path::new(".")]);
    let found = ancestors.into_iter().find_map(|path| statvfs(path).ok());
    found.is_some_and(|found| found.f_files > 0 && found.f_favail == 0)
}

/// Returns the start of a message that names the sessions in a results root; see [`RecordError::RootHeld`].
pub fn in_use(root: &Path, runs: &[(String, u32)]) -> String {
    let names = runs.iter().map(|(run, pid)| match pid {
        0 => format!("run {run}"),
        pid => format!("run {run} (process {pid})"),
    });
    let sessions = match runs {
        [] => "a session that has no run yet, or whose run only its owner can read".into(),
        _ => names.collect::<Vec<_>>().join(", "),
    };
    format!("{} is in use by {sessions}", shown_path(root))
}
