//! [`RunFiles`]: the files of a run that only grow, for the writer thread.

use std::{fs::File, io, path::Path};

use runner_model::Digest;

use crate::disk::beneath::{Dir, Stamp};
use crate::disk::durable::{Unsynced, sync_together};
use crate::disk::fault::{self, Place};
use crate::disk::layout::{ARTIFACTS, CALLS, LOGS, ROWS};
use crate::{RecordError, RunDir, disk::content_store::ContentStore, disk::lock};

/// A group of this size is written at once.
const LARGE_ROWS: u64 = 1024;
const LARGE_BYTES: usize = 1 << 20;

/// Rows that are written together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) lines: Vec<u8>,
    pub(crate) rows: u64,
    pub(crate) logs: Vec<u8>,
    pub(crate) artifacts: Vec<(Digest, File)>,
    /// Lines for `calls.jsonl`, and their number.
    pub(crate) calls: Vec<u8>,
    pub(crate) entries: u64,
}

impl Group {
    pub(crate) fn is_large(&self) -> bool {
        self.rows >= LARGE_ROWS || self.bytes() >= LARGE_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows + self.entries == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() + self.logs.len() + self.calls.len()
    }
}

/// Rows, logs, artifacts and calls of a run.
#[derive(Debug)]
pub(crate) struct RunFiles {
    run: RunDir,
    lock: Stamp,
    rows: Appended,
    logs: Appended,
    /// `None` before the first call of the run.
    calls: Option<Appended>,
}

impl RunFiles {
    pub(crate) fn open(run: &RunDir, lock: Stamp) -> Result<Self, RecordError> {
        let rows = Appended::open(&run.dir, ROWS)?;
        let logs = Appended::open(&run.dir, LOGS)?;
        let has_calls = run.dir.stat(CALLS)?.is_some();
        let calls = has_calls.then(|| Appended::open(&run.dir, CALLS)).transpose()?;
        Ok(Self { run: run.clone(), lock, rows, logs, calls })
    }

    pub(crate) fn logs_length(&self) -> u64 {
        self.logs.length
    }

    pub(crate) fn calls_length(&self) -> u64 {
        self.calls.as_ref().map_or(0, |calls| calls.length)
    }

    /// Writes and syncs a group. Artifacts, logs and calls are synced before the rows that name them. Returns the offset of the first
    /// row.
    pub(crate) fn commit(&mut self, group: &Group) -> Result<u64, RecordError> {
        // If this fails, the bytes after ours may be another owner's.
        self.check()?;
        // Rows without acknowledgement do not count, and on a full disk their bytes take the room of the manifest.
        let at = self.rows.length;
        self.write(group).inspect_err(|_| self.cut_back())?;
        Ok(at)
    }

    fn write(&mut self, group: &Group) -> Result<(), RecordError> {
        let mut unsynced = Vec::new();
        if !group.artifacts.is_empty() {
            unsynced.push(Unsynced::Names(self.run.dir.clone()));
            let artifacts = ContentStore(self.run.dir.dir_or_create(ARTIFACTS)?);
            for (digest, draft) in &group.artifacts {
                let draft = draft.try_clone();
                let draft = draft.map_err(|source| artifacts.0.error("keep", ".", source))?;
                unsynced.extend(artifacts.keep(draft, digest)?.0);
            }
        }
        if !group.logs.is_empty() {
            let written =
                fault::write_at(Place::LogsWrite, &self.logs.file, &group.logs, self.logs.length);
            let logs = written.and_then(|()| self.logs.file.try_clone());
            let logs = logs.map_err(|source| self.run.dir.error("write", LOGS, source))?;
            unsynced.push(Unsynced::Content(logs, self.run.dir.path().join(LOGS)));
        }
        if !group.calls.is_empty() {
            unsynced.extend(self.write_calls(&group.calls)?);
        }
        sync_together(unsynced)?;
        if group.rows > 0 {
            let rows = &self.rows.file;
            fault::write_at(Place::RowsWrite, rows, &group.lines, self.rows.length)
                .map_err(|source| self.error("write", source))?;
            fault::pass(Place::RowsSync)
                .and_then(|()| fault::sync_data(Path::new(ROWS), rows))
                .map_err(|source| self.error("sync", source))?;
        }
        self.rows.length += group.lines.len() as u64;
        self.logs.length += group.logs.len() as u64;
        if let Some(calls) = &mut self.calls {
            calls.length += group.calls.len() as u64;
        }
        Ok(())
    }

    /// Writes calls. The first ones create the file, and make the run private: responses may have secrets.
    fn write_calls(&mut self, lines: &[u8]) -> Result<Vec<Unsynced>, RecordError> {
        let mut unsynced = Vec::new();
        if self.calls.is_none() {
            self.run.dir.make_private()?;
            self.run.dir.create_file(CALLS)?;
            self.calls = Some(Appended::open(&self.run.dir, CALLS)?);
            unsynced.push(Unsynced::Names(self.run.dir.clone()));
        }
        if let Some(calls) = &self.calls {
            let written = fault::write_at(Place::CallsWrite, &calls.file, lines, calls.length);
            let file = written.and_then(|()| calls.file.try_clone());
            let file = file.map_err(|source| self.run.dir.error("write", CALLS, source))?;
            unsynced.push(Unsynced::Content(file, self.run.dir.path().join(CALLS)));
        }
        Ok(unsynced)
    }

    /// Cuts off all bytes that are not acknowledged.
    pub(crate) fn cut_back(&self) {
        for appended in [&self.rows, &self.logs].into_iter().chain(&self.calls) {
            let _ = appended.file.set_len(appended.length);
        }
    }

    pub(crate) fn error(&self, what: &'static str, source: io::Error) -> RecordError {
        self.run.dir.error(what, ROWS, source)
    }

    /// Fails if another program has changed, moved or removed the files: readers would not find the new rows.
    fn check(&self) -> Result<(), RecordError> {
        let found = self.run.root.stat(&self.run.id)?;
        if !found.is_some_and(|found| found.is_same_file(&self.run.dir.stamp)) {
            return Err(self.run.dir.refuse(
                ".",
                "another program has moved or removed the run, so nothing more is written; `resume` continues it where it is",
            ));
        }
        lock::check(&self.run.dir, &self.lock)?;
        self.check_rows()?;
        self.calls.iter().try_for_each(|calls| calls.check(&self.run.dir))?;
        self.logs.check(&self.run.dir)
    }

    /// Fails if the rows on disk are not those that were written.
    pub(crate) fn check_rows(&self) -> Result<(), RecordError> {
        self.rows.check(&self.run.dir)
    }
}

/// A file that grows.
#[derive(Debug)]
struct Appended {
    name: &'static str,
    file: File,
    stamp: Stamp,
    /// Synced bytes.
    length: u64,
}

impl Appended {
    fn open(dir: &Dir, name: &'static str) -> Result<Self, RecordError> {
        let file = dir.write(name)?;
        let stamp = Stamp::of(&file).map_err(|source| dir.error("look at", name, source))?;
        Ok(Self { name, file, stamp, length: stamp.length })
    }

    fn check(&self, dir: &Dir) -> Result<(), RecordError> {
        let problem = match dir.stat(self.name)? {
            None => "removed it",
            Some(found) if !found.is_same_file(&self.stamp) => "replaced it",
            Some(found) if found.length != self.length => "cut it or written into it",
            Some(_) => return Ok(()),
        };
        let problem = format!(
            "another program has {problem}, so nothing more is written; `resume` repairs and continues the run"
        );
        Err(dir.refuse(self.name, problem))
    }
}
