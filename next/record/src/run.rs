//! [`RunDir`]: a run that can be read, whatever process holds it.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf, time::SystemTime};

use runner_model::{
    Digest, RunStatus, Time,
    row::{LogPlace, has_right_checksum},
};

use crate::{
    Live, Manifest, RecordError,
    beneath::Dir,
    contents::Contents,
    live, lock,
    rows::{self, ReadLine},
    truth,
};

pub(crate) const ROWS: &str = "index.jsonl";
pub(crate) const LOGS: &str = "logs.jsonl";
pub(crate) const LOG: &str = "runner.log";
pub(crate) const SCENARIO: &str = "scenario.toml";
pub(crate) const ARTIFACTS: &str = "artifacts";
/// A scenario of more bytes is none.
const MAX_SCENARIO: u64 = 64 << 20;

/// The time.
pub(crate) fn now() -> Time {
    SystemTime::now().into()
}

/// A run that can be read; says nothing about who holds it.
#[derive(Clone, Debug)]
pub struct RunDir {
    /// The folder that the run is in.
    pub(crate) root: Dir,
    pub(crate) dir: Dir,
    pub(crate) id: String,
}

impl RunDir {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's directory, for messages.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The manifest as it is on disk.
    pub fn manifest(&self) -> Result<Manifest, RecordError> {
        Manifest::read(&self.dir, &self.id)
    }

    /// The manifest as it is in truth: if no process holds the lock of a run that says `running`, it has the status, end and
    /// counts that a sweep would give it. Writes nothing.
    pub fn truth(&self) -> Result<Manifest, RecordError> {
        self.truth_of(self.manifest()?)
    }

    pub(crate) fn truth_of(&self, mut manifest: Manifest) -> Result<Manifest, RecordError> {
        if manifest.status.is_terminal() {
            return Ok(manifest);
        }
        if lock::is_held(&self.dir) {
            let live = live::read(&self.dir);
            manifest.stage = live.and_then(|live| live.stage).unwrap_or(manifest.stage);
            return Ok(manifest);
        }
        // An owner writes the last manifest before it lets the lock go, and the next one may have begun meanwhile.
        manifest = self.manifest()?;
        if manifest.status == RunStatus::Running && !lock::is_held(&self.dir) {
            truth::end_dead_session(self, &mut manifest, now())?;
        }
        Ok(manifest)
    }

    /// The stored scenario.
    pub fn scenario(&self) -> Result<String, RecordError> {
        let bytes = self.dir.read_all(SCENARIO, MAX_SCENARIO)?;
        String::from_utf8(bytes).map_err(|error| {
            let source = std::io::Error::other(error.utf8_error());
            self.dir.error("read", SCENARIO, source)
        })
    }

    /// Calls `each` for every line of the rows, in order, with its first byte; damaged lines and a torn tail too. A last line
    /// that lacks only its line break is a row.
    pub fn rows(&self, each: &mut dyn FnMut(u64, ReadLine<'_>)) -> Result<(), RecordError> {
        let file = match self.dir.read(ROWS) {
            Err(error) if error.is_missing() => return Ok(()),
            opened => opened?,
        };
        rows::read(&file, each).map_err(|source| self.dir.error("read", ROWS, source))
    }

    /// The line of `logs.jsonl` at a place, checked.
    pub fn log(&self, place: LogPlace) -> Result<String, RecordError> {
        let failed = |source| self.dir.error("read", LOGS, source);
        let file = self.dir.read(LOGS)?;
        let length = file.metadata().map_err(failed)?.len();
        let is_there = place
            .at
            .checked_add(place.bytes.into())
            .is_some_and(|end| end <= length);
        let mut line = vec![0; if is_there { place.bytes as usize } else { 0 }];
        file.read_exact_at(&mut line, place.at).map_err(failed)?;
        match String::from_utf8(line) {
            Ok(line) if has_right_checksum(line.as_bytes()) => Ok(line),
            _ => Err(RecordError::Foreign {
                path: self.dir.path().join(LOGS),
                problem: format!(
                    "the line at byte {} is not the one that was written; what the attempt said is lost",
                    place.at
                ),
            }),
        }
    }

    /// Opens an artifact or large output, after its bytes were compared with the digest.
    pub fn artifact(&self, digest: &Digest) -> Result<File, RecordError> {
        Contents(self.dir.dir(ARTIFACTS)?).open(digest)
    }

    /// What is in flight and waits, as the run's process last wrote it; none if no process holds the run.
    pub fn live(&self) -> Option<Live> {
        lock::is_held(&self.dir).then(|| live::read(&self.dir))?
    }
}
