//! [`Recorder`]: the right to write one run.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs_err::File;

use super::{
    artifacts::ArtifactFiles,
    live_log, log,
    log_files::LogFiles,
    row_appender::RowAppender,
    writer::{Job, Writer, Written},
};
use crate::{
    model::{MachineShare, Reason, RunStatus},
    record::{
        disk::{
            durable,
            layout::{ContentPaths, Root, RunDir, RunId},
            lock::{FilePlace, Lock},
        },
        error::RecordError,
        failpoint,
        format::{
            entry::Entry,
            inflight::{self, InFlight},
            judgement::JudgementEntry,
            last_words::{self, LastWords},
            manifest::{End, Manifest},
            numbers::some_milliseconds,
            pauses,
            request::{self, Holding},
        },
        reading::reader::RunReader,
        store::{
            live::{self, Progress},
            shares::SharesTurn,
        },
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
    lock: FilePlace,
    manifest: Manifest,
    inflight: InFlight,
    id: RunId,
    dir: RunDir,
    root: Root,
    locks: Locks,
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
    /// The number of the last file of rows.
    pub(in crate::record) rows: u32,
    /// That file, opened for appending.
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
    /// Lets a session begin: starts the thread that writes.
    pub(in crate::record) fn start(
        begun: Begun,
        acks: impl Fn(Written) + Send + 'static,
    ) -> Result<Self, RecordError> {
        let Begun {
            root,
            dir,
            id,
            manifest,
            rows,
            index,
            inflight,
            last_seq,
            locks,
        } = begun;
        let failed = || RecordError::io("start the thread that writes");
        let lock = locks.run.spot().map_err(failed())?;
        let rows = RowAppender::new(&dir, rows, index).map_err(failed())?;
        let job = Job {
            artifacts: ArtifactFiles::new(dir.clone()),
            logs: LogFiles::new(dir.clone(), manifest.session()),
            rows,
            lock: lock.clone(),
            session: manifest.session(),
            seq: last_seq + 1,
            progress: Progress::new(root.clone(), &dir, id.clone(), &manifest),
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

    /// Notes that trials run from now on, or are judged. It is told, and decides nothing: so no disk is waited for, and the
    /// manifest says it once the session has ended.
    pub fn begin_run_stage(&self) -> Result<(), RecordError> {
        failpoint::pass("stage", "begin").map_err(RecordError::io("note that trials run"))?;
        self.lock.check()?;
        self.inflight.note_running();
        Ok(())
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

    /// Tells the other sessions in the results root how much of the machine this one works with, whose turn is over then.
    pub fn tell_share(&self, share: MachineShare, turn: SharesTurn) {
        if let Err(error) = self.locks.run.tell_share(share) {
            tracing::warn!("cannot write down what this session works with: {error}");
        }
        drop(turn);
    }

    /// Where executors note what they have begun.
    pub fn inflight(&self) -> InFlight {
        self.inflight.clone()
    }

    /// Hands entries over, and never waits for the disk. They are acknowledged in this order, once they are on it.
    pub fn record(&self, entries: Vec<Entry>) {
        self.writer.record(entries);
    }

    /// The same for judgements that stand apart from their attempts. Only in a session of a run whose judgements may.
    pub fn judge(&self, judgements: Vec<JudgementEntry>) {
        self.writer.judge(judgements);
    }

    /// Says that nothing more is expected soon, so that what was handed over is committed now.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Commits what was handed over, closes the session, and lets the run go. A run that has begun does not become `failed`
    /// but `incomplete`: what it became is in the manifest that is given back.
    pub fn finish(self, end: &End) -> Result<Finished, RecordError> {
        let (finished, ()) = self.finish_with(end, |_| ())?;
        Ok(finished)
    }

    /// The same; `tell` is called with what the run became, while nobody else can have the run yet.
    pub fn finish_with<T>(
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
        let database = writer.close();
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
        if let Some(session) = manifest.sessions.last_mut() {
            session.pauses = pauses::read(&dir, session.n);
            for pause in &mut session.pauses {
                pause.until.get_or_insert(end.now);
            }
        }
        manifest.close(opened_by.as_deref().unwrap_or(WRITER), end.now, &end)?;
        // First of all, because it gives a full disk room for the manifest.
        forget(inflight::clear(&dir.inflight()));
        let project = || live::project_with(database, &root, &dir, &manifest);
        if let Err(error) = manifest.write_and(&dir.manifest(), "finish", project) {
            leave_word(&dir, &manifest, &end);
            return Err(error);
        }
        tidy(&dir, None);
        let told = tell(manifest.status);
        drop(locks);
        let finished = Finished {
            run_dir: dir.path().to_owned(),
            manifest,
        };
        Ok((finished, told))
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
    forget(pauses::clear(dir));
    forget(inflight::clear(&dir.inflight()));
    forget(live_log::clear(dir));
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crate::{
        model::{Outcome, Reason, RunStatus, Stage},
        record::{
            Manifest, RecordError, RunReader, Store,
            testing::{end, entry, ignore, list, new_run},
        },
    };

    #[test]
    fn rows_are_acknowledged_in_order_once_they_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let recorder = store
            .begin(new_run(100), move |written| sender.send(written).unwrap())
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
    fn the_manifest_describes_the_run_from_creation_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(2), ignore).unwrap();
        let read = |dir: &std::path::Path| RunReader::open(dir).unwrap().manifest().clone();

        let created: Manifest = read(recorder.run_dir());
        assert_eq!(created, recorder.manifest);
        assert_eq!(created.metadata.planned_test_count, 2);
        assert_eq!(
            (created.status, created.stage),
            (RunStatus::Running, Stage::Plan)
        );
        assert_eq!(created.completed_at, None);
        let told = || list(directory.path())[0].stage;
        assert_eq!(told(), Stage::Plan);
        recorder.begin_run_stage().unwrap();
        assert_eq!(told(), Stage::Run);
        assert_eq!(read(recorder.run_dir()), created);

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
        let recorder = store.begin(new_run(1), ignore).unwrap();
        let error = recorder.finish(&end(RunStatus::Running, 1)).unwrap_err();
        assert!(matches!(error, RecordError::Transition(_)), "{error}");
    }
}
