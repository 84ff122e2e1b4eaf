//! What the tests of many runs came to: from SQLite where nothing has changed since, else from their rows.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{
    database::{self, Database},
    root::Store,
};
use crate::{
    model::RunStatus,
    record::{
        disk::{layout::RunDir, stamp::Stamp},
        error::RecordError,
        reading::{reader::RunReader, run_entry::RunEntry, run_tests::RunTests},
    },
};

/// What tells one version of a run from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct RunStamp {
    manifest: Stamp,
    rows: Stamp,
}

/// What was found of a run.
type FoundTests = Result<RunTests, RecordError>;

impl Store {
    /// What the tests of each of these runs came to, in their order. Those of runs that have ended are kept in SQLite.
    pub(crate) fn run_tests(&self, runs: &[RunEntry]) -> Vec<FoundTests> {
        let stamps: Vec<_> = runs.iter().map(stamp).collect();
        let mut database = self.open_for_tests();
        let mut found: Vec<Option<FoundTests>> = runs
            .iter()
            .zip(&stamps)
            .map(|(run, stamp)| {
                let connection = database.as_ref()?.connection();
                let kept = kept(connection, run, (*stamp)?);
                kept.ok().flatten().map(|text| Ok(RunTests::kept(text)))
            })
            .collect();
        let missing: Vec<usize> = (0..runs.len()).filter(|at| found[*at].is_none()).collect();
        let read = read_all(runs, &missing);
        if let Some(database) = &mut database {
            let fresh = read
                .iter()
                .filter_map(|(at, tests)| Some((&runs[*at], stamps[*at]?, tests.as_ref().ok()?)));
            keep(database.connection_mut(), fresh.collect());
        }
        for (at, tests) in read {
            found[at] = Some(tests);
        }
        found.into_iter().flatten().collect()
    }

    /// What keeps them, unless there is nothing to be asked or it cannot be used.
    fn open_for_tests(&self) -> Option<Database> {
        let path = self.root.database();
        if !path.exists() {
            return None;
        }
        match Database::open_to_compare(&path) {
            Ok(database) => Some(database),
            Err(error) => {
                database::warn(&error);
                None
            }
        }
    }
}

/// The stamp of a run at rest; `None` for others, and where there is nothing to look at.
fn stamp(run: &RunEntry) -> Option<RunStamp> {
    if run.status == RunStatus::Running || run.is_not_yet_swept {
        return None;
    }
    let dir = RunDir::new(&run.dir);
    let rows = || -> io::Result<Stamp> {
        // Nothing is written any more into those before it.
        let last = dir.row_file(dir.last_row_file()?);
        Stamp::of_metadata(&std::fs::metadata(last)?)
    };
    Some(RunStamp {
        manifest: Stamp::of(&dir).ok().flatten()?,
        rows: rows().ok()?,
    })
}

fn kept(
    connection: &Connection,
    run: &RunEntry,
    stamp: RunStamp,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT tests FROM run_tests WHERE run_id = ?1 AND manifest_modified = ?2 AND manifest_bytes = ?3
             AND rows_modified = ?4 AND rows_bytes = ?5",
        )?
        .query_row(
            params![
                run.id.as_str(),
                stamp.manifest.modified,
                stamp.manifest.bytes,
                stamp.rows.modified,
                stamp.rows.bytes
            ],
            |row| row.get(0),
        )
        .optional()
}

/// Keeps what was read; a run that SQLite does not know is left out. Nothing needs it, so nobody hears of a failure.
fn keep(connection: &mut Connection, fresh: Vec<(&RunEntry, RunStamp, &RunTests)>) {
    if fresh.is_empty() {
        return;
    }
    let write = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (run, stamp, tests) in fresh {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO run_tests
                     SELECT run_id, ?2, ?3, ?4, ?5, ?6 FROM runs WHERE run_id = ?1",
                )?
                .execute(params![
                    run.id.as_str(),
                    stamp.manifest.modified,
                    stamp.manifest.bytes,
                    stamp.rows.modified,
                    stamp.rows.bytes,
                    tests.as_str()
                ])?;
        }
        transaction.commit()
    };
    if let Err(error) = write() {
        tracing::debug!("what tests came to is not kept: {error}");
    }
}

/// Reads the rows of the `missing` ones among these runs, on every core.
fn read_all(runs: &[RunEntry], missing: &[usize]) -> Vec<(usize, FoundTests)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(missing.len()));
    let work = || {
        while let Some(at) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tests = RunReader::open(&runs[*at].dir).and_then(|reader| RunTests::read(&reader));
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((*at, tests));
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores.min(missing.len()) {
            // Without another thread this one does it alone.
            drop(thread::Builder::new().spawn_scoped(scope, work));
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}
