//! [`Owned`]: a run whose lock this process holds. Creates, claims and ends runs, and opens their sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs::File, io::Write as _, time::Duration};

use runner_model::status::{RunVerdict, Stage};
use runner_model::{Counts, Digest, GateResult, Reason, RunStatus};
use runner_model::{exit::Exit, row::Actor, units::plural, visible::visible_line};

use crate::disk::beneath::{Dir, Stamp};
use crate::disk::fault::{self, Place, now};
use crate::disk::layout::{LOG, LOGS, MANIFEST, ROWS, SCENARIO};
use crate::disk::lock::{self, LOCK, Lock};
use crate::root::database::{Entry, Listed};
use crate::rows::writer::{Ack, Writer};
use crate::run::manifest::{FORMAT, MAX_LARGER_BUDGETS, RowsFile, cut};
use crate::run::new_run::{RESCORE, command_line, first_stage, has_secrets, session_entry};
use crate::run::requests::{self, Requests};
use crate::run::signature::{self, Extent};
use crate::run::{folder, live};
use crate::{
    AddedRerun, End, Fold, LiveWriter, Manifest, ManifestProvider, NewPlan, NewRun, NewSession,
    Pause, RecordError, Rerun, ResultsRoot, RunDir, RunHead, Transition, disk::durable::Unsynced,
    root::number::NewNumber, rows::repair, run::run_dir::Check, run::run_head::new_run_caution,
    run::truth::end_dead_session,
};

/// Newest pauses of a session that the manifest keeps.
const MAX_PAUSES: usize = 100;

/// A run whose lock this process holds. All writes into a run need it.
#[derive(Debug)]
pub struct Owned {
    /// The first field is dropped first: dropping the root may wait for the list.
    pub(crate) lock: Lock,
    pub(crate) root: ResultsRoot,
    pub(crate) run: RunDir,
    pub(crate) manifest: Manifest,
    /// Whether the folder existed before the run.
    pub(crate) had_folder: bool,
    log: File,
    notices: Vec<String>,
    last_seq: u64,
    /// The parts that this process signs. `None` leaves the signature of another author as it is.
    pub(crate) signs: Option<Extent>,
    /// Whether the rows on disk may differ from those of the session.
    distrusts_rows: bool,
}

/// A session whose end could not be written.
#[derive(Debug)]
pub struct UnwrittenEnd {
    /// The run as readers show it, if they find the last words.
    pub manifest: Box<Manifest>,
    pub error: Box<RecordError>,
}

impl ResultsRoot {
    /// Creates a run: its directory, lock, scenario, and manifest with status `running` and stage `plan`, or `waiting` if its
    /// session waits. All of it, and all contents kept in the store, are synced.
    pub fn create(&self, new: NewRun) -> Result<Owned, RecordError> {
        let root = self.own_dir()?;
        let id = new.id;
        let (mut dir, lock, had_folder) = folder::create(root, &id)?;
        let NewNumber { number, now, later } = self.take_number(&id)?;
        if has_secrets(&new.providers) {
            dir.make_private()?;
        }
        let command = command_line(&new.session.command);
        let writer = new.session.writer;
        let stage = first_stage(&new.session);
        let first = session_entry(new.session, 1, 0, now);
        let manifest = Manifest {
            format: FORMAT,
            id: id.clone(),
            number: Some(number),
            scenario: new.scenario,
            scenario_path: new.scenario_path,
            status: RunStatus::Running,
            reason: None,
            message: None,
            larger_budgets: Vec::new(),
            lost_report: None,
            stage,
            signal: None,
            verdict: RunVerdict::None,
            counts: Counts::default(),
            gate: None,
            started_at: now,
            completed_at: None,
            labels: new.labels,
            group: new.group,
            merged: Vec::new(),
            signature: None,
            pinned: None,
            metadata: new.metadata,
            providers: new.providers,
            planned_graders: None,
            sessions: vec![first],
            transitions: vec![Transition::created(now, writer)],
            rows: None,
        };
        // The runs of a group are created by one process.
        static IS_NOTED: AtomicBool = AtomicBool::new(false);
        let problem = self.signing_problem().filter(|_| !IS_NOTED.swap(true, Ordering::Relaxed));
        let unsigned = problem.map(|problem| {
            format!("later commands will take this run for another user's: {problem}")
        });
        let run = RunDir { root: root.clone(), dir, id, check: Check::Owner };
        // While the lock is held, no other process uses the folder.
        let undo = |_: &RecordError| {
            let _ = run.dir.clear(&[]);
            if !had_folder {
                let _ = root.remove_folder(&run.id);
            }
        };
        let create = || {
            run.dir.create_file(ROWS)?;
            run.dir.create_file(LOGS)?;
            run.dir.append(LOG)
        };
        let log = create().inspect_err(undo)?;
        let mut owned = Owned {
            lock,
            root: self.clone(),
            run: run.clone(),
            manifest,
            had_folder,
            signs: Some(Extent::Whole),
            log,
            notices: later.map(new_run_caution).into_iter().chain(unsigned).collect(),
            last_seq: 0,
            distrusts_rows: false,
        };
        owned.log(&command);
        owned.reserve().and_then(|()| owned.write_new(&new.text)).inspect_err(undo)?;
        Ok(owned)
    }

    /// Takes the lock of a run that no process holds, repairs a torn end of its rows, and ends a dead session. Opens no
    /// session.
    pub fn claim(&self, run: &RunDir) -> Result<Owned, RecordError> {
        // A run of another format or another user must stay untouched, and a folder without a run gets no lock.
        let run = &run.for_change()?;
        let lock = Lock::take(&run.dir, &run.id).map_err(|error| run.vanished(error))?;
        let (mut manifest, text, _) = run.read_manifest()?;
        let mut signs = run.signed_extent(&text);
        // A process that was killed may have left them.
        remove_prepared(&run.dir);
        let session = manifest.last_session();
        let repaired = repair::repair(run, session)?;
        run.repair_calls()?;
        let is_dead = manifest.status == RunStatus::Running;
        if is_dead {
            end_dead_session(run, &mut manifest, now())?;
        }
        let owed_reports = manifest.owes_reports();
        manifest.lose_owed_reports();
        // The reason of a dead session is from a file without a signature.
        if is_dead || signs == Some(Extent::Plan) {
            signs = signs.map(|_| Extent::of_unsigned(manifest.status));
        }
        let mut owned = Owned {
            signs,
            had_folder: true,
            log: run.dir.append(LOG)?,
            root: self.clone(),
            run: run.clone(),
            manifest,
            notices: repaired.moved.into_iter().collect(),
            last_seq: repaired.last_seq,
            distrusts_rows: false,
            lock,
        };
        if owned.manifest.adopted().is_some()
            && let Ok((text, true)) = run.find_scenario(&owned.manifest)
        {
            owned.replace_scenario(&text)?;
            let notice =
                "the process died while it took over another scenario; scenario.toml was restored";
            owned.notices.push(notice.to_owned());
        }
        for notice in &owned.notices {
            owned.log(notice);
        }
        if owed_reports {
            owned.lock.release_reserve();
            owned.replace_manifest()?;
        }
        if is_dead {
            owned.lock.release_reserve();
            owned.note_rows();
            owned.replace_manifest()?;
            let _ = run.dir.remove(live::LIVE);
            let last = owned.manifest.sessions.last();
            let ran =
                last.map_or_else(String::new, |session| live::running_at_death(&session.in_flight));
            owned.log(&format!(
                "session {session} ended because its process died{ran}; the run is {}",
                owned.manifest.status
            ));
        }
        Ok(owned)
    }
}

impl ResultsRoot {
    /// Signs a run that another key made, if its signed parts still have the digest `seen`.
    ///
    /// # Errors
    ///
    /// The run changed, another process holds it, or it cannot be written.
    pub fn sign(&self, run: &RunDir, seen: Digest) -> Result<(), RecordError> {
        let mut owned = self.claim(run)?;
        // What is signed is what was read under the lock.
        if signature::digest_of(&owned.manifest) != Some(seen) {
            return Err(run.dir.refuse(MANIFEST, "it changed meanwhile; look at it again"));
        }
        owned.signs = Some(Extent::of_unsigned(owned.manifest.status));
        // Responses that a runner with another key has recorded never reach the user's guests.
        owned.manifest.sessions.iter_mut().for_each(|session| session.foreign = true);
        owned.lock.release_reserve();
        owned.replace_manifest()
    }
}

impl Owned {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn root(&self) -> &ResultsRoot {
        &self.root
    }

    pub fn dir(&self) -> &RunDir {
        &self.run
    }

    /// Returns the repairs of a claim, a line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Opens a session on a claimed run: status `running`, a new entry. The first session of a new run is open already.
    ///
    /// `plan` is another plan to take over. After a crash, either the old or the new plan is on disk.
    pub fn open_session(
        &mut self,
        session: NewSession,
        plan: Option<NewPlan>,
    ) -> Result<(), RecordError> {
        let now = now();
        let mut manifest = self.manifest.clone();
        let last = manifest.last_session();
        let command = command_line(&session.command);
        let writer = session.writer;
        let stage = first_stage(&session);
        // The rows may be in another order than they were written in.
        self.last_seq = self.last_seq.max(session.last_seq);
        let removed = session.removed;
        if has_secrets(&session.graders) {
            self.run.dir.make_private()?;
        }
        if session.writer == RESCORE {
            manifest.list_graders(session.graders.clone());
        } else if let Some(planned) = manifest.planned_graders.clone() {
            manifest.list_graders(planned);
        }
        let mut entry = session_entry(session, last.saturating_add(1), self.last_seq, now);
        let mut text = None;
        if let Some(plan) = plan {
            entry.adopted = Some(removed);
            manifest.counts = plan.counts;
            manifest.scenario = plan.scenario;
            manifest.metadata = plan.metadata;
            if has_secrets(&plan.providers) {
                self.run.dir.make_private()?;
            }
            manifest.providers = plan.providers;
            manifest.planned_graders = None;
            self.root.keep_bytes(plan.text.as_bytes())?;
            text = Some(plan.text);
        }
        manifest.change_status(RunStatus::Running, None, writer, now)?;
        self.signs = self.signs.map(|_| Extent::Whole);
        entry.started_at = manifest.transitions.last().map_or(now, |change| change.at);
        manifest.sessions.push(entry);
        manifest.set_removed(removed);
        manifest.stage = stage;
        manifest.rows = None;
        manifest.gate = None;
        manifest.lost_report = None;
        self.manifest = manifest;
        self.reserve()?;
        self.log(&command);
        self.root.sync_with(Vec::new())?;
        let _ = self.run.dir.remove(live::LIVE);
        self.replace_manifest()?;
        // The manifest has the digest of the text, so the file may be written after it.
        text.map_or(Ok(()), |text| self.replace_scenario(&text))
    }

    /// Starts a session that has waited.
    pub fn start(&mut self) -> Result<(), RecordError> {
        self.manifest.stage = Stage::Plan;
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.started_at = session.started_at.max(now());
            session.worked_ms = None;
        }
        self.log("the other runs have ended, and the run starts");
        self.replace_manifest()
    }

    /// Sets the stage and the providers' descriptions for the next manifest. Readers get the stage of a running session
    /// from `live.json`: a synced manifest would wait for the disk.
    pub fn note_stage(&mut self, stage: Stage, providers: Vec<ManifestProvider>) {
        self.manifest.stage = stage;
        self.manifest.set_described(providers);
    }

    /// Removes graders without a grade from the next manifest.
    pub fn drop_graders(&mut self, has_grades: impl Fn(&ManifestProvider) -> bool) {
        self.manifest.providers.retain(|one| !one.is_grader || has_grades(one));
    }

    /// Sets the workers' protections for the next manifest.
    pub fn note_wall(&mut self, wall: String) {
        self.log(&format!("the sandbox of workers: {wall}"));
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.wall = Some(wall);
        }
    }

    /// Returns a reader of requests, for another thread.
    pub fn requests(&self) -> Requests {
        Requests { dir: self.run.dir.clone(), token: self.lock.token.clone() }
    }

    /// Writes the start or the end of a pause into the manifest.
    pub fn note_pause(&mut self, is_paused: bool, by: Option<Actor>) -> Result<(), RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        let at = now();
        if let Some(session) = self.manifest.sessions.last_mut() {
            let pauses = &mut session.pauses;
            if let Some(last) = pauses.last_mut() {
                last.to.get_or_insert(at.max(last.from));
            }
            if is_paused {
                pauses.push(Pause { from: at, to: None, by });
                pauses.drain(..pauses.len().saturating_sub(MAX_PAUSES));
            }
        }
        self.replace_manifest()
    }

    /// Writes into the manifest that `calls.jsonl` has lines of the session, unless it has that already.
    pub fn note_calls(&mut self) -> Result<(), RecordError> {
        let session = self.manifest.sessions.last_mut();
        let Some(session) = session.filter(|session| !session.has_calls) else { return Ok(()) };
        session.has_calls = true;
        lock::check(&self.run.dir, &self.lock.stamp)?;
        self.replace_manifest()
    }

    /// Selects trials to run again while the session runs: `ids` has a line for each, `from_seq` is the number of the last row
    /// before the selection, and `pending` the number of pending trials after it.
    pub fn add_rerun(
        &mut self,
        why: &str,
        ids: &str,
        from_seq: u64,
        pending: u64,
    ) -> Result<(), RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        let trials = self.root.keep_bytes(ids.as_bytes())?;
        self.root.sync_with(Vec::new())?;
        if let Some(session) = self.manifest.sessions.last_mut() {
            let rerun = Rerun::Filter { filter: why.to_owned(), trials };
            session.added.push(AddedRerun { from_seq, rerun });
            session.pending = Some(pending);
        }
        self.replace_manifest()
    }

    /// Sets the session's working and suspended time for the next manifest.
    pub fn note_times(&mut self, worked: Duration, suspended: Duration) {
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.worked_ms = Some(worked.as_micros() as f64 / 1e3);
            session.suspended_ms = suspended.as_millis() as u64;
        }
    }

    /// Sets the user who ended the session for the next manifest.
    pub fn note_stopped_by(&mut self, by: Actor) {
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.stopped_by = Some(by);
        }
    }

    /// Starts the writer thread after the existing rows. `acks` is called on that thread, in order, and must not block.
    pub fn writer(&self, acks: Box<dyn Fn(Ack) + Send>) -> Result<Writer, RecordError> {
        Writer::start(&self.run, self.lock.stamp, self.last_seq, acks)
    }

    /// Creates an unnamed file for an artifact that arrives in pieces; see [`Writer::row`].
    pub fn artifact_draft(&self) -> Result<File, RecordError> {
        self.run.dir.unnamed()
    }

    /// Returns a writer of `live.json`, for another thread.
    pub fn live_writer(&self) -> LiveWriter {
        LiveWriter(self.run.dir.clone())
    }

    /// Returns `runner.log`, opened for appending.
    pub fn log_file(&self) -> &File {
        &self.log
    }

    /// Appends a line to `runner.log`, with the time. Ignores errors: a log that cannot be written is not a reason to end
    /// a run.
    pub fn log(&self, line: &str) {
        let line = format!("{} {}\n", now(), visible_line(line));
        let _ = (&self.log).write_all(line.as_bytes());
    }

    /// Ends the session: counts of `fold`, status by [`RunStatus::after`] (`completed` whenever all trials are final),
    /// one synced replacement of the manifest. Returns the manifest as readers show it, and the run until the reports are written,
    /// unless it has lost rows. Call after [`Writer::close`].
    ///
    /// # Errors
    ///
    /// The end cannot be written. Then the session ends with the reason `storage`, in `last-words.json` if possible.
    pub fn finish(
        mut self,
        end: End,
        fold: &Fold,
    ) -> Result<(Manifest, Option<Self>), UnwrittenEnd> {
        let before = self.manifest.clone();
        let at = end.at;
        let failure = end.message.clone().filter(|_| end.reason == Some(Reason::Storage));
        let error = match self.write_end(end, fold) {
            Ok(checked) => {
                let has_rows = checked.is_none();
                let mut manifest = checked.unwrap_or_else(|| self.manifest.clone());
                manifest.lost_report = None;
                return Ok((manifest, has_rows.then_some(self)));
            }
            Err(error) => error,
        };
        self.manifest = before;
        self.manifest.lost_report = None;
        let message = failure.or(Some(error.to_string()));
        let end = End { reason: Some(Reason::Storage), message, at, ..End::default() };
        if lock::check(&self.run.dir, &self.lock.stamp).is_ok() {
            self.live_writer().last_words(self.manifest.last_session(), &end);
        }
        // A session that runs can end, so this cannot fail.
        let _ = self.set_end(end, fold);
        Err(UnwrittenEnd { manifest: Box::new(self.manifest), error: Box::new(error) })
    }

    /// Writes the end. Returns what readers show instead if rows are lost.
    fn write_end(&mut self, end: End, fold: &Fold) -> Result<Option<Manifest>, RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        self.set_end(end, fold)?;
        self.lock.release_reserve();
        let _ = self.run.dir.remove(live::LIVE);
        self.note_rows();
        self.replace_manifest()?;
        // The manifest keeps the counts of the session, so that readers notice the loss of rows. The session ends as they show it.
        let has_same_rows = self.run.has_same_rows(&self.manifest).unwrap_or(true);
        let checked = (!has_same_rows).then(|| self.run.checked_manifest().ok()).flatten();
        let checked = checked.map(|checked| checked.manifest);
        requests::remove_all(&self.run.dir);
        let shown = checked.as_ref().unwrap_or(&self.manifest);
        let Manifest { status, reason, signal, verdict, counts, .. } = shown;
        let because = match reason {
            Some(reason) => format!(" ({reason})"),
            None => format!("; verdict: {verdict}"),
        };
        let planned = plural(shown.metadata.planned_trial_count, "trial", "trials");
        let counts = match counts.to_string() {
            counts if counts.is_empty() => "no result".to_owned(),
            counts => counts,
        };
        // A `rescore` that was cut short has an exit code of its own.
        let exit = Exit::of_run(*status, *reason, *signal, *verdict, false).code();
        let rescores = shown.rescores(shown.last_session());
        let exit = if rescores { String::new() } else { format!("; exit code {exit}") };
        self.log(&format!("the run is {status}{because}; {counts} of {planned}{exit}"));
        Ok(checked)
    }

    /// Sets the end of the session in the manifest, without writing it.
    fn set_end(&mut self, end: End, fold: &Fold) -> Result<(), RecordError> {
        self.manifest.counts = fold.counts();
        if let Some(session) = self.manifest.sessions.last_mut() {
            if self.manifest.stage == Stage::Waiting {
                // A session that has only waited did not work.
                session.started_at = session.started_at.max(end.at);
            }
            if session.rescores {
                session.pending = Some(fold.left());
            }
        }
        // Without a reason, pending trials are a bug of the caller.
        let reason = (fold.left() > 0).then(|| end.reason.unwrap_or(Reason::Internal));
        let status = RunStatus::after(reason, fold.last_seq() > 0);
        let writer = self.manifest.transitions.last();
        let writer = writer.map_or_else(String::new, |change| change.writer.clone());
        self.manifest.change_status(status, reason, &writer, end.at)?;
        if reason.is_some() {
            self.manifest.signal = end.signal;
            self.manifest.message = end.message.map(cut);
            self.manifest.larger_budgets = end.larger_budgets;
            self.manifest.larger_budgets.truncate(MAX_LARGER_BUDGETS);
        }
        if status == RunStatus::Completed {
            self.manifest.stage = Stage::Finish;
        }
        Ok(())
    }

    /// Reserves the bytes of the session's last manifest. Fails if it can become too large.
    fn reserve(&self) -> Result<(), RecordError> {
        let bytes = self.manifest.check_size();
        let bytes = bytes.map_err(|problem| self.run.dir.refuse(MANIFEST, problem))?;
        let reserved = self.lock.reserve(bytes);
        reserved.map_err(|source| self.run.dir.error("reserve space in", LOCK, source))
    }

    /// Marks the session's reports as lost in its last manifest, until [`Self::finish_reports`]: a process that is killed before
    /// cannot do that.
    pub fn owe_reports(&mut self) {
        self.manifest.owe_reports();
    }

    /// Sets the result of the scenario's gate, before the run is completed. Without one, all trials must pass.
    pub fn set_gate(&mut self, gate: Option<GateResult>) {
        self.manifest.gate = gate;
    }

    /// Records the counts of the rows of a run that has ended and has no pending trials, after a claim has repaired the rows.
    /// `fold` is of the run's plan.
    pub fn settle(&mut self, fold: &Fold) -> Result<(), RecordError> {
        let manifest = &mut self.manifest;
        manifest.counts = fold.counts();
        manifest.set_removed(fold.removed());
        manifest.verdict = manifest.verdict_of(manifest.counts);
        self.note_rows();
        self.replace_manifest()
    }

    /// Records the reports that the last session could not write, or that it has written all of them. Then releases the lock.
    pub fn finish_reports(mut self, lost: Option<String>) -> Result<(), RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        let Manifest { status, reason, signal, verdict, .. } = self.manifest;
        if let Some(lost) = &lost {
            let exit = Exit::of_run(status, reason, signal, verdict, true).code();
            self.log(&format!("a report is lost: {lost}; exit code {exit}"));
        }
        let lost = lost.map(cut);
        if self.manifest.lost_report == lost {
            return Ok(());
        }
        self.manifest.lost_report = lost;
        self.manifest.check_texts().map_err(|problem| self.run.dir.refuse(MANIFEST, problem))?;
        self.lock.release_reserve();
        self.replace_manifest()
    }

    /// Leaves the counts of the rows to readers, because another program has changed, replaced or removed the file.
    pub fn distrust_rows(&mut self) {
        self.distrusts_rows = true;
    }

    /// Sets the file of the rows for the next manifest, which counts them.
    fn note_rows(&mut self) {
        // Without the stamp of the file, readers count the rows again.
        let rows = self.run.dir.stat(ROWS).ok().flatten().filter(|_| !self.distrusts_rows);
        self.manifest.rows = rows.map(RowsFile::from);
    }

    /// Writes scenario, manifest and names of a new run with one wait for the disk. If the power fails in this moment,
    /// the manifest may be empty, and a folder with an empty manifest is not a run.
    fn write_new(&mut self, scenario: &str) -> Result<(), RecordError> {
        let dir = self.run.dir.clone();
        let text = dir.create_with(SCENARIO, scenario.as_bytes())?;
        let manifest = self.prepare_manifest()?;
        name_manifest(&dir)?;
        self.root.sync_with(vec![
            Unsynced::Content(manifest, dir.path().join(MANIFEST)),
            Unsynced::Content(text, dir.path().join(SCENARIO)),
            Unsynced::Names(dir),
            Unsynced::Names(self.run.root.clone()),
        ])
    }

    /// Replaces the manifest. After a crash, either the old or the new one is on disk.
    pub(crate) fn replace_manifest(&mut self) -> Result<(), RecordError> {
        let synced = self.prepare_manifest()?.sync_all();
        synced.map_err(|source| self.run.dir.error("sync", MANIFEST, source))?;
        name_manifest(&self.run.dir)?;
        self.run.dir.sync()
    }

    fn replace_scenario(&self, text: &str) -> Result<(), RecordError> {
        let dir = &self.run.dir;
        let synced = dir.prepare(SCENARIO, text.as_bytes())?.sync_all();
        synced.map_err(|source| dir.error("sync", SCENARIO, source))?;
        dir.replace(SCENARIO)?;
        dir.sync()
    }

    fn prepare_manifest(&mut self) -> Result<File, RecordError> {
        if let Some(extent) = self.signs {
            signature::sign(&mut self.manifest, extent);
        }
        let (file, bytes) = prepare_manifest(&self.run.dir, &self.manifest)?;
        // The list takes as long as a sync, so it is written in parallel with those of the manifest.
        if let (Ok(stamp), Ok(text)) = (Stamp::of(&file), String::from_utf8(bytes)) {
            let rows = self.run.dir.stat(ROWS).ok().flatten();
            // Otherwise the next reader reads the rows.
            if !self.manifest.status.is_terminal() || self.manifest.is_of(rows) {
                let head = RunHead::from(&self.manifest);
                let entry = Box::new(Entry { manifest: stamp, rows, head });
                self.root.list_early(&self.run.id, Listed { text, entry });
            }
        }
        Ok(file)
    }
}

/// Files of a run that are prepared under a temporary name.
const PREPARED: [&str; 4] = [MANIFEST, SCENARIO, live::LIVE, live::LAST_WORDS];

/// Returns whether a process was killed while it prepared a file of a run.
pub(crate) fn has_prepared(dir: &Dir) -> bool {
    PREPARED.iter().any(|name| dir.has_prepared(name))
}

/// Removes the files that a process prepared for a run before it was killed.
pub(crate) fn remove_prepared(dir: &Dir) {
    PREPARED.iter().for_each(|name| dir.remove_prepared(name));
}

/// Writes a manifest under its temporary name. Returns the file and its bytes.
pub(super) fn prepare_manifest(
    dir: &Dir,
    manifest: &Manifest,
) -> Result<(File, Vec<u8>), RecordError> {
    let failed = dir.failure("write", MANIFEST);
    fault::pass(Place::ManifestWrite).map_err(failed)?;
    let bytes = manifest.to_bytes().map_err(|error| failed(error.into()))?;
    Ok((dir.prepare(MANIFEST, &bytes)?, bytes))
}

/// Gives the file of [`prepare_manifest`] its name.
pub(super) fn name_manifest(dir: &Dir) -> Result<(), RecordError> {
    fault::pass(Place::ManifestRename).map_err(|source| dir.error("replace", MANIFEST, source))?;
    dir.replace(MANIFEST)
}

#[cfg(test)]
#[path = "tests/owned.rs"]
mod tests;
