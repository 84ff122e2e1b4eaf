//! [`Merged`]: the rows, logs, calls, artifacts and sessions of a merged run.

use std::{collections::HashSet, fs::File, os::unix::fs::FileExt as _};

use runner_model::protocol::CallLine;
use runner_model::row::{LogPlace, Tail, read_line, reclose_line};
use runner_model::{Digest, Places, TrialId};

use crate::disk::beneath::Dir;
use crate::disk::content_store::ContentStore;
use crate::disk::fault::{self, Place};
use crate::disk::layout::{ARTIFACTS, CALLS, LOGS, ROWS};
use crate::rows::{calls::TORN, line_reader::ReadLine};
use crate::{AddedRerun, Manifest, RecordError, Rerun, ResultsRoot, RunDir, SessionEntry};

/// Bytes that are written at once.
const BLOCK: usize = 1 << 20;
/// First key of a tail.
const TAIL: &[u8] = br#","fingerprint":""#;

/// A shard to merge.
#[derive(Debug)]
pub struct MergeSource {
    pub run: RunDir,
    /// As of [`RunDir::truth`].
    pub manifest: Manifest,
    /// A line with the id of each trial that a session has selected to run again and that has not run since.
    pub unfinished: String,
}

/// A file that is written in blocks.
pub(super) struct Output {
    name: &'static str,
    place: Place,
    file: File,
    /// Bytes on disk.
    written: u64,
    block: Vec<u8>,
}

impl Output {
    fn create(dir: &Dir, name: &'static str, place: Place) -> Result<Self, RecordError> {
        Ok(Self { name, place, file: dir.create_file(name)?, written: 0, block: Vec::new() })
    }

    /// Returns the offset of the next byte.
    fn length(&self) -> u64 {
        self.written + self.block.len() as u64
    }

    fn flush(&mut self, dir: &Dir) -> Result<(), RecordError> {
        fault::write_at(self.place, &self.file, &self.block, self.written)
            .map_err(|source| dir.error("write", self.name, source))?;
        self.written = self.length();
        self.block.clear();
        Ok(())
    }

    /// Writes the last block, and returns the file.
    pub(super) fn finish(mut self, dir: &Dir) -> Result<File, RecordError> {
        self.flush(dir)?;
        let cut = self.file.set_len(self.written);
        cut.map(|()| self.file).map_err(|source| dir.error("write", self.name, source))
    }
}

/// The files of a merged run, and its sessions so far.
pub(super) struct Merged<'a> {
    dir: &'a Dir,
    pub(super) rows: Output,
    pub(super) logs: Output,
    /// `None` if no shard so far has calls.
    pub(super) calls: Option<Output>,
    artifacts: HashSet<Digest>,
    pub(super) last_seq: u64,
    pub(super) sessions: Vec<SessionEntry>,
}

/// A row: the length of the worker's part without its closing brace, the tail, and the artifacts.
type Part = (usize, Tail, Vec<Digest>);

/// The copied rows of a shard.
#[derive(Default)]
struct Copied {
    is_started: bool,
    /// Number of the last row in the shard.
    last: u64,
    /// Numbers of rows in the shard and in the merged run, where their difference changes.
    shifts: Vec<(u64, u64)>,
    failed: Option<RecordError>,
}

impl Copied {
    /// Returns the number in the merged run of a row, or else of the row before it. 0 before the first row.
    fn new_seq(&self, seq: u64) -> u64 {
        let next = self.shifts.partition_point(|(old, _)| *old <= seq);
        let most = self.shifts.get(next).map_or(u64::MAX, |(_, new)| new - 1);
        let last = next.checked_sub(1).map(|last| self.shifts[last]);
        last.map_or(0, |(old, new)| (new + seq - old).min(most))
    }
}

impl<'a> Merged<'a> {
    pub(super) fn create(dir: &'a Dir) -> Result<Self, RecordError> {
        Ok(Self {
            dir,
            rows: Output::create(dir, ROWS, Place::RowsWrite)?,
            logs: Output::create(dir, LOGS, Place::LogsWrite)?,
            calls: None,
            artifacts: HashSet::new(),
            last_seq: 0,
            sessions: Vec::new(),
        })
    }

    /// Adds the rows and the sessions of a shard.
    pub(super) fn add(
        &mut self,
        root: &ResultsRoot,
        source: &MergeSource,
        places: &dyn Places,
    ) -> Result<(), RecordError> {
        let MergeSource { run, manifest, .. } = source;
        self.rows.flush(self.dir)?;
        self.logs.flush(self.dir)?;
        let start = (self.rows.written, self.logs.written, self.last_seq);
        let logs = run.dir.read(LOGS).ok();
        // Rows of trials that the plan lacks are left out.
        let has_removed = manifest.adopted().is_some();
        let copied = run.fold_lines(&Copied::default, part, &mut |copied, _, (line, part)| {
            if !copied.is_started {
                // Rows that another program has sorted come a second time, from the first one on.
                (self.rows.written, self.logs.written, self.last_seq) = start;
                self.rows.block.clear();
                self.logs.block.clear();
                copied.is_started = true;
            }
            let (ReadLine::Row(row, bytes), Some(part)) = (line, part) else { return };
            let is_removed = has_removed && places.index(&row.trial).is_none();
            // Another program may have doubled the row.
            if copied.failed.is_none() && row.seq > copied.last && !is_removed {
                copied.last = row.seq;
                let refused = || run.refuse_rows(format!("a line of `{}` is not a row", row.trial));
                let added = part
                    .ok_or_else(refused)
                    .and_then(|part| self.add_row(run, logs.as_ref(), copied, bytes, part));
                copied.failed = added.err();
            }
        })?;
        if let Some(error) = copied.failed {
            return Err(error);
        }
        let is_removed = |trial: &TrialId| has_removed && places.index(trial).is_none();
        self.add_calls(run, &is_removed)?;
        self.add_sessions(root, source, &copied, start.2)
    }

    /// Adds the calls of a shard. A damaged line leaves one in its place, because its attempt cannot continue.
    fn add_calls(
        &mut self,
        run: &RunDir,
        is_removed: &dyn Fn(&TrialId) -> bool,
    ) -> Result<(), RecordError> {
        if run.dir.stat(CALLS)?.is_none() {
            return Ok(());
        }
        let before = self.sessions.len() as u32;
        let mut output = match self.calls.take() {
            Some(output) => output,
            None => Output::create(self.dir, CALLS, Place::CallsWrite)?,
        };
        let mut failed = None;
        run.calls(&mut |_, _, read| {
            match read {
                Ok(call) if is_removed(&call.trial) => {}
                Ok(call) => {
                    // Sessions keep their keys.
                    let session = call.session.saturating_add(before);
                    let entry = call.entry.get().as_bytes();
                    output.block.extend(CallLine { session, ..call }.with_entry(entry));
                }
                Err(TORN) => {}
                Err(_) => output.block.extend(b"{}\n"),
            }
            if output.block.len() > BLOCK && failed.is_none() {
                failed = output.flush(self.dir).err();
            }
        })?;
        self.calls = Some(output);
        failed.map_or(Ok(()), Err)
    }

    /// Adds a row with its log and its artifacts.
    fn add_row(
        &mut self,
        run: &RunDir,
        logs: Option<&File>,
        copied: &mut Copied,
        line: &[u8],
        (length, mut tail, artifacts): Part,
    ) -> Result<(), RecordError> {
        self.last_seq += 1;
        if copied.shifts.is_empty() || copied.new_seq(tail.seq) != self.last_seq {
            copied.shifts.push((tail.seq, self.last_seq));
        }
        tail.seq = self.last_seq;
        let session = tail.session;
        tail.session += self.sessions.len() as u32;
        tail.judged = tail.judged.map(|seq| copied.new_seq(seq));
        if let (Some(LogPlace { at, bytes }), Some(logs)) = (tail.logs, logs) {
            let mut log = vec![0; bytes as usize];
            logs.read_exact_at(&mut log, at)
                .map_err(|source| run.dir.error("read", LOGS, source))?;
            let log = log_of_session(log, session, tail.session);
            let bytes = log.len() as u32 - 1;
            tail.logs = Some(LogPlace { at: self.logs.length(), bytes });
            self.logs.block.extend(log);
        }
        for digest in artifacts {
            if self.artifacts.insert(digest) {
                let artifact = run.dir.dir(ARTIFACTS)?.read(&digest.path())?;
                ContentStore(self.dir.dir_or_create(ARTIFACTS)?).keep(artifact, &digest)?;
            }
        }
        let mut row = line[..length].to_vec();
        row.push(b'}');
        tail.finish(&mut row);
        self.rows.block.extend(row);
        if self.rows.block.len() + self.logs.block.len() > BLOCK {
            self.logs.flush(self.dir)?;
            self.rows.flush(self.dir)?;
        }
        Ok(())
    }

    /// Adds the sessions of a shard. Their selections of trials to run again apply to the shard's trials only, so that just
    /// unfinished ones are kept.
    fn add_sessions(
        &mut self,
        root: &ResultsRoot,
        MergeSource { manifest, unfinished, .. }: &MergeSource,
        copied: &Copied,
        start: u64,
    ) -> Result<(), RecordError> {
        let before = self.sessions.len() as u32;
        let last = manifest.sessions.iter().rposition(|one| one.reruns().next().is_some());
        for (place, session) in manifest.sessions.iter().enumerate() {
            let selection = session.reruns().last().filter(|_| Some(place) == last);
            let (mut rerun, mut added) = (None, Vec::new());
            if let Some((_, selection)) = selection.filter(|_| !unfinished.is_empty()) {
                let filter = selection.to_string();
                let trials = root.keep_bytes(unfinished.as_bytes())?;
                let kept = Rerun::Filter { filter, trials };
                match session.added.is_empty() {
                    true => rerun = Some(kept),
                    false => added.push(AddedRerun { from_seq: self.last_seq, rerun: kept }),
                }
            }
            self.sessions.push(SessionEntry {
                number: before + session.number,
                from_seq: copied.new_seq(session.from_seq).max(start),
                rerun,
                added,
                pending: None,
                adopted: None,
                // The calls of trials that the plan lacks are left out, perhaps all of them.
                has_calls: session.has_calls && manifest.adopted().is_none(),
                ..session.clone()
            });
        }
        Ok(())
    }
}

/// Returns a line of `logs.jsonl`, given without its line break, with another session.
fn log_of_session(mut line: Vec<u8>, old: u32, new: u32) -> Vec<u8> {
    let key = format!(",\"session\":{old},\"said\":").into_bytes();
    // The keys before it have no such text.
    if let Some(at) = line.windows(key.len()).position(|part| part == key) {
        let new = format!(",\"session\":{new},\"said\":").into_bytes();
        line.splice(at..at + key.len(), new);
    }
    reclose_line(&mut line);
    line
}

/// Splits a row into the worker's part and the tail. `None` if no runner has written it.
fn part(line: &[u8]) -> Option<Part> {
    let row = read_line(line).ok()?;
    // Only keys of the tail follow, whose texts cannot contain this.
    let length = line.windows(TAIL.len()).rposition(|key| key == TAIL)?;
    Some((length, row.tail()?, row.artifacts.iter().map(|artifact| artifact.sha256).collect()))
}
