//! `runner.db`: a projection of the manifests into SQLite. Nothing needs it, everything is faster with it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, Row, TransactionBehavior, config::DbConfig, params, types::Type,
};
use thiserror::Error;

use super::{
    projection::{self, Refused},
    sql::{parse_instant, signed},
};
use crate::{
    model::Counts,
    record::{
        disk::{layout::RunId, lock::FilePlace, modes, regular, stamp::Stamp},
        error::RecordError,
        format::{manifest::Manifest, manifest_parts::Pinned, words},
        reading::run_entry::RunEntry,
    },
};

/// One element per version; what was published is never edited.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/0001_runs.sql"),
    include_str!("migrations/0002_resume.sql"),
    include_str!("migrations/0003_pinned.sql"),
    include_str!("migrations/0004_worked.sql"),
    include_str!("migrations/0005_run_tests.sql"),
];
/// How long a reader waits for another process.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the owner of a run does, who keeps rows or a person waiting meanwhile.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of its log from which on a close brings it into the database: as much as is read in a part of a millisecond.
const LONG_LOG: u64 = 256 * 1024;

/// Why `runner.db` cannot be used. Never fatal.
#[derive(Debug, Error)]
pub(in crate::record) enum DatabaseError {
    #[error("cannot use `{path}`")]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("`{path}` was made by a newer runner")]
    Newer { path: PathBuf },
    #[error("`{path}` is a directory: remove it, or move it away")]
    Directory { path: PathBuf },
    #[error("`{path}` is {kind} and no database")]
    NoFile { path: PathBuf, kind: &'static str },
}

impl DatabaseError {
    /// Tells whether another file in its place would help: the one that is there cannot be understood.
    pub(in crate::record) fn is_in_the_file(&self) -> bool {
        let source = match self {
            Self::Sqlite { source, .. } => source,
            Self::Newer { .. } | Self::NoFile { .. } => return true,
            Self::Directory { .. } => return false,
        };
        !matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::CannotOpen
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
            )
        )
    }

    fn path(&self) -> &Path {
        match self {
            Self::Sqlite { path, .. }
            | Self::Newer { path }
            | Self::Directory { path }
            | Self::NoFile { path, .. } => path,
        }
    }

    /// Tells whether another process is writing.
    pub(super) fn is_busy(&self) -> bool {
        let Self::Sqlite { source, .. } = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }
}

impl From<DatabaseError> for RecordError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

/// An open `runner.db` with the newest schema.
pub(in crate::record) struct Database {
    connection: Connection,
    path: PathBuf,
    /// Which file it is; none if that could not be found out.
    place: Option<FilePlace>,
}

impl Database {
    /// Opens the database, and waits a little where another process is writing.
    pub(in crate::record) fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::open_with(path, PATIENCE)
    }

    /// Opens the database for somebody who compares it with what there is, which is soon done.
    pub(in crate::record) fn open_to_compare(path: &Path) -> Result<Self, DatabaseError> {
        let database = Self::open(path)?;
        match database.has_long_log() {
            true => Ok(database),
            false => database.without_checkpoint(),
        }
    }

    /// Opens the database for the owner of a run, whom nothing may keep from ending in time.
    pub(in crate::record) fn open_in_haste(path: &Path) -> Result<Self, DatabaseError> {
        Self::open_with(path, SHORT_PATIENCE)?.without_checkpoint()
    }

    /// Lets the close leave what is in the log to whichever close or commit finds that long. A checkpoint waits for the disk
    /// several times, as does the first commit after it.
    fn without_checkpoint(self) -> Result<Self, DatabaseError> {
        let set = self
            .connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        set.map_err(|source| self.wrap(source))?;
        Ok(self)
    }

    /// Tells whether whoever opens the database next, and alone, would have much to read in its log.
    fn has_long_log(&self) -> bool {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        fs_err::metadata(log).is_ok_and(|log| log.len() > LONG_LOG)
    }

    fn open_with(path: &Path, patience: Duration) -> Result<Self, DatabaseError> {
        let wrap = |source| DatabaseError::Sqlite {
            path: path.to_owned(),
            source,
        };
        // SQLite would say of these that there are errors of the disk.
        match std::fs::metadata(path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_dir() => {
                let path = path.to_owned();
                return Err(DatabaseError::Directory { path });
            }
            Ok(kind) if !kind.is_file() => {
                let (path, kind) = (path.to_owned(), regular::name_of(kind));
                return Err(DatabaseError::NoFile { path, kind });
            }
            _ => {}
        }
        // SQLite would let everybody read it whom the mask does; its logs have the mode that it has.
        modes::create_missing(path);
        let mut connection = Connection::open(path).map_err(wrap)?;
        configure(&connection, patience).map_err(wrap)?;
        let is_known = migrate(&mut connection).map_err(wrap)?;
        if !is_known {
            return Err(DatabaseError::Newer {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            place: FilePlace::at(path).ok(),
        })
    }

    /// Tells whether whoever opens the database now opens the same file.
    pub(in crate::record) fn is_in_place(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| place.check().is_ok())
    }

    /// Every run that is known, with the stamp of the manifest it was read from.
    pub(in crate::record) fn known(
        &self,
        root: &Path,
    ) -> Result<Vec<(Stamp, RunEntry)>, DatabaseError> {
        self.read_known(root).map_err(|source| self.wrap(source))
    }

    /// Replaces what is known of some runs and forgets others, in one transaction.
    pub(in crate::record) fn project(
        &mut self,
        changed: &[(Stamp, Manifest)],
        gone: &[RunId],
    ) -> Result<Vec<Refused>, DatabaseError> {
        projection::project(&mut self.connection, changed, gone).map_err(|source| self.wrap(source))
    }

    /// Forgets every run, learns these, and makes sure that they can be read back.
    pub(in crate::record) fn rebuild(
        &mut self,
        manifests: &[(Stamp, Manifest)],
    ) -> Result<Vec<Refused>, DatabaseError> {
        projection::rebuild(&mut self.connection, manifests).map_err(|source| self.wrap(source))
    }

    pub(super) fn set_counts(&self, id: &RunId, counts: Counts) -> Result<(), DatabaseError> {
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

    fn read_known(&self, root: &Path) -> rusqlite::Result<Vec<(Stamp, RunEntry)>> {
        let mut statement = self.connection.prepare(SELECT_RUNS)?;
        let mut rows = statement.query([])?;
        let mut known = Vec::new();
        // A join takes as long as ten of these columns.
        let mut prefix = root.join("x").into_os_string().into_vec();
        prefix.pop();
        while let Some(row) = rows.next()? {
            // One that cannot be read back is read from its manifest.
            known.extend(read_run(row, &prefix).ok());
        }
        Ok(known)
    }

    /// Fails from now on, rather than wait, where another process is writing.
    pub(super) fn be_impatient(&self) {
        self.set_patience(Duration::ZERO);
    }

    /// Waits from now on as the owner of a run does.
    pub(super) fn be_patient(&self) {
        self.set_patience(SHORT_PATIENCE);
    }

    fn set_patience(&self, patience: Duration) {
        let set = self.connection.busy_timeout(patience);
        set.expect("a timeout of less than a month can be set");
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
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

/// The databases of which it was said that they cannot be used: a command opens one several times.
static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Says what is wrong, once, on the way to going on without SQLite.
pub(in crate::record) fn warn(error: &DatabaseError) {
    if error.is_busy() {
        // Whoever lists runs next sees by the manifest's stamp what is missing.
        tracing::info!("{error}, which another process is writing, going on without it");
        return;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.insert(error.path().to_owned()) {
        return;
    }
    drop(told);
    if let DatabaseError::Directory { .. } = error {
        tracing::warn!("going on without a database, because {error}");
        return;
    }
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "{error}, going on without it; `runner reindex` makes it anew"
    );
}

/// Names the runs that are left out.
pub(in crate::record) fn warn_refused(refused: &[Refused]) {
    for Refused { run, problem } in refused {
        tracing::warn!(
            "run `{run}` is left out of `runner.db`, and lists read its manifest instead: {problem}; `runner verify {run}` looks for damage"
        );
    }
}

fn configure(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(patience)?;
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

const SELECT_RUNS: &str = "SELECT run_id, scenario, created_at, started_at, completed_at, status, reason, signal, stage,
        verdict, planned, passed, failed, error, timeout, skipped, flaky, manifest_modified, manifest_bytes,
        pinned_at, pinned_reason, opened_at, sessions, worked_ms
    FROM runs";

/// Reads a row of [`SELECT_RUNS`]; `prefix` is what stands before the names of directories.
fn read_run(row: &Row<'_>, prefix: &[u8]) -> rusqlite::Result<(Stamp, RunEntry)> {
    let id = row.get_ref(0)?.as_str()?;
    let stamp = Stamp {
        modified: row.get(17)?,
        bytes: row.get(18)?,
    };
    let reason = row.get(20)?;
    let pinned = optional(row, 19, parse_instant)?.map(|at| Pinned { at, reason });
    let created_at = required(row, 2, parse_instant)?;
    // Most have one session, which began when they were created.
    let since = |column| match row.get_ref(column)? == row.get_ref(2)? {
        true => Ok(created_at),
        false => required(row, column, parse_instant),
    };
    let run = RunEntry {
        dir: OsString::from_vec([prefix, id.as_bytes()].concat()).into(),
        id: RunId::of_directory(id),
        scenario: row.get(1)?,
        created_at,
        started_at: since(3)?,
        completed_at: optional(row, 4, parse_instant)?,
        opened_at: since(21)?,
        sessions: row.get(22)?,
        worked: Duration::from_millis(count(row, 23)?),
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
        pauses: Vec::new(),
        pinned,
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

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::{Database, PATIENCE, configure, migrate};
    use crate::{
        model::RunStatus,
        record::{
            format::{manifest::NewSession, status},
            testing::{NOW, finished_run},
        },
    };

    fn connection() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        configure(&connection, PATIENCE).unwrap();
        assert!(migrate(&mut connection).unwrap());
        let run = "INSERT INTO runs (run_id, scenario, created_at, started_at, stage, verdict, planned, passed, failed,
                error, timeout, skipped, flaky, manifest_modified, manifest_bytes)
            VALUES ('run', '', '', '', 'run', 'none', 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        connection.execute(run, []).unwrap();
        connection
    }

    fn open_session(connection: &Connection, rerun: Option<&str>, is_forced: bool) {
        connection
            .execute(
                "INSERT INTO sessions (run_id, n, opened_at, opened_by, rerun, forced)
                 VALUES ('run', 2, '2026-11-20T00:00:00.000Z', 'resume', ?1, ?2)",
                params![rerun, is_forced],
            )
            .unwrap();
    }

    #[test]
    fn a_close_brings_the_log_into_the_database_only_where_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner.db");
        let log = || fs_err::metadata(folder.path().join("runner.db-wal")).map(|log| log.len());
        let database = Database::open_to_compare(&path).unwrap();
        drop(database);
        assert!(log().unwrap() > 0);
        let database = Database::open_to_compare(&path).unwrap();
        let long = "CREATE TABLE long (x); INSERT INTO long VALUES (zeroblob(300000))";
        database.connection.execute_batch(long).unwrap();
        drop(database);
        assert!(log().unwrap() > 300_000);
        drop(Database::open_to_compare(&path).unwrap());
        log().unwrap_err();
    }

    /// Ways from creation to each status.
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
                open_session(&connection, Some("all"), true);
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
    fn sql_and_the_manifest_let_a_run_go_on_for_the_same_causes() {
        let directory = tempfile::tempdir().unwrap();
        let mut manifest = finished_run(directory.path()).manifest;
        for from in [
            RunStatus::Completed,
            RunStatus::Cancelled,
            RunStatus::Incomplete,
            RunStatus::Failed,
        ] {
            for (rerun, is_forced) in [(None, false), (Some("all"), false), (None, true)] {
                let connection = connection();
                for next in way(Some(from)).windows(2) {
                    go(&connection, None, next[0]).unwrap();
                    go(&connection, Some(next[0]), next[1]).unwrap();
                }
                open_session(&connection, rerun, is_forced);
                let by_sql = go(&connection, Some(from), RunStatus::Running).is_ok();

                manifest.status = from;
                let by_manifest = manifest.clone().reopen(NewSession {
                    now: NOW.parse().unwrap(),
                    opened_by: "resume",
                    rerun: rerun.map(str::to_owned),
                    is_forced,
                    from_seq: 0,
                });
                assert_eq!(by_sql, by_manifest.is_ok(), "{from} {rerun:?} {is_forced}");
                let expected = match from {
                    RunStatus::Completed => rerun.is_some(),
                    RunStatus::Cancelled => is_forced,
                    _ => true,
                };
                assert_eq!(by_sql, expected, "{from} {rerun:?} {is_forced}");
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
