//! [`RunDir`]: a run that can be read, whatever process holds it.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use runner_model::{
    Digest, RunStatus, Time, digest,
    row::{LogPlace, RowHead, has_right_checksum},
};

use crate::{
    Holder, Live, Manifest, RecordError,
    beneath::Dir,
    contents::Contents,
    fault, live, lock,
    root::STORE,
    rows::{self, Each, Head, Part, ReadLine, Whole},
    truth,
};

pub(crate) const ROWS: &str = "index.jsonl";
pub(crate) const LOGS: &str = "logs.jsonl";
pub(crate) const LOG: &str = "runner.log";
pub(crate) const SCENARIO: &str = "scenario.toml";
pub(crate) const ARTIFACTS: &str = "artifacts";
/// A longer file is no scenario.
const MAX_SCENARIO: u64 = 64 << 20;

/// The time of day. It may be set to another one at any moment, so nothing is decided by it, and no duration is reckoned by
/// it where there is another clock.
pub fn now() -> Time {
    fault::time_of_day()
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
            if let Some(live) = live::read(&self.dir, manifest.last_session()) {
                manifest.stage = live.stage.unwrap_or(manifest.stage);
                manifest.counts = live.counts;
                if let Some(session) = manifest.sessions.last_mut() {
                    session.worked_ms = Some(live.worked_ms);
                }
            }
            return Ok(manifest);
        }
        // An owner writes the last manifest before it lets the lock go, and the next one may have begun meanwhile.
        manifest = self.manifest()?;
        if manifest.status == RunStatus::Running && !lock::is_held(&self.dir) {
            truth::end_dead_session(self, &mut manifest, now())?;
        }
        Ok(manifest)
    }

    /// The scenario that the manifest means.
    pub fn scenario(&self, manifest: &Manifest) -> Result<String, RecordError> {
        self.find_scenario(manifest).map(|(text, _)| text)
    }

    /// The scenario, and whether it is not in its file: of a process that died while it took over another plan, the store alone
    /// has it.
    pub(crate) fn find_scenario(&self, manifest: &Manifest) -> Result<(String, bool), RecordError> {
        let wanted = manifest.metadata.scenario_sha256;
        let file = self.dir.read_all(SCENARIO, MAX_SCENARIO);
        let is_in_file = matches!(&file, Ok(bytes) if digest(bytes) == wanted);
        let found = match file {
            Ok(bytes) if is_in_file => Ok(bytes),
            other => self.stored_scenario(&wanted).map_err(|_| {
                let problem =
                    format!("its bytes are not those of the run, whose SHA-256 is {wanted}");
                let path = self.dir.path().join(SCENARIO);
                other
                    .err()
                    .unwrap_or(RecordError::Foreign { path, problem })
            }),
        };
        let text = String::from_utf8(found?).map_err(|error| {
            let source = std::io::Error::other(error.utf8_error());
            self.dir.error("read", SCENARIO, source)
        })?;
        Ok((text, !is_in_file))
    }

    fn stored_scenario(&self, digest: &Digest) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::new();
        let mut content = self.content(digest)?.take(MAX_SCENARIO);
        let read = content.read_to_end(&mut bytes);
        read.map_err(|source| self.root.error("read", STORE, source))?;
        Ok(bytes)
    }

    /// Calls `each` for every line of the rows, in order, with its first byte; damaged lines and a torn tail too. A last line
    /// that lacks only its line break is a row.
    pub fn rows(&self, each: &mut dyn FnMut(u64, ReadLine<'_>)) -> Result<(), RecordError> {
        self.rows_from(0, each).map(drop)
    }

    /// Calls `each` for every line from the one that begins at byte `from`. Returns where to go on once there are more rows: where the last
    /// line begins if it lacks its line break, else where the next one will begin.
    pub fn rows_from(
        &self,
        from: u64,
        each: &mut dyn for<'a> FnMut(u64, ReadLine<'a>),
    ) -> Result<u64, RecordError> {
        self.read_rows::<Whole>(from, each)
    }

    /// Calls `each` for every line, with no more of each row than folds need.
    pub fn heads(
        &self,
        each: &mut dyn for<'a> FnMut(u64, ReadLine<'a, RowHead>),
    ) -> Result<(), RecordError> {
        self.read_rows::<Head>(0, each).map(drop)
    }

    fn read_rows<P: Part>(&self, from: u64, each: &mut Each<'_, P>) -> Result<u64, RecordError> {
        let file = match self.dir.read(ROWS) {
            Err(error) if error.is_missing() => return Ok(from),
            opened => opened?,
        };
        rows::read::<P>(&file, from, each).map_err(|source| self.dir.error("read", ROWS, source))
    }

    /// What the runner itself has logged of the run, from this byte on.
    pub fn runner_log(&self, from: u64) -> Result<Vec<u8>, RecordError> {
        let failed = |source| self.dir.error("read", LOG, source);
        let mut bytes = Vec::new();
        let mut file = self.dir.read(LOG)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The bytes of a row whose place [`Self::rows`] has told.
    pub fn row(&self, at: u64, bytes: usize) -> Result<Vec<u8>, RecordError> {
        let mut line = vec![0; bytes];
        let read = self.dir.read(ROWS)?.read_exact_at(&mut line, at);
        read.map_err(|source| self.dir.error("read", ROWS, source))?;
        Ok(line)
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

    /// The process that holds the run; none if no process does.
    pub fn holder(&self) -> Option<Holder> {
        lock::holder(&self.dir)
    }

    /// What is in flight and waits, as the run's process last wrote it; none if no process holds the run.
    pub fn live(&self) -> Option<Live> {
        let session = self.manifest().ok()?.last_session();
        lock::is_held(&self.dir).then(|| live::read(&self.dir, session))?
    }
}
