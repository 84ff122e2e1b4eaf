//! What can go wrong on disk.

use std::{fmt, io, path::PathBuf, sync::Arc};

use thiserror::Error;

use crate::model::{Digest, MOST_TOLD_TRIALS, RunStatus, count, plural, shown_problem};

/// Why a run could not be begun, written or read.
///
/// Sources are errors of `fs_err`, which name the path that they are about.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The results root is there, and is no directory.
    #[error("results root `{path}` is not a directory")]
    RootIsFile {
        /// The root as given.
        path: PathBuf,
    },
    /// The results root is missing and cannot be created.
    #[error("cannot create results root `{path}`")]
    CreateRoot {
        /// The root as given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The results root is there, and nothing can be created in it.
    #[error("cannot write in results root `{path}`")]
    RootNotWritable {
        /// The root as given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process keeps a lock that is needed.
    #[error("lock `{path}` is held by another process{}", owner(text))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// What its owner wrote into it.
        text: String,
    },
    /// A session is alone in the results root.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// A file or directory could not be created, written, synced or read.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as in `cannot …`.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A run was worked on while it was read as one that is at rest.
    #[error("run `{}` was changed meanwhile", run.display())]
    ChangedMeanwhile {
        /// Its directory.
        run: PathBuf,
    },
    /// A run was removed or moved away by somebody else.
    #[error("run `{}` is not there any more", run.display())]
    Gone {
        /// Its directory.
        run: PathBuf,
    },
    /// Each trial of a run was to be told of that has too many for that.
    #[error(
        "run `{run}` has {}, and what tells of each of them is made of at most {}",
        plural(*.trials, "trial"),
        count(MOST_TOLD_TRIALS)
    )]
    TooMany {
        /// The run.
        run: String,
        /// How many trials it has.
        trials: u64,
    },
    /// A file is not what it was when its digest was taken.
    #[error("`{path}` was changed: its digest was {expected} and is {found}")]
    Changed {
        /// The file.
        path: PathBuf,
        /// The digest it was announced with.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// A manifest is there and cannot be understood.
    #[error("cannot understand manifest `{path}`")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where it is wrong.
        source: JsonProblem,
    },
    /// A file was to be written that a newer runner has written.
    #[error(
        "`{path}` has format {found}, and this runner {} writes format {known}: only a newer runner may go on with it",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest one that this runner knows.
        known: u32,
    },
    /// What a session holds was taken away from it.
    #[error(
        "`{path}` was removed or replaced, or changed, under this session: another process may own the run now, so nothing more is written"
    )]
    Lost {
        /// The lock, or the file of rows.
        path: PathBuf,
    },
    /// An entry of the results root cannot be looked into.
    #[error("it cannot be told whether a run is in it")]
    Odd(#[source] io::Error),
    /// A status was to follow another one that it cannot follow.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// `runner.db` cannot be made anew.
    #[error("cannot make the database anew")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A directory was named for a run, and something is in it.
    #[error("`{path}` is not empty")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A directory was named for a run, and its name cannot be a run's id.
    #[error(
        "`{path}` does not end in a name that a run can have: `latest` is the newest one, and `queue`, `store`, `lost+found` \
         and all that begin with `runner.` are something else in a results root"
    )]
    NoName {
        /// The directory.
        path: PathBuf,
    },
    /// A run was to be planned anew although it did begin.
    #[error("run `{run}` has begun and cannot be planned anew")]
    HasRows {
        /// The run.
        run: String,
    },
    /// Which trials a session was to run again cannot be understood.
    #[error("cannot understand which trials are to be run again")]
    Rerun(#[source] globset::Error),
    /// A write of the session failed; from then on nothing is written any more.
    #[error("rows cannot be stored")]
    Stopped(#[source] Arc<Self>),
}

/// What is wrong with JSON, in words for people.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct JsonProblem(String);

impl From<serde_json::Error> for JsonProblem {
    fn from(error: serde_json::Error) -> Self {
        Self(shown_problem(&error.to_string()))
    }
}

/// A session that is alone in its results root keeps every other out.
#[derive(Debug, Error)]
#[error("the results root `{}` is in use: {by}", root.display())]
pub struct Taken {
    /// The root.
    pub root: PathBuf,
    /// The run, if it has one already, and who works on it.
    pub by: String,
    /// The run's directory.
    pub run: Option<PathBuf>,
}

impl RecordError {
    /// Takes away who holds a lock.
    pub(in crate::record) fn unnamed(self) -> Self {
        match self {
            Self::Held { path, text: _ } => Self::Held {
                path,
                text: String::new(),
            },
            other => other,
        }
    }

    /// Wraps a failure of the system, for `map_err`.
    pub(in crate::record) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// Tells whether an error says that nothing is there.
pub(in crate::record) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

pub(in crate::record) fn owner(text: &str) -> String {
    // The rest is for programs.
    let is_told = |line: &&str| {
        ["pid ", "host ", "since "]
            .iter()
            .any(|key| line.starts_with(key))
    };
    let lines = text.lines().filter(is_told);
    match lines.collect::<Vec<_>>().join(", ").trim() {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}

/// A status was to follow another one that it cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a run that is {} cannot become {to}", Shown(*from))]
pub struct IllegalTransition {
    /// The status the run has.
    pub from: Option<RunStatus>,
    /// The status it was to get.
    pub to: RunStatus,
}

struct Shown(Option<RunStatus>);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => status.fmt(formatter),
            None => formatter.write_str("not created yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RecordError;
    use crate::record::{
        RunReader, Store,
        testing::{finished_run, now},
        writing::claim_error::ClaimError,
    };

    #[test]
    fn a_run_that_somebody_removes_meanwhile_is_gone_and_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let finished = finished_run(directory.path());
        let store = Store::open(directory.path()).unwrap();
        let mut run = store.find("latest").unwrap();
        let reader = RunReader::open(&run.dir).unwrap();

        // As `prune` does: first what makes it a run.
        fs_err::remove_file(finished.run_dir.join("benchmark.json")).unwrap();
        fs_err::remove_file(finished.run_dir.join("index.jsonl")).unwrap();
        let is_gone = |error: RecordError| matches!(error, RecordError::Gone { .. });
        assert!(is_gone(reader.state().err().unwrap()));
        assert!(is_gone(reader.tail().err().unwrap()));
        assert!(is_gone(run.refresh().err().unwrap()));
        fs_err::remove_dir_all(&finished.run_dir).unwrap();
        let claimed = store.claim(&run, now()).err().unwrap();
        assert!(
            matches!(claimed, ClaimError::Record(RecordError::Gone { .. })),
            "{claimed}"
        );
    }
}
