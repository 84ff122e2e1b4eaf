//! Reading a run, at any time: every prefix of a valid `index.jsonl` is valid. Readers repair nothing.

use std::{
    error::Error,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use fs_err::File;
use serde_json::Value;

use super::{
    batches::{AttemptBatches, WrittenAttempts},
    fold,
    history::{History, NextSession},
    lines::Rows,
    missing::MissingFromRun,
    named::NamedRows,
    row_files::RowFiles,
    scenario_text,
    state::State,
    tail::RowTail,
};
use crate::{
    model::{Digest, MOST_TOLD_TRIALS, RunStatus, is_file_name},
    record::{
        disk::{
            layout::{ContentPaths, RunDir, RunId},
            lock::{self, Holder},
            regular,
        },
        error::{RecordError, is_missing},
        format::{
            brief::{self, Brief},
            glance::RowGlance,
            inflight::{self, Underway},
            manifest::Manifest,
            pauses::{self, RunPause},
            phases::WaitingTrials,
            row::{Row, StoredOutput},
        },
    },
};

/// A run that is read.
#[derive(Clone, Debug)]
pub struct RunReader {
    dir: RunDir,
    manifest: Manifest,
}

impl RunReader {
    /// Reads the manifest of the run in `dir`.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let dir = RunDir::new(dir);
        let manifest = Manifest::read(&dir.manifest())?;
        Ok(Self { dir, manifest })
    }

    pub(in crate::record) fn of(dir: RunDir, manifest: Manifest) -> Self {
        Self { dir, manifest }
    }

    pub(in crate::record) fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The run's id: the name of its directory, whatever its manifest says.
    pub fn id(&self) -> RunId {
        let name = self.dir.path().file_name().and_then(|name| name.to_str());
        RunId::of_directory(name.unwrap_or(&self.manifest.run_id))
    }

    /// What the run is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every row that is on disk, in the order of writing.
    pub fn rows(&self) -> Rows<Row<'static>> {
        self.judged(Rows::new(&self.dir, Row::decode))
    }

    /// The same as they were written, beside what they mean by now.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn written_attempts(&self) -> Result<WrittenAttempts, RecordError> {
        self.attempt_batches().map(WrittenAttempts::new)
    }

    /// The same in batches, for threads that read them beside each other.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn attempt_batches(&self) -> Result<AttemptBatches, RecordError> {
        let is_judged_apart = self.manifest.is_judged_apart();
        let files = RowFiles::open(&self.dir);
        let opened = files.and_then(|files| AttemptBatches::open(&files, is_judged_apart));
        opened.map_err(|error| self.rows_failed(error))
    }

    /// The same for whoever asks for those of some trials.
    pub fn named_rows(&self) -> NamedRows {
        NamedRows::new(self.judged(self.named_lines()))
    }

    pub(in crate::record) fn named_lines(&self) -> Rows<(Brief, String)> {
        Rows::new(&self.dir, brief::decode_named)
    }

    /// Fails if there are too many trials for something to be held of each that is more than its state.
    pub(in crate::record) fn check_size(&self) -> Result<(), RecordError> {
        let trials = self.manifest.metadata.planned_test_count;
        if trials <= MOST_TOLD_TRIALS {
            return Ok(());
        }
        let run = self.id().to_string();
        Err(RecordError::TooMany { run, trials })
    }

    /// The same, as far as it is counted.
    pub(in crate::record) fn glances(&self) -> Rows<RowGlance> {
        self.judged(Rows::new(&self.dir, RowGlance::decode))
    }

    pub(in crate::record) fn judged<T>(&self, rows: Rows<T>) -> Rows<T> {
        match self.manifest.is_judged_apart() {
            true => rows.judged_apart(),
            false => rows,
        }
    }

    /// What it means that rows cannot be read: the run may have been deleted meanwhile.
    pub fn rows_failed(&self, source: io::Error) -> RecordError {
        RecordError::io("read rows")(source).or_gone(&self.dir)
    }

    /// Tells of rows that are missing, unless somebody is at work on the run.
    pub(in crate::record) fn tell_missing(
        &self,
        history: &History,
        tell: &mut impl FnMut(&dyn Error),
    ) {
        if let Some(rows) = history.untold_missing()
            && !lock::is_held(&self.dir.lock())
        {
            let run = self.id().to_string();
            tell(&MissingFromRun { run, rows });
        }
    }

    /// The same from the first row on, for a run that is being worked on.
    pub fn tail(&self) -> Result<RowTail, RecordError> {
        RowTail::open(&self.dir).map_err(|error| error.or_gone(&self.dir))
    }

    /// Asks whether a process works on the run, if it did when the manifest was read.
    pub fn is_alive(&self) -> bool {
        self.manifest.status == RunStatus::Running && lock::is_held(&self.dir.lock())
    }

    /// Who holds the run's lock, whatever its manifest says; `None` if nobody does.
    pub fn holder(&self) -> Option<Holder> {
        lock::holder(&self.dir.lock())
    }

    /// What the rows that are on disk come to, in the light of the run's sessions; damaged lines count as not written.
    pub fn state(&self) -> Result<State, RecordError> {
        self.history().map(|history| history.state)
    }

    /// What the rows and the sessions come to.
    pub fn history(&self) -> Result<History, RecordError> {
        self.history_with(NextSession::default())
    }

    /// The same, and what one more session would find that is opened now.
    pub fn history_with(&self, asked: NextSession<'_>) -> Result<History, RecordError> {
        fold::fold(&self.dir, &self.manifest, asked).map_err(|error| error.or_gone(&self.dir))
    }

    /// Tells whether anything of the run was ever executed; then its stored plan stays, whatever its status is.
    pub fn has_begun(&self) -> bool {
        self.manifest.has_begun(&self.dir)
    }

    /// Where the run's plugins, tests and attachments are.
    pub fn content(&self) -> ContentPaths {
        ContentPaths::new(self.dir.root().content())
    }

    /// The run's own copy of its scenario, if it is unaltered.
    pub fn scenario_text(&self) -> Result<String, RecordError> {
        scenario_text::read(&self.dir.root(), &self.dir, &self.manifest)
    }

    /// What the run's latest session has begun and not ended.
    pub fn in_flight(&self) -> Vec<Underway> {
        inflight::read_underway(&self.dir.inflight(), self.manifest.session())
    }

    /// Which trials wait for the time of their next attempt, and whether all wait for workers, as far as the run's process
    /// says so.
    pub fn waits(&self) -> WaitingTrials {
        inflight::read_waits(&self.dir.inflight(), self.manifest.session())
    }

    /// When the session was paused that a process works in, and by whom.
    pub fn pauses(&self) -> Vec<RunPause> {
        pauses::read(&self.dir, self.manifest.session())
    }

    /// The pause that lasts, if there is one.
    pub fn pause(&self) -> Option<RunPause> {
        let latest = self.pauses().pop();
        latest.filter(|pause| pause.until.is_none())
    }

    /// What the runner has written down of the run's sessions, from a byte on; empty where it is missing.
    pub fn log_from(&self, start: u64) -> Result<Vec<u8>, RecordError> {
        let read = || {
            let mut file = regular::open(&self.dir.log())?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        match read() {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            read => read.map_err(RecordError::io("read the runner's log")),
        }
    }

    /// The rows as they are in their files.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be opened.
    pub fn open_rows(&self) -> io::Result<RowFiles> {
        RowFiles::open(&self.dir)
    }

    /// The file of what the runner has written down, and its length.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be opened.
    pub fn open_log(&self) -> io::Result<(File, u64)> {
        Self::open_file(&self.dir.log())
    }

    fn open_file(path: &Path) -> io::Result<(File, u64)> {
        let file = regular::open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Where the files of an attempt are.
    pub fn attempt_folder(&self, row: &Row<'_>) -> PathBuf {
        self.dir.artifacts(row.ordinal, row.attempt)
    }

    /// A file that an attempt left.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be opened, or its name leads somewhere else.
    pub fn artifact(&self, ordinal: u64, attempt: u32, name: &str) -> io::Result<File> {
        let path = self.dir.artifacts(ordinal, attempt).join(name);
        if !is_file_name(name) || fs_err::symlink_metadata(&path)?.is_symlink() {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        regular::open(&path)
    }

    /// An output that is in a file of its own.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or is not what was stored.
    pub fn output(&self, row: &Row<'_>, stored: &StoredOutput<'_>) -> io::Result<Value> {
        let folder = self.attempt_folder(row);
        let bytes = regular::read(&folder.join(stored.artifact.as_ref()))?;
        if Digest::of(&bytes) != stored.sha256 {
            return Err(io::Error::other("its content is not what was stored"));
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}
