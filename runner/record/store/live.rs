//! What the owner of a run keeps of it in `runner.db`: its manifest and, while it writes, its counters.

use super::database::{self, Database, DatabaseError};
use crate::{
    model::Counts,
    record::{
        disk::{
            layout::{Root, RunDir, RunId},
            stamp::Stamp,
        },
        format::{entry::Entry, judgement::JudgedMark, manifest::Manifest},
    },
};

/// What the owner of a run keeps of it in SQLite while it writes; the first failure ends that, and rows go on.
pub(in crate::record) struct Progress {
    /// The manifest with which the session begins and its file as it was then, until they are in the database.
    begins: Option<(Stamp, Manifest)>,
    database: Option<Database>,
    root: Root,
    id: RunId,
    counts: Counts,
}

impl Progress {
    /// Goes on from the counts of `manifest`, as it is on disk.
    pub(in crate::record) fn new(root: Root, dir: &RunDir, id: RunId, manifest: &Manifest) -> Self {
        // Without a stamp, whoever lists the runs reads the manifest again.
        let stamp = Stamp::of(dir).ok().flatten();
        Self {
            begins: stamp.map(|stamp| (stamp, manifest.clone())),
            database: None,
            root,
            id,
            counts: manifest.counts.into(),
        }
    }

    /// For rows that are counted nowhere.
    #[cfg(test)]
    pub(in crate::record) fn nowhere() -> Self {
        Self {
            begins: None,
            database: None,
            root: Root::new(std::path::Path::new("")),
            id: RunId::of_directory("run"),
            counts: Counts::default(),
        }
    }

    /// Opens the database and puts the manifest into it, which takes as long as all else that begins a session.
    pub(in crate::record) fn begin(&mut self) {
        if let Some(manifest) = self.begins.take() {
            self.database = Database::open_in_haste(&self.root.database())
                .and_then(|database| put(database, manifest))
                .inspect(Database::be_impatient)
                .inspect_err(database::warn)
                .ok();
        }
    }

    /// Gives the database for later use.
    pub(in crate::record) fn end(self) -> Option<Database> {
        self.database.inspect(Database::be_patient)
    }

    /// Adds final rows and judgements that are on disk.
    pub(in crate::record) fn add(&mut self, entries: &[Entry], judgements: &[JudgedMark]) {
        let Some(database) = &self.database else {
            return;
        };
        for entry in entries.iter().filter(|entry| entry.is_final) {
            self.counts.add(entry.attempt.outcome, entry.is_flaky);
        }
        for judgement in judgements
            .iter()
            .filter(|judgement| judgement.mark.is_final)
        {
            if let Some((outcome, is_flaky)) = judgement.before {
                self.counts.remove(outcome, is_flaky);
            }
            self.counts
                .add(judgement.mark.outcome, judgement.mark.is_flaky);
        }
        match database.set_counts(&self.id, self.counts) {
            Ok(()) => {}
            // The next commit brings these counts along. Rows do not wait for them.
            Err(error) if error.is_busy() => {}
            Err(error) => {
                database::warn(&error);
                self.database = None;
            }
        }
    }
}

/// Puts a manifest into `runner.db`, which may fail.
pub(in crate::record) fn project(root: &Root, dir: &RunDir, manifest: &Manifest) {
    project_with(None, root, dir, manifest);
}

/// The same, with a database that was opened before if its file is still there.
pub(in crate::record) fn project_with(
    open: Option<Database>,
    root: &Root,
    dir: &RunDir,
    manifest: &Manifest,
) {
    let Ok(Some(stamp)) = Stamp::of(dir) else {
        return;
    };
    let database = match open.filter(Database::is_in_place) {
        Some(database) => Ok(database),
        None => Database::open_in_haste(&root.database()),
    };
    let projected = database.and_then(|database| put(database, (stamp, manifest.clone())));
    if let Err(error) = projected {
        database::warn(&error);
    }
}

fn put(mut database: Database, manifest: (Stamp, Manifest)) -> Result<Database, DatabaseError> {
    let refused = database.project(&[manifest], &[])?;
    database::warn_refused(&refused);
    Ok(database)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rusqlite::Connection;

    use crate::{
        model::{Outcome, RunStatus},
        record::{
            NextSession, Rerun, Store,
            testing::{claim, crashed, end, entry, new_run, resume},
        },
    };

    #[test]
    fn a_run_goes_on_whatever_happens_to_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runner.db");
        let dir = crashed(directory.path());
        let writer = rusqlite::Connection::open(&path).unwrap();
        for n in 2..=4 {
            match n {
                2 => writer.execute_batch("BEGIN EXCLUSIVE").unwrap(),
                3 => {
                    writer.execute_batch("ROLLBACK").unwrap();
                    fs_err::write(&path, "not a database").unwrap();
                }
                _ => {
                    fs_err::remove_file(&path).unwrap();
                    fs_err::create_dir(&path).unwrap();
                }
            }
            let (recorder, mut state) = resume(claim(&dir).unwrap(), Some(Rerun::All));
            assert_eq!((recorder.session(), state.counts().done()), (n, 0));
            let number = state.assign(0);
            recorder.record(vec![entry(0, number, Outcome::Passed)]);
        }
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.history(NextSession::default()).unwrap().last_seq, 5);
        assert_eq!(claimed.manifest().transitions.len(), 8);
    }

    #[test]
    fn the_end_of_a_run_is_in_the_database_that_is_there_then() {
        for is_replaced in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = |end: &str| directory.path().join(format!("runner.db{end}"));
            let store = Store::open(directory.path()).unwrap();
            let (sender, receiver) = mpsc::channel();
            let recorder = store
                .begin(new_run(1), move |written| sender.send(written).unwrap())
                .unwrap();
            recorder.record(vec![entry(0, 1, Outcome::Passed)]);
            recorder.flush();
            receiver.recv().unwrap();
            if is_replaced {
                for end in ["", "-wal", "-shm"] {
                    fs_err::rename(path(end), path(&format!(".old{end}"))).unwrap();
                }
            }
            recorder.finish(&end(RunStatus::Completed, 1)).unwrap();
            let status = |path| -> String {
                let database = Connection::open(path).unwrap();
                let sql = "SELECT status FROM runs";
                database.query_row(sql, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(status(path("")), "completed");
            if is_replaced {
                assert_eq!(status(path(".old")), "running");
            }
        }
    }

    #[test]
    fn sqlite_counts_rows_that_are_acknowledged_and_is_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let recorder = store
            .begin(new_run(3), move |written| sender.send(written).unwrap())
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
}
