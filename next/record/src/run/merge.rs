//! [`ResultsRoot::merge`]: one run of the shards of a plan.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::{fs::File, io, io::ErrorKind};

use runner_model::row::{LogPlace, Tail, read_line, reclose_line};
use runner_model::{
    Counts, Digest, GateResult, Places, Reason, RunStatus, Shard, Stage, TrialId,
    status::RunVerdict, units::plural,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::disk::beneath::{Dir, random};
use crate::disk::content_store::ContentStore;
use crate::disk::durable::Unsynced;
use crate::disk::fault::{self, Place, now};
use crate::disk::layout::{ARTIFACTS, GONE, LOG, LOGS, MANIFEST, ROWS, SCENARIO};
use crate::disk::lock::{self, Lock};
use crate::disk::permissions::of_own_folder;
use crate::root::prune::remove_folder;
use crate::rows::line_reader::ReadLine;
use crate::run::manifest::{RowsFile, cut};
use crate::run::new_run::{command_line, has_secrets, session_entry};
use crate::{
    Manifest, MergedShard, NewSession, RecordError, Rerun, ResultsRoot, RunDir, SessionEntry,
    Transition,
};

/// The writer of the last session of a merged run, which runs no trial.
const MERGE: &str = "merge";
/// Trials and shards that a text names.
const MAX_NAMED: usize = 10;
/// Bytes that are written at once.
const BLOCK: usize = 1 << 20;
/// First key of a tail.
const TAIL: &[u8] = br#","fingerprint":""#;

/// The state of shards, and the result of merging them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergeFindings {
    pub outcome: MergeOutcome,
    /// Number of shards of the plan; 0 if it is unknown.
    pub count: u32,
    /// Trials of the whole plan; 0 if it is unknown.
    pub planned: u64,
    /// Trials without a result.
    pub left: u64,
    /// The given shards, by number.
    pub shards: Vec<ShardFindings>,
    /// Numbers of the shards that are not given.
    pub missing: Vec<u32>,
    /// The first ten trials without a result, in the order of the plan.
    pub holes: Vec<TrialId>,
}

impl MergeFindings {
    /// Formats the trials without a result, and the missing shards.
    pub fn holes_text(&self) -> String {
        let some = |names: &mut dyn Iterator<Item = String>, count: u64| {
            let names: Vec<_> = names.take(MAX_NAMED).collect();
            let more = if count > names.len() as u64 { ", …" } else { "" };
            format!("{}{more}", names.join(", "))
        };
        let mut text = plural(self.left, "trial has no result", "trials have no result");
        text += &format!(": {}", some(&mut self.holes.iter().map(TrialId::to_string), self.left));
        if !self.missing.is_empty() {
            let mut missing = self.missing.iter().map(|index| format!("{index}/{}", self.count));
            let count = self.missing.len() as u64;
            text += &format!("; missing shards: {}", some(&mut missing, count));
        }
        text
    }
}

/// The result of merging shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MergeOutcome {
    Merged,
    /// The same shards were merged before. Nothing was changed.
    AlreadyMerged,
    /// Nothing is wrong, and nothing was written.
    Mergeable,
    /// Something is wrong, and nothing was written.
    Refused,
}

/// The state of a shard.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShardFindings {
    /// The folder as given.
    pub path: String,
    /// `None` if there is no such run.
    pub run: Option<String>,
    /// `None` if the run is no shard.
    pub shard: Option<Shard>,
    pub planned: u64,
    /// Trials without a result.
    pub left: u64,
    /// Reasons why it is not merged.
    pub problems: Vec<String>,
}

/// A run in which no session starts while this lives.
#[derive(Debug)]
pub struct Still(#[expect(dead_code, reason = "unlocked when it is dropped")] Option<File>);

/// Shards that become a run.
pub struct Merge<'a> {
    /// The name of the run's folder.
    pub id: String,
    /// All or, with `holes`, some shards of a plan, by number.
    pub shards: Vec<&'a MergeSource>,
    /// The whole plan.
    pub places: &'a dyn Places,
    /// Description of the trials without a result, with their number.
    pub holes: Option<(u64, String)>,
    /// The command as typed.
    pub command: Vec<String>,
}

/// A shard to merge.
#[derive(Debug)]
pub struct MergeSource {
    pub run: RunDir,
    /// As of [`RunDir::truth`].
    pub manifest: Manifest,
    /// A line with the id of each trial that a session has selected to run again and that has not run since.
    pub unfinished: String,
}

impl Merge<'_> {
    /// Returns the shards as the manifest of the merged run names them.
    pub fn entries(&self) -> Result<Vec<MergedShard>, RecordError> {
        let shards = self
            .shards
            .iter()
            .filter_map(|source| Some((source.manifest.metadata.selection.shard?, source)));
        let entry = |(shard, MergeSource { run, manifest, .. }): (Shard, &&MergeSource)| {
            Ok(MergedShard {
                shard,
                run: run.id.clone(),
                sessions: manifest.sessions.len() as u32,
                bytes: run.dir.stat(ROWS)?.map_or(0, |rows| rows.length),
            })
        };
        shards.map(entry).collect()
    }
}

impl RunDir {
    /// Keeps sessions from starting while the returned value lives. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RecordError::Held`] if a process works on the run.
    pub fn hold_still(&self) -> Result<Still, RecordError> {
        let file = match self.dir.read(lock::LOCK) {
            Err(error) if error.is_missing() => return Ok(Still(None)),
            opened => opened?,
        };
        let is_free = lock::try_lock(&file, false);
        if is_free.map_err(|source| self.dir.error("take", lock::LOCK, source))? {
            return Ok(Still(Some(file)));
        }
        let holder = lock::holder(&self.dir).unwrap_or_default();
        Err(RecordError::held(&self.id, self.dir.path(), holder))
    }
}

impl ResultsRoot {
    /// Creates a run of shards: each row once, with its number in the new run; logs, artifacts and stored contents. `judge`
    /// evaluates the gate. The run gets its name last, so a death before leaves no run. Returns the run.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written, or the run's folder is not empty. There is no run then.
    pub fn merge(
        &self,
        merge: &Merge<'_>,
        judge: &mut dyn FnMut(&RunDir, &Manifest) -> Option<GateResult>,
    ) -> Result<RunDir, RecordError> {
        let root = self.own_dir()?;
        let is_taken = |error: RecordError| match error.kind() {
            Some(ErrorKind::DirectoryNotEmpty) => {
                root.refuse(&merge.id, "it is not empty; choose another folder")
            }
            _ => error,
        };
        root.remove_folder(&merge.id).map_err(is_taken)?;
        // It passes for the folder of a run that is being deleted: no run, and `prune` removes it after a death.
        let name = format!("{GONE}{:016x}", random());
        let dir = root.create_dir(&name, of_own_folder())?;
        let lock = Lock::take(&dir, &merge.id)?;
        let run = RunDir { root: root.clone(), dir, id: merge.id.clone(), is_own: true };
        let written = self.write_merged(run.clone(), merge, judge).and_then(|()| {
            lock.release_reserve();
            root.rename(&name, &merge.id).map_err(is_taken)
        });
        if let Err(error) = written {
            let _ = remove_folder(root, &run.dir, &name);
            return Err(error);
        }
        root.sync()?;
        RunDir::open(root, &merge.id)?.ok_or_else(|| RecordError::Removed { run: merge.id.clone() })
    }

    fn write_merged(
        &self,
        mut run: RunDir,
        merge: &Merge<'_>,
        judge: &mut dyn FnMut(&RunDir, &Manifest) -> Option<GateResult>,
    ) -> Result<(), RecordError> {
        let Some(MergeSource { run: first, manifest: plan, .. }) = merge.shards.first() else {
            return Err(run.dir.refuse(".", "there is no shard to merge"));
        };
        if has_secrets(&plan.providers) {
            run.dir.make_private()?;
        }
        let contents = plan.providers.iter().map(|provider| provider.digest);
        let contents = contents.chain([plan.metadata.suite]).chain(plan.metadata.blobs);
        for digest in contents.chain(first.blobs(plan)?) {
            // A link to an old file would look unused to `prune` until the run has its manifest.
            let mut draft = self.draft()?;
            io::copy(&mut first.content(&digest)?, &mut draft)
                .map_err(|source| run.dir.error("copy the contents of", ".", source))?;
            self.keep(draft, &digest)?;
        }
        let mut merged = Merged::create(&run.dir)?;
        for source in &merge.shards {
            merged.add(self, source, merge.places)?;
        }
        let [rows, logs] = [merged.rows.finish(&run.dir)?, merged.logs.finish(&run.dir)?];
        let mut manifest = new_manifest(merge, plan, merged.sessions, merged.last_seq)?;
        if merge.holes.is_none() {
            manifest.gate = judge(&run, &manifest);
        }
        let reason = merge.holes.is_some().then_some(Reason::Holes);
        let status = RunStatus::after(reason, true);
        manifest.change_status(status, reason, MERGE, now())?;
        manifest.message = merge.holes.as_ref().map(|(_, holes)| cut(holes.clone()));
        manifest.rows = run.dir.stat(ROWS)?.map(RowsFile::from);
        manifest.check_size().map_err(|problem| run.dir.refuse(MANIFEST, problem))?;
        write(&run.dir, LOG, format!("{} {}\n", now(), command_line(&merge.command)).as_bytes())?;
        let scenario = write(&run.dir, SCENARIO, first.scenario(plan)?.as_bytes())?;
        let failed = |source| run.dir.error("write", MANIFEST, source);
        fault::pass(Place::ManifestWrite).map_err(failed)?;
        let bytes = manifest.to_bytes().map_err(|error| run.dir.error("write", MANIFEST, error))?;
        let file = run.dir.prepare(MANIFEST, &bytes)?;
        fault::pass(Place::ManifestRename).map_err(failed)?;
        run.dir.replace(MANIFEST)?;
        let content = |file, name: &str| Unsynced::Content(file, run.dir.path().join(name));
        self.sync_with(vec![
            content(rows, ROWS),
            content(logs, LOGS),
            content(scenario, SCENARIO),
            content(file, MANIFEST),
            Unsynced::Names(run.dir.clone()),
        ])?;
        sync_artifacts(&run.dir)
    }
}

/// Writes a new file.
fn write(dir: &Dir, name: &str, bytes: &[u8]) -> Result<File, RecordError> {
    let mut file = dir.create_file(name)?;
    file.write_all(bytes).map_err(|source| dir.error("write", name, source))?;
    Ok(file)
}

/// Syncs the names of artifacts. Their contents are synced already.
fn sync_artifacts(dir: &Dir) -> Result<(), RecordError> {
    if dir.stat(ARTIFACTS)?.is_none() {
        return Ok(());
    }
    let artifacts = dir.dir(ARTIFACTS)?;
    artifacts.folders()?.iter().try_for_each(|shelf| artifacts.dir(shelf)?.sync())?;
    artifacts.sync()
}

/// Returns the manifest of a merged run that is still `running`. Its last session is that of the merge.
fn new_manifest(
    merge: &Merge<'_>,
    plan: &Manifest,
    mut sessions: Vec<SessionEntry>,
    last_seq: u64,
) -> Result<Manifest, RecordError> {
    let shards = || merge.shards.iter().map(|source| &source.manifest);
    let started_at = shards().map(|one| one.started_at).min().unwrap_or(plan.started_at);
    let session = NewSession {
        writer: MERGE,
        command: merge.command.clone(),
        settings: plan.sessions.last().map(|last| last.settings.clone()).unwrap_or_default(),
        last_seq,
        rerun: None,
        pending: Some(merge.holes.as_ref().map_or(0, |(left, _)| *left)),
        removed: Counts::default(),
        waits: false,
    };
    let number = sessions.len() as u32 + 1;
    sessions.push(SessionEntry {
        worked_ms: Some(0.0),
        ..session_entry(session, number, last_seq, now())
    });
    let mut manifest = Manifest {
        id: merge.id.clone(),
        status: RunStatus::Running,
        stage: if merge.holes.is_none() { Stage::Finish } else { Stage::Run },
        verdict: RunVerdict::None,
        counts: shards().fold(Counts::default(), |sum, one| sum.plus(one.counts)),
        gate: None,
        started_at,
        group: None,
        merged: merge.entries()?,
        pinned: None,
        sessions,
        transitions: vec![Transition {
            at: started_at,
            from: None,
            to: RunStatus::Running,
            reason: None,
            writer: "exec".into(),
            by: None,
        }],
        ..plan.clone()
    };
    manifest.labels.retain(|key, value| shards().all(|one| one.labels.get(key) == Some(value)));
    manifest.metadata.selection.shard = None;
    manifest.metadata.planned_trial_count = merge.places.trials();
    manifest.metadata.planned_test_count = merge.places.trials();
    Ok(manifest)
}

/// A file that is written in blocks.
struct Output {
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

    /// Writes what is left, and returns the file.
    fn finish(mut self, dir: &Dir) -> Result<File, RecordError> {
        self.flush(dir)?;
        let cut = self.file.set_len(self.written);
        cut.map(|()| self.file).map_err(|source| dir.error("write", self.name, source))
    }
}

/// The files of a merged run, and its sessions so far.
struct Merged<'a> {
    dir: &'a Dir,
    rows: Output,
    logs: Output,
    artifacts: HashSet<Digest>,
    last_seq: u64,
    sessions: Vec<SessionEntry>,
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
    /// Returns the number in the merged run of a row, or else of the one before it. 0 if there is none.
    fn new_seq(&self, seq: u64) -> u64 {
        let next = self.shifts.partition_point(|(old, _)| *old <= seq);
        let most = self.shifts.get(next).map_or(u64::MAX, |(_, new)| new - 1);
        let last = next.checked_sub(1).map(|last| self.shifts[last]);
        last.map_or(0, |(old, new)| (new + seq - old).min(most))
    }
}

impl<'a> Merged<'a> {
    fn create(dir: &'a Dir) -> Result<Self, RecordError> {
        Ok(Self {
            dir,
            rows: Output::create(dir, ROWS, Place::RowsWrite)?,
            logs: Output::create(dir, LOGS, Place::LogsWrite)?,
            artifacts: HashSet::new(),
            last_seq: 0,
            sessions: Vec::new(),
        })
    }

    /// Adds the rows and the sessions of a shard.
    fn add(
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
            let (ReadLine::Row(row, bytes), Some(Some(part))) = (line, part) else { return };
            let is_removed = has_removed && places.index(&row.trial).is_none();
            // Another program may have doubled the row.
            if copied.failed.is_none() && row.seq > copied.last && !is_removed {
                copied.last = row.seq;
                let added = self.add_row(run, logs.as_ref(), copied, bytes, part);
                copied.failed = added.err();
            }
        })?;
        if let Some(error) = copied.failed {
            return Err(error);
        }
        self.add_sessions(root, source, &copied, start.2)
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
        let last = manifest.sessions.iter().rposition(|session| session.rerun.is_some());
        for (place, session) in manifest.sessions.iter().enumerate() {
            let rerun = session.rerun.as_ref().filter(|_| Some(place) == last);
            let rerun = match rerun.filter(|_| !unfinished.is_empty()) {
                Some(rerun) => Some(Rerun::Filter {
                    filter: rerun.to_string(),
                    trials: root.keep_bytes(unfinished.as_bytes())?,
                }),
                None => None,
            };
            self.sessions.push(SessionEntry {
                number: before + session.number,
                from_seq: copied.new_seq(session.from_seq).max(start),
                rerun,
                pending: None,
                adopted: None,
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
    let Some(at) = line.windows(key.len()).position(|part| part == key) else { return line };
    let key_of_new = format!(",\"session\":{new},\"said\":").into_bytes();
    line.splice(at..at + key.len(), key_of_new);
    reclose_line(&mut line);
    line
}

/// Splits a row into the worker's part and the tail. `None` if it is damaged.
fn part(line: &[u8]) -> Option<Part> {
    let row = read_line(line).ok()?;
    // Only keys of the tail follow, and none of their texts has this.
    let length = line.windows(TAIL.len()).rposition(|key| key == TAIL)?;
    let tail = Tail {
        fingerprint: row.fingerprint?,
        judgement_fingerprint: row.judgement_fingerprint?,
        judged: row.judged,
        worker: row.worker.map(|worker| worker.to_string()),
        stopped_by: row.stopped_by,
        logs: row.logs,
        flaky: row.flaky,
        r#final: row.r#final?,
        session: row.session?,
        seq: row.seq?,
    };
    Some((length, tail, row.artifacts.iter().map(|artifact| artifact.sha256).collect()))
}
