//! [`RunEntry`]: a run as lists show it.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{death, reader::RunReader};
use crate::{
    model::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict},
    record::{
        disk::{
            layout::{RunDir, RunId},
            lock,
            stamp::Stamp,
        },
        error::RecordError,
        format::{
            inflight,
            manifest::Manifest,
            manifest_parts::Pinned,
            pauses::{self, RunPause},
        },
    },
};

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
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first session began.
    pub started_at: Timestamp,
    /// When its latest session was opened.
    pub opened_at: Timestamp,
    /// How many processes have worked on it.
    pub sessions: u32,
    /// How long its sessions that are over have lasted, together.
    pub worked: Duration,
    /// When it ended: for a process that died, its last sign of life. Absent while it is running.
    pub completed_at: Option<Timestamp>,
    /// When the session was paused that a process works in, and by whom.
    pub pauses: Vec<RunPause>,
    /// Since when and why it is pinned.
    pub pinned: Option<Pinned>,
    /// Whether its manifest still says `running` although nobody holds its lock; everything here tells what it really is, as
    /// a sweep will write it down.
    pub is_not_yet_swept: bool,
}

impl RunEntry {
    /// Reads a run from its directory, and asks its lock.
    pub(in crate::record) fn read(dir: &RunDir) -> Result<Self, RecordError> {
        let mut run = Self::of(dir, &Manifest::read(&dir.manifest())?);
        run.ask_lock()?;
        run.fold_counts()?;
        Ok(run)
    }

    /// Finds the run whose directory this is; `None` if there is none.
    pub fn in_directory(dir: &Path) -> Result<Option<Self>, RecordError> {
        let dir = RunDir::real(dir);
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

    /// The run by its own directory, if it was found by a symbolic link.
    pub(in crate::record) fn real(&self) -> Self {
        let dir = RunDir::real(&self.dir);
        let mut run = self.clone();
        if let Some(name) = dir.path().file_name().and_then(|name| name.to_str()) {
            run.id = RunId::of_directory(name);
        }
        run.dir = dir.path().to_owned();
        run
    }

    /// What a manifest says, which for a running run is not yet the truth.
    pub(in crate::record) fn of(dir: &RunDir, manifest: &Manifest) -> Self {
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
            opened_at: manifest
                .sessions
                .last()
                .map_or(manifest.started_at, |latest| latest.opened_at),
            sessions: manifest.session(),
            worked: manifest.worked(),
            completed_at: manifest.completed_at,
            pauses: Vec::new(),
            pinned: manifest.pinned.clone(),
            is_not_yet_swept: false,
        }
    }

    /// Orders runs by the start of their first session, the newest first, and by their ids where that is the same.
    pub(in crate::record) fn newest_first(one: &Self, other: &Self) -> Ordering {
        let by_start = other.started_at.cmp(&one.started_at);
        by_start.then_with(|| other.id.cmp(&one.id))
    }

    /// Tells whether it says `running` and nobody holds its lock.
    pub(in crate::record) fn is_orphan(&self) -> bool {
        self.status == RunStatus::Running && !lock::is_held(&RunDir::new(&self.dir).lock())
    }

    /// Tells whether somebody holds its lock, whatever its status is.
    pub(crate) fn is_held(&self) -> bool {
        lock::is_held(&RunDir::new(&self.dir).lock())
    }

    /// Shows a run that says `running` and whose lock is free as what a sweep will make of it.
    pub(in crate::record) fn ask_lock(&mut self) -> Result<(), RecordError> {
        if !self.is_orphan() {
            if self.status == RunStatus::Running {
                self.read_open_session();
            }
            return Ok(());
        }
        let dir = RunDir::new(&self.dir);
        // Its owner may have finished since the manifest was read: it writes the manifest before it lets the lock go.
        let mut manifest = Manifest::read(&dir.manifest())?;
        let is_not_yet_swept = manifest.status == RunStatus::Running;
        if is_not_yet_swept {
            // Nothing here says when a sweep comes.
            death::close(&dir, &mut manifest, Timestamp::MAX)?;
        }
        *self = Self::of(&dir, &manifest);
        self.is_not_yet_swept = is_not_yet_swept;
        Ok(())
    }

    /// Reads what the open session of a run that goes on says beside its manifest: when it was paused, and whether its trials
    /// run yet.
    pub(in crate::record) fn read_open_session(&mut self) {
        let dir = RunDir::new(&self.dir);
        self.pauses = pauses::read(&dir, self.sessions);
        if inflight::is_running(&dir.inflight(), self.sessions) {
            self.stage = Stage::Run;
        }
    }

    /// Counts the rows of a run whose manifest cannot know them yet.
    pub(in crate::record) fn fold_counts(&mut self) -> Result<(), RecordError> {
        if self.status == RunStatus::Running {
            self.counts = RunReader::open(&self.dir)?.state()?.counts();
        }
        Ok(())
    }
}
