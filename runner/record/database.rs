//! `runner.db`: a projection of the manifests into SQLite. Nothing needs it, everything is faster with it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{
    Connection, Row, Transaction, TransactionBehavior, config::DbConfig, params, types::Type,
};
use thiserror::Error;

use super::{
    layout::RunId,
    manifest::Manifest,
    recorder::Entry,
    run_entry::{RunEntry, Stamp},
    state,
    words::{self, Word},
};
use crate::model::Counts;

/// One element per version; what was published is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_runs.sql")];
/// How long a reader waits for another process.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the writer thread does, which keeps rows waiting meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

/// Why `runner.db` cannot be used. Never fatal.
#[derive(Debug, Error)]
pub(super) enum DatabaseError {
    #[error("cannot use `{path}`, going on without it; it is made anew once it is deleted")]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("`{path}` was made by a newer runner, going on without it")]
    Newer { path: PathBuf },
}

/// An open `runner.db` with the newest schema.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let wrap = |source| DatabaseError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(wrap)?;
        configure(&connection).map_err(wrap)?;
        let is_known = migrate(&mut connection).map_err(wrap)?;
        if !is_known {
            return Err(DatabaseError::Newer {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Every run that is known, with the stamp of the manifest it was read from.
    pub(super) fn known(
        &self,
        root: &Path,
    ) -> Result<HashMap<RunId, (Stamp, RunEntry)>, DatabaseError> {
        self.read_known(root).map_err(|source| self.wrap(source))
    }

    /// Replaces what is known of some runs and forgets others, in one transaction.
    pub(super) fn project(
        &mut self,
        changed: &[(Stamp, Manifest)],
        gone: &[RunId],
    ) -> Result<(), DatabaseError> {
        project(&mut self.connection, changed, gone).map_err(|source| self.wrap(source))
    }

    fn set_counts(&self, id: &RunId, counts: Counts) -> Result<(), DatabaseError> {
        self.connection
            .prepare_cached(
                "UPDATE runs SET passed = ?2, failed = ?3, error = ?4, timeout = ?5, skipped = ?6, flaky = ?7
                 WHERE run_id = ?1",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    id.as_str(),
                    signed(counts.passed),
                    signed(counts.failed),
                    signed(counts.error),
                    signed(counts.timeout),
                    signed(counts.skipped),
                    signed(counts.flaky),
                ])
            })
            .map(drop)
            .map_err(|source| self.wrap(source))
    }

    fn read_known(&self, root: &Path) -> rusqlite::Result<HashMap<RunId, (Stamp, RunEntry)>> {
        let mut statement = self.connection.prepare(SELECT_RUNS)?;
        let mut rows = statement.query([])?;
        let mut known = HashMap::new();
        while let Some(row) = rows.next()? {
            let (stamp, run) = read_run(row, root)?;
            known.insert(run.id.clone(), (stamp, run));
        }
        Ok(known)
    }

    fn wrap(&self, source: rusqlite::Error) -> DatabaseError {
        DatabaseError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }
}

/// The schema of `runner.db`, as SQL.
pub fn database_sql() -> String {
    let mut connection = Connection::open_in_memory().expect("memory is there");
    migrate(&mut connection).expect("the migrations are valid");
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
        .expect("the schema can be asked for");
    let parts: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .expect("the schema can be read");
    parts
        .iter()
        .map(|part| format!("{part};\n"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The counters of a live run in SQLite; the first failure ends them, and rows go on.
pub(super) struct Progress {
    database: Option<Database>,
    id: RunId,
    counts: Counts,
}

impl Progress {
    pub(super) fn new(database: Option<Database>, id: RunId) -> Self {
        let counts = Counts::default();
        if let Some(database) = &database
            && let Err(source) = database.connection.busy_timeout(SHORT_PATIENCE)
        {
            warn(&database.wrap(source));
        }
        Self {
            database,
            id,
            counts,
        }
    }

    /// Adds final rows that are on disk.
    pub(super) fn add(&mut self, entries: &[Entry]) {
        let Some(database) = &self.database else {
            return;
        };
        for entry in entries.iter().filter(|entry| entry.is_final) {
            state::count(&mut self.counts, entry.mark());
        }
        if let Err(error) = database.set_counts(&self.id, self.counts) {
            warn(&error);
            self.database = None;
        }
    }
}

/// Says what is wrong, once, on the way to going on without SQLite.
pub(super) fn warn(error: &DatabaseError) {
    tracing::warn!(error = error as &dyn std::error::Error, "{error}");
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // A checkpoint waits for the disk several times; a close leaves it to whichever commit finds the log long.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Brings the schema up to date; `false` if it is newer than this program.
fn migrate(connection: &mut Connection) -> rusqlite::Result<bool> {
    if version(connection)? == signed(MIGRATIONS.len() as u64) {
        return Ok(true);
    }

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Asked again, because another process may have been faster.
    let version = usize::try_from(version(&transaction)?).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(version..) else {
        return Ok(false);
    };
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", signed(MIGRATIONS.len() as u64))?;
    transaction.commit()?;
    Ok(true)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn project(
    connection: &mut Connection,
    changed: &[(Stamp, Manifest)],
    gone: &[RunId],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for id in gone {
        forget(&transaction, id.as_str())?;
    }
    for (stamp, manifest) in changed {
        forget(&transaction, &manifest.run_id)?;
        insert(&transaction, *stamp, manifest)?;
    }
    transaction.commit()
}

fn forget(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM runs WHERE run_id = ?1")?
        .execute([id])
        .map(drop)
}

/// Inserts a run and replays its transitions, each of which the triggers check.
fn insert(
    transaction: &Transaction<'_>,
    stamp: Stamp,
    manifest: &Manifest,
) -> rusqlite::Result<()> {
    insert_run(transaction, stamp, manifest)?;
    for session in &manifest.sessions {
        transaction
            .prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                manifest.run_id,
                session.n,
                instant(session.opened_at),
                session.closed_at.map(instant),
                session.opened_by,
                session.reason.map(Word::word),
            ])?;
    }
    for (n, transition) in (1_i64..).zip(&manifest.transitions) {
        transaction
            .prepare_cached("INSERT INTO transitions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                manifest.run_id,
                n,
                instant(transition.at),
                transition.from.map(Word::word),
                transition.to.word(),
                transition.reason.map(Word::word),
                transition.writer,
            ])?;
    }
    Ok(())
}

fn insert_run(
    transaction: &Transaction<'_>,
    stamp: Stamp,
    manifest: &Manifest,
) -> rusqlite::Result<()> {
    let counts = manifest.counts;
    transaction
        .prepare_cached(
            "INSERT INTO runs (run_id, scenario, created_at, started_at, signal, stage, verdict, planned, passed,
                 failed, error, timeout, skipped, flaky, manifest_modified, manifest_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            manifest.run_id,
            manifest.scenario.name,
            instant(manifest.created_at),
            instant(manifest.started_at),
            manifest.signal.map(Word::word),
            manifest.stage.word(),
            manifest.verdict.word(),
            signed(counts.planned),
            signed(counts.passed),
            signed(counts.failed),
            signed(counts.error),
            signed(counts.timeout),
            signed(counts.skipped),
            signed(counts.flaky),
            stamp.modified,
            stamp.bytes,
        ])
        .map(drop)
}

const SELECT_RUNS: &str = "SELECT run_id, scenario, created_at, started_at, completed_at, status, reason, signal, stage,
        verdict, planned, passed, failed, error, timeout, skipped, flaky, manifest_modified, manifest_bytes
    FROM runs";

/// Reads a row of [`SELECT_RUNS`].
fn read_run(row: &Row<'_>, root: &Path) -> rusqlite::Result<(Stamp, RunEntry)> {
    let id: String = row.get(0)?;
    let stamp = Stamp {
        modified: row.get(17)?,
        bytes: row.get(18)?,
    };
    let run = RunEntry {
        dir: root.join(&id),
        id: RunId::of_directory(&id),
        scenario: row.get(1)?,
        created_at: required(row, 2, parse_instant)?,
        started_at: required(row, 3, parse_instant)?,
        completed_at: optional(row, 4, parse_instant)?,
        status: required(row, 5, words::parse)?,
        reason: optional(row, 6, words::parse)?,
        signal: optional(row, 7, words::parse)?,
        stage: required(row, 8, words::parse)?,
        verdict: required(row, 9, words::parse)?,
        counts: Counts {
            planned: count(row, 10)?,
            passed: count(row, 11)?,
            failed: count(row, 12)?,
            error: count(row, 13)?,
            timeout: count(row, 14)?,
            skipped: count(row, 15)?,
            flaky: count(row, 16)?,
        },
        is_not_yet_swept: false,
    };
    Ok((stamp, run))
}

fn required<T>(row: &Row<'_>, column: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    optional(row, column, parse)?.ok_or_else(|| unreadable(column))
}

fn optional<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => parse(text).map(Some).ok_or_else(|| unreadable(column)),
        None => Ok(None),
    }
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| unreadable(column))
}

fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        "not a value of this column".into(),
    )
}

fn instant(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

fn parse_instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// SQLite has no unsigned numbers.
fn signed(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{configure, migrate};
    use crate::{model::RunStatus, record::status};

    fn connection() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        configure(&connection).unwrap();
        assert!(migrate(&mut connection).unwrap());
        let run = "INSERT INTO runs (run_id, scenario, created_at, started_at, stage, verdict, planned, passed, failed,
                error, timeout, skipped, flaky, manifest_modified, manifest_bytes)
            VALUES ('run', '', '', '', 'run', 'none', 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        connection.execute(run, []).unwrap();
        connection
    }

    /// Ways from birth to each status.
    fn way(status: Option<RunStatus>) -> Vec<RunStatus> {
        match status {
            None => vec![],
            Some(RunStatus::Running) => vec![RunStatus::Running],
            Some(status) => vec![RunStatus::Running, status],
        }
    }

    fn go(
        connection: &Connection,
        from: Option<RunStatus>,
        to: RunStatus,
    ) -> rusqlite::Result<usize> {
        connection.execute(
            "INSERT INTO transitions
             SELECT 'run', count(*), '2026-11-20T00:00:00.000Z', ?1, ?2, NULL, 'test' FROM transitions",
            [from.map(RunStatus::as_str), Some(to.as_str())],
        )
    }

    #[test]
    fn sql_refuses_exactly_the_transitions_that_the_type_refuses() {
        for from in RunStatus::ALL.into_iter().map(Some).chain([None]) {
            for to in RunStatus::ALL {
                let connection = connection();
                let mut current = None;
                for next in way(from) {
                    go(&connection, current, next).unwrap();
                    current = Some(next);
                }

                let is_legal = status::check(from, to).is_ok();
                assert_eq!(
                    go(&connection, from, to).is_ok(),
                    is_legal,
                    "{from:?} to {to}"
                );
                let is_now: Option<String> = connection
                    .query_row("SELECT status FROM runs", [], |row| row.get(0))
                    .unwrap();
                let expected = if is_legal { Some(to) } else { from };
                assert_eq!(is_now.as_deref(), expected.map(RunStatus::as_str));
            }
        }
    }

    #[test]
    fn a_transition_must_begin_at_the_status_that_the_run_has() {
        let connection = connection();
        go(&connection, None, RunStatus::Running).unwrap();
        assert!(go(&connection, Some(RunStatus::Failed), RunStatus::Running).is_err());
        assert!(go(&connection, None, RunStatus::Running).is_err());
        let update = "UPDATE runs SET status = 'running'";
        assert!(connection.execute(update, []).is_err());
    }
}
