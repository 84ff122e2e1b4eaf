//! The status graph in the database, and its columns.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt};

use runner_model::RunStatus;
use rusqlite::Connection;

use super::{Database, Entry, LONG_LOG, Listed, SCHEMA, STEP, upsert};
use crate::disk::beneath::{Dir, Stamp};
use crate::{Manifest, RunHead, tests::folder};

fn list() -> Connection {
    let list = Connection::open_in_memory().unwrap();
    list.execute_batch(SCHEMA).unwrap();
    list
}

fn listed(status: RunStatus) -> Listed {
    let file = std::fs::File::open(folder().path()).unwrap();
    let golden = include_str!("../../run/tests/manifest.json");
    let text = golden.replacen("\"incomplete\"", &format!("\"{status}\""), 1);
    let head = RunHead::from(&Manifest::parse(&text, "r").unwrap());
    let entry = Box::new(Entry { manifest: Stamp::of(&file).unwrap(), rows: None, head });
    Listed { text, entry }
}

/// Lists keep heads of runs in the database, and read those of an older version again.
#[test]
fn keys_of_lists_change_with_the_version() {
    let schema = schemars::schema_for!(RunHead);
    let keys = schema.get("properties").unwrap().as_object().unwrap().keys();
    let keys: BTreeSet<_> = keys.map(String::as_str).collect();
    let known = "completed_at counts failed_gate group labels larger_budgets lost_report message number paused pinned reason replay_of run scenario \
                 sessions shard signal stage started_at status user verdict worked_ms";
    let advice = "change `VERSION` in runner/record/src/root/database.rs, and then this list";
    assert_eq!(keys, known.split(' ').collect(), "{advice}");
}

#[test]
fn the_trigger_has_the_graph_of_the_model() {
    for from in RunStatus::ALL {
        for to in RunStatus::ALL {
            let list = list();
            upsert(&list, "r", &listed(*from)).unwrap();
            let changed = list.execute("UPDATE runs SET manifest = ?1", [listed(*to).text]);
            // Writing the same status again is not a change.
            let is_legal = from == to || from.next(*to).is_ok();
            assert_eq!(changed.is_ok(), is_legal, "{from} to {to}");
            // The list may have missed sessions.
            upsert(&list, "r", &listed(*to)).unwrap();
            assert_eq!(list.execute(STEP, ["r", &listed(*to).text]).unwrap(), 0);
        }
    }
}

#[test]
fn people_find_the_manifests_keys_as_columns() {
    let list = list();
    upsert(&list, "r", &listed(RunStatus::Incomplete)).unwrap();
    let row = list.query_one(
        "SELECT scenario, status, reason, verdict, started_at, completed_at, planned, passed, failed, flaky FROM runs",
        [],
        |row| {
            let texts = (0..6).map(|column| row.get::<_, String>(column));
            let numbers = (6..10).map(|column| row.get::<_, i64>(column));
            Ok((texts.collect::<Result<Vec<_>, _>>()?, numbers.collect::<Result<Vec<_>, _>>()?))
        },
    );
    let (texts, numbers) = row.unwrap();
    let times = ["2026-11-20T09:18:04.015Z", "2026-11-20T09:18:09.015Z"];
    assert_eq!(texts[..4], ["basic", "incomplete", "interrupted", "none"]);
    assert_eq!(texts[4..], times);
    assert_eq!(numbers, [10, 3, 1, 1]);
}

#[test]
fn file_with_other_tables_is_replaced() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    let path = folder.path().join("runner.db");
    let endless = "WITH RECURSIVE r (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x";
    for hostile in [
        format!("CREATE VIEW runs AS {endless} AS number, x AS id, x AS entry, 0 AS crc FROM r"),
        format!("{SCHEMA} CREATE VIEW more AS {endless} FROM r"),
        format!("{SCHEMA} CREATE TRIGGER more BEFORE INSERT ON runs BEGIN {endless} FROM r; END"),
        format!("{SCHEMA} CREATE INDEX more ON runs (hex(zeroblob(1000000000)))"),
        SCHEMA.replace("$.scenario_path')", "$.scenario_path') CHECK (path <> '')"),
        SCHEMA.replace("('running>completed', ", "("),
        // SQLite cannot read this schema.
        format!(
            "{SCHEMA} PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = 'CREATE TABLE runs AS {endless} FROM r' WHERE name = 'runs'"
        ),
    ] {
        let file = Connection::open(&path).unwrap();
        file.execute_batch(&hostile).unwrap();
        file.pragma_update(None, "user_version", super::VERSION).unwrap();
        drop(file);
        let opened = Database::open_or_create(&dir).unwrap();
        let tables = super::schema(&opened.connection).unwrap();
        assert_eq!(tables, super::schema(&list()).unwrap(), "{hostile}");
        let (mut opened, runs) = opened.read().unwrap();
        assert!(runs.is_empty());
        let changed = [("r".to_owned(), listed(RunStatus::Completed))];
        opened.write(&changed, std::iter::empty()).unwrap();
        // A file of this version is kept.
        drop(opened);
        let (_, runs) = Database::open(&dir).and_then(Database::read).unwrap();
        assert_eq!(runs.len(), 1);
        for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
    }
}

#[test]
fn log_stays_short_over_many_processes() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    let lengths = (0..200).map(|number| {
        // Without another connection, the next one reads the log as that of a process that has ended.
        let mut list = Database::open_or_create(&dir).unwrap();
        let changed = [(format!("run-{number}"), listed(RunStatus::Completed))];
        list.write(&changed, std::iter::empty()).unwrap();
        folder.path().join("runner.db-wal").metadata().map_or(0, |log| log.len())
    });
    let longest = lengths.max().unwrap();
    assert!(longest < 2 * LONG_LOG, "{longest} bytes");
}

#[test]
fn a_list_in_use_may_be_deleted() {
    let folder = folder();
    let root = Dir::open(folder.path()).unwrap();
    let used = Database::open_or_create(&root).unwrap();
    let count = |list: &Database| -> rusqlite::Result<i64> {
        list.connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
    };
    assert_eq!(count(&used).unwrap(), 0);
    let shared_memory = std::fs::File::open(folder.path().join("runner.db-shm")).unwrap();
    let length = shared_memory.metadata().unwrap().len();
    std::fs::remove_file(folder.path().join(super::NAME)).unwrap();
    let new = Database::open_or_create(&root).unwrap();
    assert_eq!(count(&new).unwrap(), 0);
    assert_eq!(count(&used).unwrap(), 0);
    // The new list has memory of its own: while SQLite empties that of the deleted one, its readers die of SIGBUS.
    let metadata = shared_memory.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.nlink()), (length, 0));
}
