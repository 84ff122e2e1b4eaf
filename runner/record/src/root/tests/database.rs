//! The status graph in the database, and its columns.

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
