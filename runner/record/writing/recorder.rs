//! [`Recorder`]: the right to write one run.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs_err::File;

use super::{
    artifacts::Artifacts,
    log,
    writer::{Job, Writer},
};
use crate::{
    model::{Attempt, Digest, Fingerprint, Reason, RunStatus, Stage},
    record::{
        disk::{
            durable,
            layout::{self, Root, RunDir, RunId},
            lock::{Lock, Spot},
        },
        error::RecordError,
        format::{
            inflight::{self, InFlight},
            last_words::{self, LastWords},
            manifest::{End, Manifest},
            numbers::some_milliseconds,
            request::{self, Holding},
        },
        reading::{reader::RunReader, run_entry::Stamp, state::Mark},
        store::database::{self, Database, Progress},
    },
};

/// The right to write one run; it exists only while the run's lock is held.
///
/// Dropped without [`Recorder::finish`], it commits what it was given and leaves the run `running` with a free lock, which
/// is what every reader takes for a crash.
pub struct Recorder {
    // The order matters: locks are let go after the last row is written.
    writer: Writer,
    /// Where the run's lock is.
    lock: Spot,
    manifest: Manifest,
    inflight: InFlight,
    id: RunId,
    dir: RunDir,
    root: Root,
    locks: Locks,
}

/// An attempt to be written, and what its trial makes of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub attempt: Attempt,
    /// Whether it settles its trial.
    pub is_final: bool,
    /// Whether its trial passed after an attempt that did not.
    pub is_flaky: bool,
    /// What decides the result.
    pub fingerprint: Fingerprint,
}

/// The acknowledgement of some entries, in the order in which they were handed over.
#[derive(Debug)]
pub struct Written {
    /// The entries, given back.
    pub entries: Vec<Entry>,
    /// Their lines in `index.jsonl`, each with its newline; empty if there is an error.
    pub lines: Vec<u8>,
    /// Set if the entries are not known to be on disk; then no later ones will be, and the session is over.
    pub error: Option<RecordError>,
}

/// A run after its session.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its directory.
    pub run_dir: PathBuf,
    /// Its manifest, as it is on disk.
    pub manifest: Manifest,
}

/// A session that is on disk and has yet to begin.
pub(in crate::record) struct Begun {
    pub(in crate::record) root: Root,
    pub(in crate::record) dir: RunDir,
    pub(in crate::record) id: RunId,
    pub(in crate::record) manifest: Manifest,
    pub(in crate::record) index: File,
    pub(in crate::record) inflight: InFlight,
    /// The number of the last row.
    pub(in crate::record) last_seq: u64,
    pub(in crate::record) locks: Locks,
}

/// What a session holds for as long as it lasts.
#[derive(Debug)]
pub(in crate::record) struct Locks {
    pub(in crate::record) run: Lock,
    _root: Arc<Lock>,
}

impl Locks {
    pub(in crate::record) fn new(run: Lock, root: Arc<Lock>) -> Self {
        Self { run, _root: root }
    }
}

impl Recorder {
    /// Lets a session begin: projects it, and starts the thread that writes.
    pub(in crate::record) fn start(
        begun: Begun,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Self, RecordError> {
        let Begun {
            root,
            dir,
            id,
            manifest,
            index,
            inflight,
            last_seq,
            locks,
        } = begun;
        let failed = || RecordError::io("start the thread that writes");
        let lock = locks.run.spot().map_err(failed())?;
        let ground = vec![lock.clone(), Spot::of(&index).map_err(failed())?];
        let database = project(&root, &dir, &manifest);
        let job = Job {
            artifacts: Artifacts::new(dir.clone()),
            index,
            ground,
            session: manifest.session(),
            seq: last_seq + 1,
            progress: Progress::new(database, id.clone(), manifest.counts.into()),
        };
        let writer = Writer::start(job, acks).map_err(failed())?;
        Ok(Self {
            writer,
            lock,
            manifest,
            inflight,
            id,
            dir,
            root,
            locks,
        })
    }

    /// The run's directory.
    pub fn run_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The run's id.
    pub fn run_id(&self) -> &RunId {
        &self.id
    }

    /// Where the run's plugins, tests and attachments are.
    pub fn content(&self) -> ContentPaths {
        ContentPaths::new(self.root.content())
    }

    /// Opens what the session's tracing output goes into.
    pub fn open_log(&self) -> io::Result<File> {
        log::open(&self.dir)
    }

    /// Notes in the manifest how far the session is.
    pub fn set_stage(&mut self, stage: Stage) -> Result<(), RecordError> {
        if self.manifest.stage == stage {
            return Ok(());
        }
        self.lock.check()?;
        self.manifest.stage = stage;
        self.manifest.write(&self.dir.manifest(), "stage")
    }

    /// Notes for how long the process has been stopped since the session began; [`Recorder::finish`] writes it down.
    pub fn set_suspended(&mut self, suspended: Duration) {
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.suspended_ms = some_milliseconds(suspended);
        }
    }

    /// The number of this session.
    pub fn session(&self) -> u32 {
        self.manifest.session()
    }

    /// The session and the holding of the lock that requests have to name.
    pub fn holding(&self) -> Holding {
        Holding {
            session: self.session(),
            token: self.locks.run.token().map(str::to_owned),
        }
    }

    /// Where executors note what they have begun.
    pub fn inflight(&self) -> InFlight {
        self.inflight.clone()
    }

    /// Hands entries over, and never waits for the disk. They are acknowledged in this order, once they are on it.
    pub fn record(&self, entries: Vec<Entry>) {
        self.writer.record(entries);
    }

    /// Says that nothing more is expected soon, so that what was handed over is committed now.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Commits what was handed over, closes the session, and lets the run go. A run that has begun does not become `failed`
    /// but `incomplete`: what it became is in the manifest that is given back.
    pub fn finish(self, end: &End) -> Result<Finished, RecordError> {
        let (finished, ()) = self.finish_telling(end, |_| ())?;
        Ok(finished)
    }

    /// The same; `tell` is called with what the run became, while nobody else can have the run yet.
    pub fn finish_telling<T>(
        self,
        end: &End,
        tell: impl FnOnce(RunStatus) -> T,
    ) -> Result<(Finished, T), RecordError> {
        let Self {
            writer,
            lock,
            mut manifest,
            inflight: _,
            dir,
            root,
            locks,
            id: _,
        } = self;
        drop(writer);
        // The manifest is somebody else's then, too, and so is every other file.
        lock.check()?;

        let mut end = end.clone();
        // Whoever has failed may have lost count.
        if end.reason == Some(Reason::Internal)
            && let Ok(state) = RunReader::open(dir.path()).and_then(|reader| reader.state())
        {
            end.counts = state.counts();
        }
        // A run that has rows has not failed to begin, whatever keeps it from going on.
        if end.status == RunStatus::Failed && manifest.has_begun(&dir) {
            end.status = RunStatus::Incomplete;
        }
        let opened_by = manifest.sessions.last().map(|open| open.opened_by.clone());
        manifest.close(opened_by.as_deref().unwrap_or(WRITER), end.now, &end)?;
        // First of all, because it gives a full disk room for the manifest.
        forget(inflight::clear(&dir.inflight()));
        if let Err(error) = manifest.write(&dir.manifest(), "finish") {
            leave_word(&dir, &manifest, &end);
            return Err(error);
        }
        tidy(&dir, None);
        // Opened anew, because the file may have been replaced meanwhile.
        project(&root, &dir, &manifest);
        let told = tell(manifest.status);
        drop(locks);
        let finished = Finished {
            run_dir: dir.path().to_owned(),
            manifest,
        };
        Ok((finished, told))
    }
}

/// Finds what is in a content store.
#[derive(Clone, Debug)]
pub struct ContentPaths(PathBuf);

impl ContentPaths {
    pub(in crate::record) fn new(store: PathBuf) -> Self {
        Self(store)
    }

    /// Where the bytes with this digest are.
    pub fn path(&self, digest: Digest) -> PathBuf {
        layout::content_entry(&self.0, digest)
    }
}

/// Who writes sessions and transitions.
pub(in crate::record) const WRITER: &str = "exec";

/// The session that whoever holds a run's lock is about to open.
pub(in crate::record) fn next_session(manifest: &Manifest, lock: &Lock) -> Holding {
    Holding {
        session: manifest.session() + 1,
        token: lock.token().map(str::to_owned),
    }
}

/// Removes what concerned a session that has ended and is in the manifest; requests to the one that begins, if one does,
/// have yet to be answered.
pub(in crate::record) fn tidy(dir: &RunDir, begins: Option<&Holding>) {
    forget(request::clear(dir.path(), begins));
    forget(durable::remove(&dir.last_words()));
    forget(inflight::clear(&dir.inflight()));
}

/// What is left over names its session, so that no later one takes it for its own.
fn forget(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!("cannot tidy up after a session: {error}");
    }
}

/// Tries to tell the next sweep why the run ended, when its manifest cannot.
fn leave_word(dir: &RunDir, manifest: &Manifest, end: &End) {
    let words = LastWords {
        session: manifest.session(),
        reason: end.reason.unwrap_or(Reason::Storage),
        signal: end.signal,
        by: end.by.clone(),
    };
    if let Err(error) = last_words::write(dir.path(), &words) {
        tracing::warn!("cannot write down why the run ended: {error}");
    }
}

/// Puts a manifest into `runner.db`, which may fail; gives the database for later use.
pub(in crate::record) fn project(
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) -> Option<Database> {
    // Without a stamp, whoever lists the runs reads the manifest again.
    let stamp = Stamp::of(dir).ok().flatten()?;
    let projected = Database::open_in_haste(&root.database()).and_then(|mut database| {
        let refused = database.project(&[(stamp, manifest.clone())], &[])?;
        database::warn_refused(&refused);
        Ok(database)
    });
    projected.inspect_err(database::warn).ok()
}

impl Entry {
    /// What of its row will decide state.
    pub fn mark(&self) -> Mark {
        Mark {
            key: (&self.attempt).into(),
            outcome: self.attempt.outcome,
            is_final: self.is_final,
            is_flaky: self.is_flaky,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{Arc, mpsc},
    };

    use rusqlite::Connection;
    use serde_json::json;

    use crate::{
        model::{Artifact, LogRecord, Outcome, Reason, RunStatus, Stage},
        record::{
            Manifest, RecordError, Row, RowOutput, RunReader, Store,
            disk::layout::RunDir,
            testing::{birth, end, entry, ignore},
        },
    };

    fn read_file(run_dir: &Path, row: &Row<'_>, name: &str) -> String {
        let files = RunDir::new(run_dir).artifacts(row.ordinal, row.attempt);
        fs_err::read_to_string(files.join(name)).unwrap()
    }

    #[test]
    fn rows_are_acknowledged_in_order_once_they_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let recorder = store
            .begin(birth(100), move |written| sender.send(written).unwrap())
            .unwrap();
        let reader = RunReader::open(recorder.run_dir()).unwrap();

        let mut acknowledged = Vec::new();
        for ordinal in 0..100 {
            recorder.record(vec![entry(ordinal, 1, Outcome::Passed)]);
            if ordinal % 10 == 9 {
                recorder.flush();
            }
        }
        while acknowledged.len() < 100 {
            let written = receiver.recv().unwrap();
            assert!(written.error.is_none());
            assert_eq!(
                written.lines.iter().filter(|byte| **byte == b'\n').count(),
                written.entries.len()
            );
            acknowledged.extend(written.entries.iter().map(|entry| entry.attempt.ordinal));
            assert!(reader.rows().count() >= acknowledged.len());
        }
        assert!(acknowledged.into_iter().eq(0..100));

        let rows: Vec<_> = reader.rows().map(Result::unwrap).collect();
        assert!(rows.iter().map(|row| row.seq).eq(1..=100));
        assert_eq!(rows[7].trial, "test-7@echo#1");
        recorder.finish(&end(RunStatus::Completed, 100)).unwrap();
    }

    #[test]
    fn sqlite_counts_rows_that_are_acknowledged_and_is_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let recorder = store
            .begin(birth(3), move |written| sender.send(written).unwrap())
            .unwrap();
        let database = Connection::open(directory.path().join("runner.db")).unwrap();
        let counts = || -> (String, i64, i64) {
            database
                .query_row("SELECT status, passed, failed FROM runs", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .unwrap()
        };

        recorder.record(vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
            entry(2, 1, Outcome::Stopped),
        ]);
        recorder.flush();
        receiver.recv().unwrap();
        assert_eq!(counts(), ("running".into(), 1, 1));

        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        recorder.record(vec![entry(2, 2, Outcome::Passed)]);
        recorder.flush();
        assert!(receiver.recv().unwrap().error.is_none());
        database.execute_batch("ROLLBACK").unwrap();

        recorder.finish(&end(RunStatus::Completed, 3)).unwrap();
        assert_eq!(counts(), ("completed".into(), 3, 0));
    }

    #[test]
    fn the_manifest_tells_the_run_from_birth_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut recorder = store.begin(birth(2), ignore).unwrap();
        let read = |dir: &std::path::Path| RunReader::open(dir).unwrap().manifest().clone();

        let born: Manifest = read(recorder.run_dir());
        assert_eq!(born, recorder.manifest);
        assert_eq!(born.metadata.planned_test_count, 2);
        assert_eq!((born.status, born.stage), (RunStatus::Running, Stage::Plan));
        assert_eq!(born.completed_at, None);
        recorder.set_stage(Stage::Run).unwrap();
        assert_eq!(read(recorder.run_dir()).stage, Stage::Run);

        let mut end = end(RunStatus::Incomplete, 2);
        end.reason = Some(Reason::Timeout);
        let finished = recorder.finish(&end).unwrap();
        let manifest = read(&finished.run_dir);
        assert_eq!(manifest, finished.manifest);
        assert_eq!(manifest.completed_at, Some(end.now));
        assert_eq!(manifest.sessions[0].closed_at, Some(end.now));
        let changes: Vec<_> = manifest
            .transitions
            .iter()
            .map(|change| (change.from, change.to))
            .collect();
        assert_eq!(
            changes,
            [
                (None, RunStatus::Running),
                (Some(RunStatus::Running), RunStatus::Incomplete)
            ]
        );
    }

    #[test]
    fn a_run_cannot_end_as_running() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(birth(1), ignore).unwrap();
        let error = recorder.finish(&end(RunStatus::Running, 1)).unwrap_err();
        assert!(matches!(error, RecordError::Transition(_)), "{error}");
    }

    #[test]
    fn files_are_on_disk_and_named_in_the_row() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(birth(2000), ignore).unwrap();
        let mut entry = entry(1234, 2, Outcome::Failed);
        entry.attempt.artifacts = vec![Artifact {
            name: "STDERR.txt".into(),
            media_type: "image/png".into(),
            content: Arc::new(b"png".to_vec()),
        }];
        entry.attempt.stderr = "oh no".into();
        entry.attempt.log = vec![LogRecord {
            level: "warn",
            message: "careful\n".into(),
            fields: vec![("a".into(), "b".into())],
        }];
        entry.attempt.output = Some("x".repeat(64 * 1024).into());
        recorder.record(vec![entry]);
        let finished = recorder.finish(&end(RunStatus::Completed, 2000)).unwrap();

        let reader = RunReader::open(&finished.run_dir).unwrap();
        let row = reader.rows().next().unwrap().unwrap();
        let read = |name: &str| read_file(&finished.run_dir, &row, name);
        let names: Vec<_> = row
            .artifacts
            .iter()
            .map(|file| (&*file.name, file.bytes))
            .collect();
        assert_eq!(
            names,
            [
                ("STDERR.txt", 3),
                ("runner-stderr.txt", 5),
                ("log.jsonl", 58)
            ]
        );
        assert_eq!(read("runner-stderr.txt"), "oh no");
        assert_eq!(
            read("log.jsonl"),
            "{\"fields\":{\"a\":\"b\"},\"level\":\"warn\",\"message\":\"careful\\n\"}\n"
        );
        let Some(RowOutput::Stored(output)) = &row.output else {
            panic!("{:?}", row.output);
        };
        assert_eq!(output.bytes, 64 * 1024 + 2);
        assert_eq!(read(&output.artifact).len(), 64 * 1024 + 2);
        assert!(
            finished
                .run_dir
                .join("artifacts/1/1234-2/log.jsonl")
                .exists()
        );
    }

    #[test]
    fn an_output_that_would_not_read_back_gets_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
        let reference = json!({ "artifact": "a", "sha256": "b", "bytes": 1 });
        let recorder = store.begin(birth(2), ignore).unwrap();
        for (ordinal, output) in [&deep, &reference].into_iter().enumerate() {
            let mut entry = entry(ordinal as u64, 1, Outcome::Failed);
            entry.attempt.checks[0].actual = Some(output.clone());
            entry.attempt.output = Some(output.clone());
            recorder.record(vec![entry]);
        }
        let finished = recorder.finish(&end(RunStatus::Completed, 2)).unwrap();

        let reader = RunReader::open(&finished.run_dir).unwrap();
        let rows: Vec<_> = reader.rows().map(Result::unwrap).collect();
        assert_eq!(rows[0].checks[0].actual, None);
        assert_eq!(rows[1].checks[0].actual.as_deref(), Some(&reference));
        for (row, output) in rows.iter().zip([deep, reference]) {
            let Some(RowOutput::Stored(stored)) = &row.output else {
                panic!("{:?}", row.output);
            };
            let text = read_file(&finished.run_dir, row, &stored.artifact);
            assert_eq!(text, output.to_string());
        }
    }
}
