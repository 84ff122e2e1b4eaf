//! Writing manifests into `runner.db`. One that SQLite refuses is left out, and costs no other run anything.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use super::sql::{instant, signed};
use crate::record::{
    disk::{
        layout::{RunDir, RunId},
        stamp::Stamp,
    },
    format::{manifest::Manifest, words::Word},
    reading::run_entry::RunEntry,
};

/// A run that SQLite refuses: its manifest breaks a rule of the tables, such as the order of its transitions.
#[derive(Debug)]
pub(in crate::record) struct Refused {
    pub(in crate::record) run: RunId,
    /// Why.
    pub(in crate::record) problem: String,
}

/// Replaces what is known of some runs and forgets others.
pub(in crate::record) fn project(
    connection: &mut Connection,
    changed: &[(Stamp, Manifest)],
    gone: &[RunId],
) -> rusqlite::Result<Vec<Refused>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for id in gone {
        forget(&transaction, id.as_str())?;
    }
    let mut refused = Vec::new();
    for (stamp, manifest) in changed {
        forget(&transaction, &manifest.run_id)?;
        refused.extend(try_insert(&mut transaction, *stamp, manifest)?);
    }
    transaction.commit()?;
    Ok(refused)
}

/// Forgets every run, and learns these.
pub(in crate::record) fn rebuild(
    connection: &mut Connection,
    manifests: &[(Stamp, Manifest)],
) -> rusqlite::Result<Vec<Refused>> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM runs", [])?;
    let mut refused = Vec::new();
    for (stamp, manifest) in manifests {
        refused.extend(try_insert(&mut transaction, *stamp, manifest)?);
    }
    transaction.commit()?;

    let finding: String =
        connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    if finding == "ok" {
        return Ok(refused);
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some(finding),
    ))
}

/// Inserts a run, or says why the tables refuse it; then nothing of it is there.
fn try_insert(
    transaction: &mut Transaction<'_>,
    stamp: Stamp,
    manifest: &Manifest,
) -> rusqlite::Result<Option<Refused>> {
    let savepoint = transaction.savepoint()?;
    match insert(&savepoint, stamp, manifest) {
        Ok(()) => savepoint.commit().map(|()| None),
        // Dropping the savepoint takes back what was inserted.
        Err(error) if is_about_the_run(&error) => Ok(Some(Refused {
            run: RunId::of_directory(&manifest.run_id),
            problem: error.to_string(),
        })),
        Err(error) => Err(error),
    }
}

/// Tells whether another run would not have met with this error.
fn is_about_the_run(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
        ),
        // A value that cannot even be handed over.
        None => true,
    }
}

fn forget(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM runs WHERE run_id = ?1")?
        .execute([id])
        .map(drop)
}

/// Inserts a run and replays its transitions, each of which the triggers check.
fn insert(connection: &Connection, stamp: Stamp, manifest: &Manifest) -> rusqlite::Result<()> {
    insert_run(connection, stamp, manifest)?;
    for session in &manifest.sessions {
        connection
            .prepare_cached(
                "INSERT INTO sessions (run_id, n, opened_at, closed_at, opened_by, reason, rerun, from_seq, forced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                manifest.run_id,
                session.n,
                instant(session.opened_at),
                session.closed_at.map(instant),
                session.opened_by,
                session.reason.map(Word::word),
                session.rerun,
                signed(session.from_seq),
                session.is_forced,
            ])?;
    }
    for (n, transition) in (1_i64..).zip(&manifest.transitions) {
        connection
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
    // A sweep notes the end of a process that died some time before.
    connection
        .prepare_cached("UPDATE runs SET completed_at = ?2 WHERE run_id = ?1")?
        .execute(params![manifest.run_id, manifest.completed_at.map(instant)])
        .map(drop)
}

fn insert_run(connection: &Connection, stamp: Stamp, manifest: &Manifest) -> rusqlite::Result<()> {
    let counts = manifest.counts;
    let run = RunEntry::of(&RunDir::new(Path::new(&manifest.run_id)), manifest);
    let pinned = manifest.pinned.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO runs (run_id, scenario, created_at, started_at, signal, stage, verdict, planned, passed,
                 failed, error, timeout, skipped, flaky, manifest_modified, manifest_bytes, pinned_at, pinned_reason,
                 opened_at, sessions, worked_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
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
            pinned.map(|pinned| instant(pinned.at)),
            pinned.and_then(|pinned| pinned.reason.as_deref()),
            instant(run.opened_at),
            run.sessions,
            signed(run.worked.as_millis().try_into().unwrap_or(u64::MAX)),
        ])
        .map(drop)
}
