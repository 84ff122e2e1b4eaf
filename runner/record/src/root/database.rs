//! [`Database`]: `runner.db`, the list of a root's runs in SQLite. If it is deleted, damaged or locked, manifests are
//! read instead, with the same result. [`ListThread`] writes into it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{collections::HashMap, io, path::PathBuf, thread, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig, ffi, params,
};
use serde::{Deserialize, Serialize};

use crate::disk::beneath::{Dir, Stamp};
use crate::disk::permissions::check_trust;
use crate::run::truth::CheckedManifest;
use crate::{RecordError, RunDir, RunHead};

pub(crate) const NAME: &str = "runner.db";
/// Version of [`RunHead`]. A file of another version, or with other tables than [`SCHEMA`], is replaced.
const VERSION: i64 = 18;
/// Time to wait for other writers. Without the list, commands are only slower.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time for the last entries of [`ListThread`] once the root is dropped.
const LAST_ENTRIES: Duration = Duration::from_millis(50);
/// Length of the log, in bytes, from which a write truncates it: about ten runs. Each process that opens the list reads the log.
const LONG_LOG: u64 = 256 << 10;
const LOG: &str = "runner.db-wal";

/// The runner does not read the columns of `runs` after `manifest`. They are for users' queries.
const SCHEMA: &str = include_str!("../../../../schemas/database.sql");

/// Sets the status `running` before another one, because the list may have missed a session, and the trigger refuses
/// most changes from one end to another.
const STEP: &str = "
UPDATE runs SET manifest = json_set(manifest, '$.status', 'running') WHERE id = ?1 AND status <> ?2 ->> '$.status'";

const UPSERT: &str = "
INSERT INTO runs (id, entry, crc, manifest) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET entry = ?2, crc = ?3, manifest = ?4";

/// A manifest with its entry in the list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// The manifest.
    pub(crate) text: String,
    pub(crate) entry: Box<Entry>,
}

/// The head of a run, and the files that it was read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) manifest: Stamp,
    /// The rows of a run that has ended.
    pub(crate) rows: Option<Stamp>,
    pub(crate) head: RunHead,
}

impl Entry {
    /// Returns whether these are still the files of the run.
    pub(crate) fn is_of(&self, manifest: Option<Stamp>, rows: Option<Stamp>) -> bool {
        let has_ended = self.head.status.is_terminal();
        manifest == Some(self.manifest) && (!has_ended || rows == self.rows)
    }
}

impl Listed {
    /// Reads the manifest of a run.
    pub(crate) fn read(run: &RunDir) -> Result<Self, RecordError> {
        Ok(Self::from(&run.checked_manifest()?))
    }
}

impl From<&CheckedManifest> for Listed {
    fn from(CheckedManifest { manifest, text, stamp, rows }: &CheckedManifest) -> Self {
        let entry = Entry { manifest: *stamp, rows: *rows, head: RunHead::from(manifest) };
        Self { text: text.clone(), entry: Box::new(entry) }
    }
}

/// Entries by the ids of runs.
pub(crate) type Known = HashMap<String, Box<Entry>>;

/// The list of a root's runs.
#[derive(Debug)]
pub(crate) struct Database {
    pub(super) connection: Connection,
    root: Dir,
}

impl Database {
    /// Opens the list, if it exists and can be used here.
    pub(crate) fn open(root: &Dir) -> Option<Self> {
        root.stat(NAME).ok()??;
        Self::open_or_create(root)
    }

    /// Opens the list, and creates it if it is missing. Replaces a damaged file and one with other tables.
    pub(crate) fn open_or_create(root: &Dir) -> Option<Self> {
        Self::try_open(root).ok()
    }

    /// Opens or creates the list. The error is the reason why the root cannot have one.
    fn try_open(root: &Dir) -> Result<Self, io::Error> {
        if is_network(root) {
            return Err(io::Error::other(
                "the list needs shared memory, which a network file system does not have",
            ));
        }
        let folder = root.path().canonicalize()?;
        check_trust(&folder)?;
        let connect = || {
            // A deleted list leaves its shared memory behind, which threads of this process may still have mapped. The locks by
            // which SQLite finds its users hold between processes only, so the first opening of a new file would truncate it, and
            // those threads would die of SIGBUS.
            if root.stat(NAME).map_err(io::Error::other)?.is_none() {
                remove(root);
            }
            // SQLite gives its other files the mode of this one.
            root.write(NAME).map_err(io::Error::other)?;
            Ok::<_, io::Error>(connect(folder.join(NAME)))
        };
        let connection = match connect()? {
            Err(error) if is_damage(&error) => {
                remove(root);
                connect()?
            }
            connected => connected,
        };
        Ok(Self { connection: connection.map_err(io::Error::other)?, root: root.clone() })
    }

    /// Replaces the list by an empty one.
    pub(crate) fn recreate(root: &Dir) -> Result<Self, RecordError> {
        remove(root);
        Self::try_open(root).map_err(|source| root.error("make the list", NAME, source))
    }

    /// Reads all entries. `None` if the list is damaged or cannot be read now.
    pub(crate) fn read(self) -> Option<(Self, Known)> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT id, entry, crc FROM runs")?;
            let mut rows = statement.query([])?;
            let mut runs = HashMap::new();
            while let Some(row) = rows.next()? {
                let text = row.get_ref(1)?.as_bytes()?;
                let is_whole = i64::from(crc32fast::hash(text)) == row.get::<_, i64>(2)?;
                // The manifest replaces a damaged entry.
                if let (true, Ok(entry)) = (is_whole, serde_json::from_slice(text)) {
                    runs.insert(row.get(0)?, entry);
                }
            }
            Ok(runs)
        };
        match read(&self.connection) {
            Ok(runs) => Some((self, runs)),
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// Upserts and removes runs. The next reader reads the manifests of those that cannot be written.
    pub(crate) fn write<'a>(
        &mut self,
        changed: &[(String, Listed)],
        gone: impl Iterator<Item = &'a String>,
    ) -> rusqlite::Result<()> {
        let gone: Vec<_> = gone.collect();
        let write = |connection: &mut Connection| {
            let mut all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (id, listed) in changed {
                let one = all.savepoint()?;
                // An entry that the tables refuse must not fail the others.
                match upsert(&one, id, listed) {
                    Err(error) if is_damage(&error) => return Err(error),
                    Err(_) => {}
                    Ok(()) => one.commit()?,
                }
            }
            for id in gone {
                all.execute("DELETE FROM runs WHERE id = ?1", [id])?;
            }
            all.commit()
        };
        write(&mut self.connection).inspect_err(|error| self.give_up(error))?;
        let log = self.root.stat(LOG).ok().flatten();
        if log.is_some_and(|log| log.length >= LONG_LOG) {
            return truncate_log(&self.connection);
        }
        Ok(())
    }

    /// Removes a damaged file, so that the next process creates a new one.
    pub(super) fn give_up(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.remove();
        }
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        remove(&self.root);
    }
}

/// A thread that upserts the entries of this process's runs, in parallel with the writes of their manifests. Dropping it waits up
/// to [`LAST_ENTRIES`] for the last entries.
#[derive(Debug)]
pub(crate) struct ListThread {
    entries: Option<Sender<(String, Listed)>>,
    /// Disconnected at the end of the thread.
    done: Receiver<()>,
}

impl ListThread {
    pub(crate) fn start(root: Dir) -> Self {
        let (entries, received) = channel::<(String, Listed)>();
        let (running, done) = channel();
        let update = move || {
            // Workers have priority.
            let _ = rustix::process::nice(10);
            while let Ok(entry) = received.recv() {
                let mut changed = vec![entry];
                changed.extend(received.try_iter());
                // Opened each time, because `reindex` may have replaced the file.
                if let Some(mut database) = Database::open_or_create(&root) {
                    // Otherwise the next reader reads the manifests.
                    let _ = database.write(&changed, std::iter::empty());
                }
            }
            drop(running);
        };
        // Without a thread the next reader reads the manifests.
        let _ = thread::Builder::new().name("list".into()).spawn(update);
        Self { entries: Some(entries), done }
    }

    /// Updates the entry of a run.
    pub(crate) fn send(&self, id: String, listed: Listed) {
        if let Some(entries) = &self.entries {
            let _ = entries.send((id, listed));
        }
    }
}

impl Drop for ListThread {
    fn drop(&mut self) {
        self.entries = None;
        let _ = self.done.recv_timeout(LAST_ENTRIES);
    }
}

/// Empties the log, which each opening reads. It keeps the pages that another process still reads.
pub(super) fn truncate_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn connect(path: PathBuf) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // The file may come from elsewhere: its schema must not run functions or damage the database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A checkpoint waits for the disk, and that of `wal_autocheckpoint` never shortens the log: a process that finds no other one
    // starts after the old end. So `write` truncates a long log.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // With `NORMAL` a loss of power may cost transactions, which the manifests restore.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cell_size_check = ON;",
    )?;
    if version(&connection)? != VERSION {
        let schema = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have created the tables meanwhile. Tables of another version count as damage.
        if version(&schema)? != VERSION {
            schema.execute_batch(SCHEMA)?;
            schema.pragma_update(None, "user_version", VERSION)?;
        }
        schema.commit()?;
    }
    // In a file from elsewhere, a view in place of a table could compute for ever, and a trigger or an index could fail each write.
    if schema(&connection)? != schema(&temporary()?)? {
        let why = "the tables are not those of this version".to_owned();
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CORRUPT),
            Some(why),
        ));
    }
    Ok(connection)
}

/// Returns the type, name, table and text of each table, index, trigger and view, in the order of their creation.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<[Option<String>; 4]>> {
    let mut statement =
        connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid")?;
    let rows =
        statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    rows.collect()
}

/// Creates an empty list in a file without a name, which vanishes with the connection.
pub(super) fn temporary() -> rusqlite::Result<Connection> {
    let connection = Connection::open("")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

pub(super) fn upsert(runs: &Connection, id: &str, listed: &Listed) -> rusqlite::Result<()> {
    let entry = serde_json::to_string(&listed.entry).unwrap_or_default();
    let crc = crc32fast::hash(entry.as_bytes());
    runs.execute(STEP, params![id, listed.text])?;
    runs.execute(UPSERT, params![id, entry, crc, listed.text])?;
    Ok(())
}

fn remove(root: &Dir) {
    for name in [LOG, "runner.db-shm", NAME] {
        let _ = root.remove(name);
    }
}

/// Returns whether the file cannot be a list of this version. Busy, full, unreadable and read-only files are kept.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, TypeMismatch, Unknown};
    match error.sqlite_error_code() {
        // SQLite answers `Unknown` for a statement that does not fit the tables.
        Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | TypeMismatch | Unknown),
        // A column is missing or has another type.
        None => true,
    }
}

/// Returns whether the root is on a network file system. WAL needs memory that all processes share.
fn is_network(root: &Dir) -> bool {
    const NFS: u64 = 0x6969;
    const SMB: [u64; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
    let found = rustix::fs::fstatfs(root).map(|found| found.f_type as u64 & 0xffff_ffff);
    found.is_ok_and(|kind| kind == NFS || SMB.contains(&kind))
}

#[cfg(test)]
#[path = "tests/database.rs"]
mod tests;
