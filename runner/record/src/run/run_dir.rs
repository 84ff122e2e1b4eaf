//! [`RunDir`]: a run for reading, no matter which process holds it.

use std::io::{self, BufRead as _, Read as _};
use std::{fs::File, os::fd::AsFd, os::unix::fs::FileExt as _, path::PathBuf};

use runner_model::row::{Artifact, LogPlace, has_right_checksum};
use runner_model::{Digest, RowRef, RunStatus, TrialId};
use runner_model::{digest, log::MAX_SAID, visible::shown_path};
use serde::Deserialize;

use crate::disk::beneath::{Dir, Reader, Stamp};
use crate::disk::content_store::{CheckedFile, ContentStore};
use crate::disk::layout::{ARTIFACTS, LOG, LOGS, MANIFEST, ROWS, SCENARIO, STORE};
use crate::disk::{lock, owner, permissions::TRUSTED};
use crate::rows::line_reader::{self, ReadLine};
use crate::run::signature::{self, Extent};
use crate::run::{live, manifest};
use crate::{Holder, Live, Manifest, RecordError, RowsFile};

/// Bytes of a line of `logs.jsonl`: the attempt's output, its trial and a checksum.
const MAX_LOG_LINE: u32 = MAX_SAID as u32 + (4 << 10);
/// A larger file is not a scenario.
const MAX_SCENARIO: u64 = 64 << 20;

/// A run for reading, no matter which process holds it.
#[derive(Clone, Debug)]
pub struct RunDir {
    /// The results root.
    pub(crate) root: Dir,
    pub(crate) dir: Dir,
    pub(crate) id: String,
    /// The check of each manifest that is read.
    pub(crate) check: Check,
}

/// A check of a run's author. Each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Nothing,
    /// No other user can have written the manifest.
    Owner,
    /// The manifest has a signature by this user's key.
    Key,
}

impl RunDir {
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the path for messages.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Reads the manifest as it is on disk; see [`Self::truth`].
    pub fn manifest(&self) -> Result<Manifest, RecordError> {
        self.read_manifest().map(|(manifest, ..)| manifest)
    }

    /// Reads the manifest, with its text and the stamp of its file.
    pub(crate) fn read_manifest(&self) -> Result<(Manifest, String, Stamp), RecordError> {
        let file = self.dir.read(MANIFEST).map_err(|error| match self.vanished(error) {
            RecordError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                manifest::damaged(&self.dir, "it is missing")
            }
            error => error,
        })?;
        if self.check >= Check::Owner {
            self.check_owner(&file, MANIFEST)?;
        }
        let read = Manifest::read(&self.dir, &self.id, file)?;
        if self.check == Check::Key
            && let Err(problem) = signature::check(&read.1)
        {
            return Err(self.not_signed(problem));
        }
        Ok(read)
    }

    /// Returns the run for a command that executes a part of it, or that acts on it without a request of the user. Its later
    /// manifests are checked, too.
    ///
    /// # Errors
    ///
    /// [`RecordError::NotOwn`] unless this user's key has signed the run, or it is below `RUNNER_TRUST_ROOT`.
    pub fn for_use(&self) -> Result<Self, RecordError> {
        self.checked(Check::Key)
    }

    /// Returns the run for a command by which the user changes or deletes it, and that executes nothing of it.
    ///
    /// # Errors
    ///
    /// [`RecordError::NotOwn`] unless the run is this user's or root's, or it is below `RUNNER_TRUST_ROOT`.
    pub fn for_change(&self) -> Result<Self, RecordError> {
        self.checked(self.check.max(Check::Owner))
    }

    fn checked(&self, check: Check) -> Result<Self, RecordError> {
        let check = if owner::is_trusted(&self.root) { Check::Nothing } else { check };
        if check >= Check::Owner {
            self.check_owner(&self.dir, ".")?;
        }
        let run = Self { check, ..self.clone() };
        run.manifest()?;
        Ok(run)
    }

    /// Returns the user, or the owner of another key, who can have decided what the run executes, as the rest of a sentence.
    /// `None` if that is this user.
    pub fn other_author(&self) -> Option<String> {
        match self
            .check_owner(&self.dir, ".")
            .and_then(|()| Self { check: Check::Key, ..self.clone() }.manifest())
        {
            Ok(_) => None,
            Err(RecordError::NotOwn { problem, .. }) => Some(problem),
            Err(error) => Some(format!("cannot be read: {error}")),
        }
    }

    /// Returns the reason why commands that execute a part of the run refuse it, as the rest of a sentence.
    pub fn foreign(&self) -> Option<String> {
        match self.for_use() {
            Ok(_) => None,
            Err(RecordError::NotOwn { problem, .. }) => Some(problem),
            Err(error) => Some(format!("cannot be read: {error}")),
        }
    }

    /// Returns the digest of the parts of a manifest that its author signs, for
    /// [`ResultsRoot::sign`](crate::ResultsRoot::sign).
    pub fn signed_digest(manifest: &Manifest) -> Option<Digest> {
        signature::digest_of(manifest)
    }

    /// Returns the extent of this user's signature of the text of the manifest. `None` without one, or if another user can have
    /// written it.
    pub(crate) fn signed_extent(&self, text: &str) -> Option<Extent> {
        let extent = signature::check(text).ok()?;
        let file = self.dir.read(MANIFEST).ok()?;
        self.check_owner(&file, MANIFEST).ok().map(|()| extent)
    }

    /// Returns whether the run has the status `failed`, by this user's signature: `resume` plans such a run again.
    pub fn has_failed(&self) -> Result<bool, RecordError> {
        let (manifest, text, _) = self.read_manifest()?;
        let is_signed =
            || owner::is_trusted(&self.root) || signature::check(&text) == Ok(Extent::Whole);
        Ok(manifest.status == RunStatus::Failed && is_signed())
    }

    fn not_signed(&self, problem: String) -> RecordError {
        let advice = format!(
            "if you know who made it, look at it and allow it: {}",
            self.command("trust", &[])
        );
        RecordError::NotOwn { run: self.id.clone(), problem, grants: String::new(), advice }
    }

    fn check_owner(&self, file: impl AsFd, name: &str) -> Result<(), RecordError> {
        let found = owner::other_user(file, &self.dir.path().join(name));
        match found.map_err(|source| self.dir.error("look at", name, source))? {
            None => Ok(()),
            Some(problem) => {
                let root = shown_path(self.root.path());
                let advice =
                    format!("to use other users' runs in this results root, set {TRUSTED}={root}");
                Err(RecordError::NotOwn {
                    run: self.id.clone(),
                    problem,
                    grants: String::new(),
                    advice,
                })
            }
        }
    }

    /// Returns the error for a run that another process has just removed in place of that of a missing file.
    pub(crate) fn vanished(&self, error: RecordError) -> RecordError {
        if error.is_missing() && matches!(Self::open(&self.root, &self.id), Ok(None)) {
            return RecordError::Removed { run: self.id.clone() };
        }
        error
    }

    /// Reads the scenario that the manifest names by digest.
    pub fn scenario(&self, manifest: &Manifest) -> Result<String, RecordError> {
        self.find_scenario(manifest).map(|(text, _)| text)
    }

    /// Reads the scenario. Also returns whether only the store has it, because a process died while it took over
    /// another plan.
    pub(crate) fn find_scenario(&self, manifest: &Manifest) -> Result<(String, bool), RecordError> {
        let wanted = manifest.metadata.scenario_sha256;
        let is_it = |found: &Result<Vec<u8>, RecordError>| matches!(found, Ok(bytes) if digest(bytes) == wanted);
        let mut found = self.dir.read_all(SCENARIO, MAX_SCENARIO);
        let is_in_file = is_it(&found);
        if !is_in_file {
            let store = self.root.dir(STORE);
            let stored = store.and_then(|store| store.read_all(&wanted.path(), MAX_SCENARIO));
            found = match (is_it(&stored), found) {
                (true, _) => stored,
                (false, Ok(_)) => Err(self.dir.refuse(
                    SCENARIO,
                    format!("its bytes do not match the run's SHA-256 {wanted}"),
                )),
                (false, missing) => missing,
            };
        }
        let text = String::from_utf8(found?).map_err(|error| {
            let source = io::Error::other(error.utf8_error());
            self.dir.error("read", SCENARIO, source)
        })?;
        Ok((text, !is_in_file))
    }

    /// Calls `each` with the first byte of each line of the rows and the line, in the order of the file, also for damaged lines and a
    /// torn end. Rows are parsed as far as folds need; `read_line` parses all.
    pub fn read_lines(
        &self,
        each: &mut dyn for<'a> FnMut(u64, ReadLine<'a>),
    ) -> Result<(), RecordError> {
        self.read_lines_from(0, each).map(drop)
    }

    /// Calls `each` for all lines from byte `from` on. Returns the offset for the next call: the start of an unfinished
    /// last line, or else the end.
    pub fn read_lines_from(
        &self,
        from: u64,
        each: &mut dyn for<'a> FnMut(u64, ReadLine<'a>),
    ) -> Result<u64, RecordError> {
        self.rows_and(from, |_| (), &mut |at, (line, _)| each(at, line))
    }

    /// Calls `each` as [`Self::read_lines_from`] does, with the result of `look` for the bytes of each row. `look` runs on
    /// several threads.
    pub(crate) fn rows_and<T: Send>(
        &self,
        from: u64,
        look: fn(&[u8]) -> T,
        each: &mut line_reader::Each<'_, T>,
    ) -> Result<u64, RecordError> {
        let file = match self.dir.read(ROWS) {
            Err(error) if error.is_missing() => return Ok(from),
            opened => opened?,
        };
        let read = line_reader::read(&file, from, look, each);
        read.map_err(|source| self.dir.error("read", ROWS, source))
    }

    /// Returns an error about the file of rows.
    pub fn refuse_rows(&self, problem: String) -> RecordError {
        self.dir.refuse(ROWS, problem)
    }

    /// Reads the first `limit` lines of the rows, as far as they are in the first 8 MiB.
    pub fn first_lines(&self, limit: usize) -> Result<Vec<Vec<u8>>, RecordError> {
        const MOST_BYTES: u64 = 8 << 20;
        let file = self.open_rows()?;
        let reader = Reader { file: &file, at: 0 }.take(MOST_BYTES);
        let lines = io::BufReader::new(reader).split(b'\n').take(limit);
        lines.collect::<Result<_, _>>().map_err(|source| self.dir.error("read", ROWS, source))
    }

    /// Returns the version of the file of rows. `None` without the file.
    pub fn rows_file(&self) -> Result<Option<RowsFile>, RecordError> {
        Ok(self.dir.stat(ROWS)?.map(RowsFile::from))
    }

    /// Opens the file of rows for a copy of its bytes.
    pub fn open_rows(&self) -> Result<File, RecordError> {
        self.dir.read(ROWS).map_err(|error| self.vanished(error))
    }

    /// Opens the runner's own log for a copy of its bytes.
    pub fn open_log(&self) -> Result<File, RecordError> {
        self.dir.read(LOG).map_err(|error| self.vanished(error))
    }

    /// Reads the runner's own log from byte `from` on.
    pub fn runner_log(&self, from: u64) -> Result<Vec<u8>, RecordError> {
        let file = self.open_log()?;
        let mut bytes = Vec::new();
        let mut reader = Reader { file: &file, at: from };
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|source| self.dir.error("read", LOG, source))?;
        Ok(bytes)
    }

    /// Reads a row at a position from [`Self::read_lines`].
    pub fn row(&self, at: u64, bytes: usize) -> Result<Vec<u8>, RecordError> {
        let mut line = Vec::new();
        self.rows_at([(at, bytes)].into_iter(), &mut |read| line = read.to_vec())?;
        Ok(line)
    }

    /// Calls `each` for the lines at these positions from [`Self::read_lines`]: offset and length in bytes. Reads neighbours together.
    pub fn rows_at(
        &self,
        places: impl Iterator<Item = (u64, usize)>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RecordError> {
        /// Bytes that are read at once, of more than one line.
        const BLOCK: u64 = 256 << 10;
        /// A call takes longer than copying this many bytes between two lines.
        const GAP: u64 = 2 << 10;
        let rows = self.open_rows()?;
        let mut places = places.peekable();
        let mut block = Vec::new();
        let mut lines = Vec::new();
        while let Some((start, bytes)) = places.next() {
            let mut end = start + bytes as u64;
            lines.push(0..bytes);
            let is_near = |end: u64, (at, bytes): &(u64, usize)| {
                (end..=end + GAP).contains(at) && at + *bytes as u64 - start <= BLOCK
            };
            while let Some((at, bytes)) = places.next_if(|place| is_near(end, place)) {
                let first = (at - start) as usize;
                lines.push(first..first + bytes);
                end = at + bytes as u64;
            }
            block.resize((end - start) as usize, 0);
            let read = rows.read_exact_at(&mut block, start);
            read.map_err(|source| self.dir.error("read", ROWS, source))?;
            lines.drain(..).for_each(|line| each(&block[line]));
        }
        Ok(())
    }

    /// Reads the line of `logs.jsonl` that belongs to a row, if there is one.
    ///
    /// # Errors
    ///
    /// The line differs from the written one.
    pub fn log(&self, row: &RowRef<'_>) -> Result<Option<String>, RecordError> {
        let line = row.logs.map(|place| self.log_line(row, place));
        line.transpose().map_err(|error| {
            let problem =
                format!("{error}; the output of `{}`, attempt {}, is lost", row.trial, row.attempt);
            self.dir.refuse(LOGS, problem)
        })
    }

    pub(crate) fn log_line(&self, row: &RowRef<'_>, place: LogPlace) -> io::Result<String> {
        #[derive(Deserialize)]
        struct Of {
            trial: TrialId,
            attempt: u32,
        }
        if place.bytes > MAX_LOG_LINE {
            let problem =
                format!("the row gives its line {} bytes, more than a line has", place.bytes);
            return Err(io::Error::other(problem));
        }
        let file = self.dir.read(LOGS).map_err(|error| match error {
            error if error.is_missing() => io::Error::other("the file is missing"),
            RecordError::Io { source, .. } => source,
            error => io::Error::other(error),
        })?;
        let reader = Reader { file: &file, at: place.at };
        let line = io::read_to_string(reader.take(place.bytes.into()))?;
        let of = serde_json::from_str::<Of>(&line);
        let is_its = of.is_ok_and(|of| of.trial == row.trial && of.attempt == row.attempt);
        if is_its && has_right_checksum(line.as_bytes()) {
            return Ok(line);
        }
        let is_short = line.len() < place.bytes as usize;
        let problem = if is_short { "missing" } else { "not the one that was written" };
        Err(io::Error::other(format!("the line at byte {} is {problem}", place.at)))
    }

    /// Opens an artifact or a large output, after comparing it with the digest.
    pub fn artifact(&self, digest: &Digest) -> Result<File, RecordError> {
        self.artifact_or(digest, &self.remedy())
    }

    /// Opens an artifact, which is compared with its digest while it is read.
    pub fn open_artifact(&self, artifact: &Artifact<'_>) -> Result<CheckedFile, RecordError> {
        let folder = self.dir.dir(ARTIFACTS)?;
        let name = artifact.sha256.path();
        let failed = folder.failure("use", &name);
        let file = folder.read(&name)?;
        let length = file.metadata().map_err(failed)?.len();
        let bytes = artifact.bytes;
        if length != bytes {
            let problem = format!("it has {length} bytes instead of {bytes}{}", self.remedy());
            return Err(failed(io::Error::other(problem)));
        }
        Ok(CheckedFile::new(file, artifact.sha256))
    }

    /// Returns the end of a message about a damaged artifact.
    fn remedy(&self) -> String {
        format!("; to find the trials to run again: {}", self.command("verify", &[]))
    }

    pub(crate) fn artifact_or(&self, digest: &Digest, remedy: &str) -> Result<File, RecordError> {
        ContentStore(self.dir.dir(ARTIFACTS)?).open(digest, remedy)
    }

    /// Returns the process that holds the run.
    pub fn holder(&self) -> Option<Holder> {
        lock::holder(&self.dir)
    }

    /// Returns the progress of the run, if a process holds it.
    pub fn live(&self) -> Option<Live> {
        let session = self.manifest().ok()?.last_session();
        lock::is_held(&self.dir).then(|| live::read(&self.dir, session))?
    }
}
