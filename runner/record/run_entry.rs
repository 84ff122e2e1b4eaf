//! [`RunEntry`]: a run as lists show it.

use std::{
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use jiff::Timestamp;

use super::{
    RecordError,
    error::is_missing,
    layout::{RunDir, RunId},
    lock,
    manifest::{Manifest, Pinned},
    reader::RunReader,
};
use crate::model::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict};

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEntry {
    /// Its id.
    pub id: RunId,
    /// Its directory.
    pub dir: PathBuf,
    /// The name of its scenario.
    pub scenario: String,
    /// Where it is in its life.
    pub status: RunStatus,
    /// Why it has this status.
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    pub signal: Option<StopSignal>,
    /// How far its latest session came.
    pub stage: Stage,
    /// What its trials showed.
    pub verdict: Verdict,
    /// How many trials came to what.
    pub counts: Counts,
    /// When it was born.
    pub created_at: Timestamp,
    /// When its first session began.
    pub started_at: Timestamp,
    /// When it ended; nobody knows this of a run that is not yet swept.
    pub completed_at: Option<Timestamp>,
    /// Since when and why it is pinned.
    pub pinned: Option<Pinned>,
    /// Whether its manifest still says `running` although nobody holds its lock; `status` tells what it really is.
    pub is_not_yet_swept: bool,
}

/// What tells one version of a manifest from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
    pub(super) bytes: i64,
}

impl Stamp {
    /// Looks at a manifest; `None` if there is none.
    pub(super) fn of(dir: &RunDir) -> io::Result<Option<Self>> {
        let metadata = match std::fs::metadata(dir.manifest()) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Some(Self {
            modified: modified.as_nanos().try_into().unwrap_or(i64::MAX),
            bytes: metadata.len().try_into().unwrap_or(i64::MAX),
        }))
    }
}

impl RunEntry {
    /// Reads a run from its directory, and asks its lock.
    pub(super) fn read(dir: &RunDir) -> Result<Self, RecordError> {
        let mut run = Self::of(dir, &Manifest::read(&dir.manifest())?);
        run.ask_lock()?;
        run.fold_counts()?;
        Ok(run)
    }

    /// Finds the run whose directory this is; `None` if there is none.
    pub fn in_directory(dir: &Path) -> Result<Option<Self>, RecordError> {
        let dir = RunDir::new(dir);
        match Stamp::of(&dir).map_err(RecordError::io("look for a run"))? {
            Some(_) => Self::read(&dir).map(Some),
            None => Ok(None),
        }
    }

    /// Tells whether `resume` has something to go on with.
    pub fn is_resumable(&self) -> bool {
        matches!(self.status, RunStatus::Incomplete | RunStatus::Failed)
    }

    /// Looks at the run again.
    pub fn refresh(&mut self) -> Result<(), RecordError> {
        *self = Self::read(&RunDir::new(&self.dir))?;
        Ok(())
    }

    /// What a manifest says, which for a running run is not yet the truth.
    pub(super) fn of(dir: &RunDir, manifest: &Manifest) -> Self {
        let name = dir.path().file_name().and_then(|name| name.to_str());
        Self {
            id: RunId::of_directory(name.unwrap_or(&manifest.run_id)),
            dir: dir.path().to_owned(),
            scenario: manifest.scenario.name.clone(),
            status: manifest.status,
            reason: manifest.reason,
            signal: manifest.signal,
            stage: manifest.stage,
            verdict: manifest.verdict,
            counts: manifest.counts.into(),
            created_at: manifest.created_at,
            started_at: manifest.started_at,
            completed_at: manifest.completed_at,
            pinned: manifest.pinned.clone(),
            is_not_yet_swept: false,
        }
    }

    /// Shows a run that says `running` and whose lock is free as what it is.
    pub(super) fn ask_lock(&mut self) -> Result<(), RecordError> {
        let dir = RunDir::new(&self.dir);
        if self.status != RunStatus::Running || lock::is_held(&dir.lock()) {
            return Ok(());
        }
        // Its owner may have finished since the manifest was read: it writes the manifest before it lets the lock go.
        *self = Self::of(&dir, &Manifest::read(&dir.manifest())?);
        if self.status == RunStatus::Running {
            self.status = RunStatus::Incomplete;
            self.reason = Some(Reason::Crashed);
            self.is_not_yet_swept = true;
        }
        Ok(())
    }

    /// Counts the rows of a run whose manifest cannot know them yet.
    pub(super) fn fold_counts(&mut self) -> Result<(), RecordError> {
        if self.status == RunStatus::Running || self.is_not_yet_swept {
            self.counts = RunReader::open(&self.dir)?.state()?.counts();
        }
        Ok(())
    }
}
