//! [`ResultsRoot::merge`]: one run of the shards of a plan.

mod findings;
mod rows;

use std::io::{self, ErrorKind};
use std::{collections::BTreeSet, fs::File};

use runner_model::status::RunVerdict;
use runner_model::{Counts, Digest, GateResult, Places, Reason, RunStatus, Stage};

pub use self::findings::{MergeFindings, MergeOutcome, ShardFindings};
pub use self::rows::MergeSource;
use self::rows::Merged;
use crate::disk::beneath::{Dir, random};
use crate::disk::layout::{ARTIFACTS, CALLS, GONE, LOG, LOGS, MANIFEST, ROWS, SCENARIO};
use crate::disk::lock::{self, Lock};
use crate::run::manifest::{RowsFile, cut};
use crate::run::new_run::{command_line, has_secrets, session_entry};
use crate::run::owned::{name_manifest, prepare_manifest};
use crate::run::signature::{self, Extent};
use crate::{
    Manifest, MergedShard, NewSession, RecordError, ResultsRoot, RunDir, SessionEntry, Transition,
    disk::durable::Unsynced, disk::fault::now, disk::owner::is_trusted,
    disk::permissions::of_own_folder, disk::removal::remove_folder, run::run_dir::Check,
};

/// The writer of the last session of a merged run, which runs no trial.
const MERGE: &str = "merge";

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

impl Merge<'_> {
    /// Returns the shards as the manifest of the merged run names them.
    pub fn entries(&self) -> Result<Vec<MergedShard>, RecordError> {
        let shards = self
            .shards
            .iter()
            .filter_map(|source| Some((source.manifest.metadata.selection.shard?, source)));
        shards
            .map(|(shard, MergeSource { run, manifest, .. })| {
                Ok(MergedShard {
                    shard,
                    run: run.id.clone(),
                    sessions: manifest.sessions.len() as u32,
                    bytes: run.dir.stat(ROWS)?.map_or(0, |rows| rows.length),
                })
            })
            .collect()
    }
}

impl RunDir {
    /// Keeps sessions from starting while the returned file is open. `None` for a run without a lock file. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RecordError::Held`] if a process works on the run.
    pub fn keep_idle(&self) -> Result<Option<File>, RecordError> {
        let file = match self.dir.read(lock::LOCK) {
            Err(error) if error.is_missing() => return Ok(None),
            opened => opened?,
        };
        let is_free = lock::try_lock(&file, false);
        if is_free.map_err(|source| self.dir.error("take", lock::LOCK, source))? {
            return Ok(Some(file));
        }
        let holder = lock::holder(&self.dir).unwrap_or_default();
        Err(RecordError::held(&self.id, self.dir.path(), holder))
    }
}

impl ResultsRoot {
    /// Creates a run of shards: each row once, with its number in the new run; logs, calls, artifacts and stored contents. `judge`
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
        // The name marks a run that is being deleted: lists skip it, and `prune` removes it after a death.
        let name = format!("{GONE}{:016x}", random());
        let dir = root.create_dir(&name, of_own_folder())?;
        let lock = Lock::take(&dir, &merge.id)?;
        let run = RunDir { root: root.clone(), dir, id: merge.id.clone(), check: Check::Owner };
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
        for source in &merge.shards {
            let has_calls = source.run.dir.stat(CALLS)?.is_some();
            if has_calls || has_secrets(&source.manifest.providers) {
                run.dir.make_private()?;
            }
        }
        let mut copied = contents(first, plan)?;
        self.copy_contents(first, &copied)?;
        let mut merged = Merged::create(&run.dir)?;
        for source in &merge.shards {
            let sessions = source.manifest.sessions.iter();
            let lists = sessions.flat_map(|session| [session.suite, session.known]).flatten();
            let needed = lists.chain(source.manifest.plugins());
            let needed = needed.filter(|digest| copied.insert(*digest)).collect();
            self.copy_contents(&source.run, &needed)?;
            merged.add(self, source, merge.places)?;
        }
        let rows = (merged.rows.finish(&run.dir)?, ROWS);
        let logs = (merged.logs.finish(&run.dir)?, LOGS);
        let calls =
            merged.calls.map(|calls| Ok::<_, RecordError>((calls.finish(&run.dir)?, CALLS)));
        let files = [rows, logs].into_iter().chain(calls.transpose()?);
        let mut manifest = new_manifest(merge, plan, merged.sessions, merged.last_seq)?;
        if merge.holes.is_none() {
            manifest.gate = judge(&run, &manifest);
        }
        let reason = merge.holes.is_some().then_some(Reason::Holes);
        manifest.change_status(RunStatus::after(reason, true), reason, MERGE, now())?;
        manifest.number = Some(self.take_number(&merge.id)?.number);
        manifest.message = merge.holes.as_ref().map(|(_, holes)| cut(holes.clone()));
        manifest.rows = run.dir.stat(ROWS)?.map(RowsFile::from);
        if merge
            .shards
            .iter()
            .all(|source| is_trusted(&source.run.root) || source.run.other_author().is_none())
        {
            signature::sign(&mut manifest, Extent::Whole);
        } else {
            manifest.signature = None;
        }
        let log = format!("{} {}\n", now(), command_line(&merge.command));
        run.dir.create_with(LOG, log.as_bytes())?;
        let scenario = run.dir.create_with(SCENARIO, first.scenario(plan)?.as_bytes())?;
        manifest.check_size().map_err(|problem| run.dir.refuse(MANIFEST, problem))?;
        let (manifest, _) = prepare_manifest(&run.dir, &manifest)?;
        name_manifest(&run.dir)?;
        let files = files.chain([(scenario, SCENARIO), (manifest, MANIFEST)]);
        let contents = files.map(|(file, name)| Unsynced::Content(file, run.dir.path().join(name)));
        self.sync_with(contents.chain([Unsynced::Names(run.dir.clone())]).collect())?;
        sync_artifacts(&run.dir)
    }

    /// Copies stored contents of a run into this root.
    fn copy_contents(&self, run: &RunDir, contents: &BTreeSet<Digest>) -> Result<(), RecordError> {
        for digest in contents {
            // A link to an old file would look unused to `prune` until the merged run has its manifest.
            let mut draft = self.draft()?;
            let copied = io::copy(&mut run.content(digest)?, &mut draft);
            copied.map_err(|source| RecordError::io("copy into", self.path(), source))?;
            self.keep(draft, digest)?;
        }
        Ok(())
    }
}

/// Returns the plugins, tests, attachments and schemas of a run.
fn contents(run: &RunDir, manifest: &Manifest) -> Result<BTreeSet<Digest>, RecordError> {
    let contents = manifest.plugins().chain([manifest.metadata.suite]);
    let contents = contents.chain(manifest.metadata.blobs);
    Ok(contents.chain(run.blobs(manifest)?).collect())
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
    let started_at = shards().map(|shard| shard.started_at).min().unwrap_or(plan.started_at);
    // The day on which the run was made decides which entries have expired.
    let first = shards().min_by_key(|shard| shard.started_at).unwrap_or(plan);
    let session = NewSession {
        writer: MERGE,
        command: merge.command.clone(),
        request: None,
        settings: plan.settings().cloned().unwrap_or_default(),
        suite: None,
        known: first.known(),
        graders: Vec::new(),
        last_seq,
        replays: None,
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
        counts: shards().fold(Counts::default(), |sum, shard| sum.plus(shard.counts)),
        gate: None,
        lost_report: None,
        started_at,
        group: None,
        merged: merge.entries()?,
        pinned: None,
        sessions,
        transitions: vec![Transition::created(started_at, "exec")],
        ..plan.clone()
    };
    for shard in shards().skip(1) {
        let new = shard.providers.iter().filter(|provider| {
            provider.is_grader && manifest.providers.iter().all(|other| other.name != provider.name)
        });
        manifest.list_graders(new.cloned().collect());
    }
    manifest.labels.retain(|key, value| shards().all(|shard| shard.labels.get(key) == Some(value)));
    manifest.metadata.selection.shard = None;
    manifest.metadata.planned_trial_count = merge.places.trials();
    manifest.metadata.planned_test_count = merge.places.trials();
    Ok(manifest)
}
