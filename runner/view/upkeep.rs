//! [`PruneReport`], [`CleanupReport`] and [`VerifyReport`]: what the commands came to that keep results in order.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, version::DocumentVersion, written};
use crate::{
    model::chain,
    record::{
        Amount, PrunedRun, Pruning, RecordError, RunEntry, RunId, Spared, Swept, Verification,
    },
};

/// Whether something was done, or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpkeepMode {
    /// It was only shown.
    Dry,
    /// It was done.
    Real,
}

impl UpkeepMode {
    /// Whether something was to be done.
    pub fn of(is_real: bool) -> Self {
        match is_real {
            true => Self::Real,
            false => Self::Dry,
        }
    }
}

/// The document of `runner prune --json`: what goes and what stays.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PruneReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// Whether nothing was deleted, and this is what would be.
    pub is_dry_run: bool,
    /// The runs that go, the newest first.
    pub runs: Vec<DoomedRun>,
    /// Runs that the policy names and that stay all the same.
    pub spared: Vec<SparedRun>,
    /// Directories that go because a run was not created or not deleted completely in them.
    pub leftovers: Vec<Leftover>,
    /// The files of the content store that go, because no run needs them any more.
    pub stored_files: SizedCount,
    /// The runs that are left; their bytes are those of their directories and of all of the content store.
    pub left: SizedCount,
    /// Directories that hold a run which cannot be read. While there is one, the content store is left alone.
    pub unreadable: Vec<FailedPath>,
    /// What could not be deleted.
    pub failures: Vec<FailedPath>,
}

/// A run that goes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DoomedRun {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// How large its directory is, in bytes.
    pub bytes: u64,
    /// The policies that name it.
    pub because_of: Vec<&'static str>,
}

/// A run that stays although a policy names it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SparedRun {
    /// The run's id.
    #[serde(rename = "run", serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub id: RunId,
    /// Why it stays, in words.
    pub because: &'static str,
}

/// A directory that is not a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Leftover {
    /// Where it is.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// How large it is, in bytes.
    pub bytes: u64,
}

/// So many things, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SizedCount {
    /// How many.
    pub count: u64,
    /// How large they are together, in bytes.
    pub bytes: u64,
}

/// A path with which something went wrong.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedPath {
    /// The path.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// What went wrong, for people.
    pub error: String,
}

/// The document of `runner cleanup --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CleanupReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// Whether nothing was written, and this is what would be.
    pub is_dry_run: bool,
    /// The runs whose process has died, as they stand once that is written down.
    pub runs: Vec<SweptRun>,
    /// The runs with which that failed.
    pub failures: Vec<FailedPath>,
}

/// A run whose process has died.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SweptRun {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// The names of its providers, in the scenario's order.
    pub providers: Vec<String>,
}

/// The document of `runner verify --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerifyReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run's directory.
    #[serde(rename = "run_dir", serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub dir: PathBuf,
    /// Whether there is no damage.
    pub is_intact: bool,
    /// How many rows are good.
    pub rows: u64,
    /// How many files were looked at that rows name.
    pub files: u64,
    /// How many files of the content store were.
    pub stored_files: u64,
    /// How much damage there is.
    pub damage_count: u64,
    /// The damage, at most the first thousand.
    pub damages: Vec<FoundDamage>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FoundDamage {
    /// The file that is damaged, or that something is missing from.
    #[serde(serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// Which line of it, from 1, where that can be told.
    pub line: Option<u64>,
    /// What is wrong, for people.
    pub problem: String,
    /// Where it is and what is wrong, in one sentence.
    #[serde(skip)]
    pub sentence: String,
}

impl PruneReport {
    /// What goes, or has gone, with the runs as they stand `now`.
    pub fn new(pruning: &Pruning, mode: UpkeepMode, now: Timestamp) -> Self {
        Self {
            v: DocumentVersion,
            is_dry_run: mode == UpkeepMode::Dry,
            runs: pruning
                .runs
                .iter()
                .map(|run| DoomedRun::new(run, now))
                .collect(),
            spared: pruning.spared.iter().map(SparedRun::from).collect(),
            leftovers: pruning.leftovers.iter().map(Leftover::from).collect(),
            stored_files: pruning.entries.into(),
            left: pruning.left.into(),
            unreadable: FailedPath::all(&pruning.unreadable),
            failures: FailedPath::all(&pruning.failures),
        }
    }
}

impl DoomedRun {
    fn new(pruned: &PrunedRun, now: Timestamp) -> Self {
        Self {
            run: RunSummary::new(&pruned.run, now),
            bytes: pruned.bytes,
            because_of: pruned.why.iter().map(|why| why.as_str()).collect(),
        }
    }
}

impl From<&(RunEntry, Spared)> for SparedRun {
    fn from((run, spared): &(RunEntry, Spared)) -> Self {
        Self {
            id: run.id.clone(),
            because: spared.as_str(),
        }
    }
}

impl From<&(PathBuf, u64)> for Leftover {
    fn from((path, bytes): &(PathBuf, u64)) -> Self {
        Self {
            path: path.clone(),
            bytes: *bytes,
        }
    }
}

impl From<Amount> for SizedCount {
    fn from(amount: Amount) -> Self {
        Self {
            count: amount.count,
            bytes: amount.bytes,
        }
    }
}

impl SizedCount {
    /// Counts things by their sizes.
    pub fn of(sizes: impl Iterator<Item = u64>) -> Self {
        let mut all = Self::default();
        for bytes in sizes {
            all.count += 1;
            all.bytes += bytes;
        }
        all
    }
}

impl FailedPath {
    fn all(failures: &[(PathBuf, RecordError)]) -> Vec<Self> {
        let failures = failures.iter();
        failures
            .map(|(path, error)| Self {
                path: path.clone(),
                error: chain(error),
            })
            .collect()
    }
}

impl CleanupReport {
    /// What was swept, or would be, with the runs as they stand `now`.
    pub fn new(
        runs: &[Swept],
        failures: &[(PathBuf, RecordError)],
        mode: UpkeepMode,
        now: Timestamp,
    ) -> Self {
        let runs = runs.iter();
        Self {
            v: DocumentVersion,
            is_dry_run: mode == UpkeepMode::Dry,
            runs: runs
                .map(|swept| SweptRun {
                    run: RunSummary::new(&swept.run, now),
                    providers: swept.providers.clone(),
                })
                .collect(),
            failures: FailedPath::all(failures),
        }
    }
}

impl VerifyReport {
    /// What was found in the run of `dir`.
    pub fn new(dir: &Path, verification: Verification) -> Self {
        let is_intact = verification.is_intact();
        let damages = verification.damages.into_iter();
        Self {
            v: DocumentVersion,
            dir: dir.to_owned(),
            is_intact,
            rows: verification.rows,
            files: verification.files,
            stored_files: verification.entries,
            damage_count: verification.damage_count,
            damages: damages
                .map(|damage| FoundDamage {
                    sentence: damage.to_string(),
                    path: damage.path,
                    line: damage.line,
                    problem: damage.problem,
                })
                .collect(),
        }
    }
}
