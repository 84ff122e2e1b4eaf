//! [`Trials`]: results of trials, by the table `trials` of `runner.db`.
//!
//! The results of a run are filled in when they are first read, and again after its manifest or its rows have changed. If the
//! table cannot be used, and for runs that have not ended, they are filled into a temporary database, with the same result.

use std::{collections::HashMap, error, io, path::Path};

use runner_model::row::{BadLine, RowHead};
use runner_model::{TrialId, status::RunVerdict, visible::shown_path};
use rusqlite::{Connection, OptionalExtension as _, Statement, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::database::{Database, temporary, truncate_log, upsert};
use super::trial_result::{RowRest, TrialResult};
use crate::disk::beneath::Stamp;
use crate::disk::layout::{MANIFEST, ROWS};
use crate::rows::fold::UnplannedFold;
use crate::rows::line_reader::{ParsedLine, ReadLine};
use crate::rows::ordered::LinePlace;
use crate::run::truth::CheckedManifest;
use crate::{Manifest, RecordError, ResultsRoot, RunDir};

/// Number of names whose numbers are in memory while a run is filled in.
const KNOWN_NAMES: usize = 4096;
/// Pages of the log that are written into the table together.
const CHECKPOINT_PAGES: u32 = 4096;

const INSERT: &str = "
INSERT OR REPLACE INTO trials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

const SELECT: &str = "
SELECT test.name, provider.name, repeat, outcome, flaky, score, duration_us, started_at, fingerprint, judgement_fingerprint, seq, tokens, cost_usd, trials.crc
FROM trials
CROSS JOIN names AS test ON test.number = trials.test
CROSS JOIN names AS provider ON provider.number = trials.provider
WHERE run = ?1";

/// The rest of [`SELECT`] for one trial.
const OF_TRIAL: &str = "
AND trials.test = (SELECT number FROM names WHERE name = ?2)
AND trials.provider = (SELECT number FROM names WHERE name = ?3) AND repeat = ?4";

/// Results of a run.
#[derive(Debug)]
pub struct RunResults<T> {
    /// The run lacks rows that its manifest counts, or has rows of another run.
    pub is_damaged: bool,
    /// Number of trials with a result.
    pub trials: u64,
    pub results: T,
}

/// The files whose results the table has.
#[derive(Debug, Serialize, Deserialize)]
struct Filled {
    manifest: Stamp,
    rows: Option<Stamp>,
    /// Number of trials.
    results: u64,
    is_damaged: bool,
}

/// Reads the results of a run by its number. `None` if the table is damaged.
type Read<'a, T> = dyn FnMut(&Connection, i64, &Filled) -> rusqlite::Result<Option<T>> + 'a;

/// Results of trials over the runs of a root.
#[derive(Debug)]
pub struct Trials {
    /// `None` if it cannot be used.
    kept: Option<Database>,
    temporary: Connection,
    has_filled: bool,
}

impl ResultsRoot {
    /// Opens the results of trials.
    pub fn trials(&self) -> Result<Trials, RecordError> {
        let failed = |error| {
            RecordError::io("make a temporary database for", self.path(), io::Error::other(error))
        };
        let kept = self.dir().and_then(Database::open_or_create);
        if let Some(kept) = &kept {
            // Each checkpoint waits for the disk, and the first use can fill in thousands of runs.
            let _ = kept.connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES);
        }
        Ok(Trials { kept, temporary: temporary().map_err(failed)?, has_filled: false })
    }

    /// Opens this user's runs of a scenario's file, the newest first, with their true state.
    ///
    /// # Errors
    ///
    /// Items are errors for damaged runs, runs of other users, and runs of other files with this scenario's name.
    pub fn runs_of(
        &self,
        scenario: &str,
        path: &Path,
    ) -> Result<impl Iterator<Item = Result<(RunDir, Manifest), RecordError>>, RecordError> {
        Ok(self.runs_of_user(Some(scenario))?.map(move |run| {
            let run = run?;
            let manifest = run.truth()?;
            let its_path = Path::new(&manifest.scenario_path);
            if its_path == path {
                return Ok((run, manifest));
            }
            Err(run.dir.refuse(".", format!("it is a run of {}", shown_path(its_path))))
        }))
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.has_filled) {
            // The log has all results, also if the disk is full. Another process that reads it prevents this.
            let _ = truncate_log(&kept.connection);
        }
    }
}

impl Trials {
    /// Adds all results of a run to a value, in no order. If the table turns out to be damaged, `new` is called a second time.
    pub fn of_run<T>(
        &mut self,
        run: &RunDir,
        new: &dyn Fn() -> T,
        add: &mut dyn FnMut(&mut T, TrialResult),
    ) -> Result<RunResults<T>, RecordError> {
        self.read(run, &mut |connection, number, filled| {
            let mut value = new();
            let is_whole = read_all(connection, run, number, filled, &mut |result| {
                add(&mut value, result);
            })?;
            Ok(is_whole.then_some(value))
        })
    }

    /// Returns the result of one trial of a run.
    pub fn of_trial(
        &mut self,
        run: &RunDir,
        trial: &TrialId,
    ) -> Result<RunResults<Option<TrialResult>>, RecordError> {
        self.read(run, &mut |connection, number, filled| {
            let mut statement = connection.prepare(&[SELECT, OF_TRIAL].concat())?;
            let TrialId { test, provider, repeat } = trial;
            let mut rows = statement.query(params![number, &**test, &**provider, repeat])?;
            if let Some(row) = rows.next()? {
                return Ok(TrialResult::read(row, run.id())?.map(Some));
            }
            // A damaged table hides results from a search by key.
            let mut found = None;
            let is_whole = read_all(connection, run, number, filled, &mut |result| {
                if result.trial == *trial {
                    found = Some(result);
                }
            })?;
            Ok(is_whole.then_some(found))
        })
    }

    /// Reads results of a run, after filling them in if necessary.
    fn read<T>(
        &mut self,
        run: &RunDir,
        read: &mut Read<'_, T>,
    ) -> Result<RunResults<T>, RecordError> {
        let (manifest, rows) = (run.dir.stat(MANIFEST)?, run.dir.stat(ROWS)?);
        let is_current = |filled: &Filled| Some(filled.manifest) == manifest && filled.rows == rows;
        let kept = self.kept.iter().map(|kept| &kept.connection);
        for connection in kept.chain([&self.temporary]) {
            if let Ok(Some(found)) = find(connection, run, &is_current, read) {
                return Ok(found);
            }
        }
        run.snapshot(|| self.fill_and_read(run, read))
    }

    fn fill_and_read<T>(
        &mut self,
        run: &RunDir,
        read: &mut Read<'_, T>,
    ) -> Result<RunResults<T>, RecordError> {
        // Rows that are appended from here on make the stamp outdated.
        let (rows, manifest) = (run.dir.stat(ROWS)?, run.checked_manifest()?);
        if manifest.manifest.status.is_terminal()
            && let Some(mut kept) = self.kept.take()
        {
            self.has_filled = true;
            match fill_and_find(&mut kept.connection, run, &manifest, rows, read) {
                Ok(Some(found)) => {
                    self.kept = Some(kept);
                    return Ok(found);
                }
                Ok(None) => kept.remove(),
                Err(FillError::Database(error)) => kept.give_up(&error),
                Err(FillError::Record(error)) => return Err(error),
            }
        }
        match fill_and_find(&mut self.temporary, run, &manifest, rows, read) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(failed(run, "SQLite does not return what it wrote")),
            Err(FillError::Database(error)) => Err(failed(run, error)),
            Err(FillError::Record(error)) => Err(error),
        }
    }
}

#[derive(Debug, Error)]
enum FillError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

fn failed(run: &RunDir, problem: impl Into<Box<dyn error::Error + Send + Sync>>) -> RecordError {
    run.dir.error("read the results of trials in", ".", io::Error::other(problem))
}

/// Reads the results of a run that is filled in. `None` if it is not, or if the table is damaged.
fn find<T>(
    connection: &Connection,
    run: &RunDir,
    is_current: &dyn Fn(&Filled) -> bool,
    read: &mut Read<'_, T>,
) -> rusqlite::Result<Option<RunResults<T>>> {
    let select = "SELECT number, filled FROM runs WHERE id = ?1 AND filled IS NOT NULL";
    let found: Option<(i64, String)> =
        connection.query_row(select, [&run.id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((number, filled)) = found else { return Ok(None) };
    match serde_json::from_str::<Filled>(&filled) {
        Ok(filled) if is_current(&filled) => {
            let results = read(connection, number, &filled)?;
            let Filled { results: trials, is_damaged, .. } = filled;
            Ok(results.map(|results| RunResults { is_damaged, trials, results }))
        }
        _ => Ok(None),
    }
}

/// Reads all results of the run with this number. Returns `false` if the table is damaged.
fn read_all(
    connection: &Connection,
    run: &RunDir,
    number: i64,
    filled: &Filled,
    each: &mut dyn FnMut(TrialResult),
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare(SELECT)?;
    let (mut rows, mut found) = (statement.query([number])?, 0);
    while let Some(row) = rows.next()? {
        let Some(result) = TrialResult::read(row, &run.id)? else { return Ok(false) };
        each(result);
        found += 1;
    }
    Ok(found == filled.results)
}

fn fill_and_find<T>(
    connection: &mut Connection,
    run: &RunDir,
    manifest: &CheckedManifest,
    rows: Option<Stamp>,
    read: &mut Read<'_, T>,
) -> Result<Option<RunResults<T>>, FillError> {
    fill(connection, run, manifest, rows)?;
    Ok(find(connection, run, &|_| true, read)?)
}

/// Replaces the results of a run, in one transaction.
fn fill(
    connection: &mut Connection,
    run: &RunDir,
    manifest: &CheckedManifest,
    rows: Option<Stamp>,
) -> Result<(), FillError> {
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    upsert(&all, &run.id, &manifest.into())?;
    let select = "SELECT number FROM runs WHERE id = ?1";
    let number: i64 = all.query_row(select, [&run.id], |row| row.get(0))?;
    let CheckedManifest { manifest, stamp, .. } = manifest;
    let reading = read_rows(&all, number, run, manifest)?;
    let filled = Filled {
        manifest: *stamp,
        rows,
        results: reading.fold.counts().done(),
        is_damaged: reading.is_foreign || manifest.verdict == RunVerdict::Damaged,
    };
    let filled = serde_json::to_string(&filled).unwrap_or_default();
    all.execute("UPDATE runs SET filled = ?2 WHERE number = ?1", params![number, filled])?;
    Ok(all.commit()?)
}

/// The rows of a run, while they are read.
struct Reading {
    fold: UnplannedFold,
    is_foreign: bool,
    other_version: Option<String>,
    written: rusqlite::Result<()>,
}

/// Replaces the results of the run with this number by those of its rows.
fn read_rows(
    connection: &Connection,
    number: i64,
    run: &RunDir,
    manifest: &Manifest,
) -> Result<Reading, FillError> {
    let clear = || connection.execute("DELETE FROM trials WHERE run = ?1", [number]).map(drop);
    let new = || Reading {
        fold: UnplannedFold::default(),
        is_foreign: false,
        other_version: None,
        written: clear(),
    };
    let mut names = Names::new(connection)?;
    let mut insert = connection.prepare(INSERT)?;
    let mut write = |row: &RowHead, rest| {
        let result = TrialResult::new(row, rest);
        let TrialId { test, provider, repeat } = &result.trial;
        insert.execute(params![
            number,
            names.number(test)?,
            names.number(provider)?,
            repeat,
            result.outcome.as_str(),
            result.flaky,
            result.score,
            result.duration.0.cast_signed(),
            result.started_at.as_millis(),
            result.fingerprints.0[0],
            result.fingerprints.0[1],
            result.seq.cast_signed(),
            result.tokens,
            result.cost_usd,
            result.crc(&run.id),
        ])
    };
    let mut add = |reading: &mut Reading, at: LinePlace, (line, rest): ParsedLine<'_, RowRest>| {
        match line {
            ReadLine::Row(row, _) => {
                // Without the plan, rows of trials that it lacks are not found here.
                let place = (row.session, row.seq);
                reading.is_foreign |= manifest.foreign(&row.trial, place, true).is_some();
                let settles = reading.fold.add(&row).is_some_and(|(_, effect)| effect.settles);
                if settles && reading.written.is_ok() {
                    reading.written = write(&row, rest.unwrap_or_default()).map(drop);
                }
            }
            ReadLine::Damaged(problem @ BadLine::Version(_)) => {
                let problem = || format!("line {}: {problem}", at.number);
                reading.other_version.get_or_insert_with(problem);
            }
            ReadLine::Damaged(_) | ReadLine::Torn => {}
        }
    };
    let mut reading = run.fold_lines(&new, RowRest::read, &mut add)?;
    std::mem::replace(&mut reading.written, Ok(()))?;
    match reading.other_version.take() {
        Some(problem) => Err(run.dir.refuse(ROWS, problem).into()),
        None => Ok(reading),
    }
}

/// Numbers of names in the table `names`.
struct Names<'c> {
    find: Statement<'c>,
    add: Statement<'c>,
    known: HashMap<String, i64>,
}

impl<'c> Names<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: connection.prepare("SELECT number FROM names WHERE name = ?1")?,
            add: connection.prepare("INSERT INTO names (name) VALUES (?1) RETURNING number")?,
            known: HashMap::new(),
        })
    }

    /// Returns the number of a name, and adds the name if it is new.
    fn number(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.known.get(name) {
            return Ok(*number);
        }
        let found = self.find.query_row([name], |row| row.get(0)).optional()?;
        let number = match found {
            Some(number) => number,
            None => self.add.query_row([name], |row| row.get(0))?,
        };
        if self.known.len() == KNOWN_NAMES {
            self.known.clear();
        }
        self.known.insert(name.to_owned(), number);
        Ok(number)
    }
}

#[cfg(test)]
#[path = "tests/trials.rs"]
mod tests;
