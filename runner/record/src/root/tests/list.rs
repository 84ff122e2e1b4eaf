//! Lists with any state of the database, and with files of other kinds.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{
    End, ResultsRoot, RunDir, RunHead,
    disk::fault::now,
    tests::{begin, dead_run, folder, new_run, write_rows},
};

/// Creates a root with a completed run, a dead run and an unreadable run.
fn several(path: &Path) -> (ResultsRoot, RunDir) {
    let (_, owned) = begin(path, 1);
    write_rows(&owned, 1..=1);
    let fold = crate::tests::fold(&owned, 1);
    let end = End { at: SystemTime::now().into(), ..End::default() };
    owned.finish(end, &fold).unwrap();
    let bad = path.join("bad");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("benchmark.json"), r#"{"format": 2}"#).unwrap();
    // The next run is newer.
    let begun = now();
    while now() == begun {}
    dead_run(path, 2, 1)
}

fn answer(root: &ResultsRoot) -> (Vec<RunHead>, Vec<(String, String)>) {
    let runs = root.runs().unwrap();
    (runs.runs, runs.unreadable)
}

/// Asserts that the list has this number of rows. Another thread that writes at the same time may hold it back until the runs are
/// read again.
#[track_caller]
fn wait_for_rows(root: &ResultsRoot, rows: i64) {
    let began = Instant::now();
    while count(root.path()) != Some(rows) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", count(root.path()));
        answer(root);
    }
}

#[test]
fn lists_do_not_depend_on_the_database() {
    let folder = folder();
    let (root, run) = several(folder.path());
    let database = folder.path().join("runner.db");
    let expected = answer(&root);
    assert_eq!((expected.0.len(), expected.1.len()), (2, 1));
    assert!(expected.1[0].1.contains("format is 2") && expected.1[0].1.contains("format 3"));
    assert!(expected.0[0].started_at >= expected.0[1].started_at);
    wait_for_rows(&root, 2);

    let list = || rusqlite::Connection::open(&database).unwrap();
    let say = |sql: &str| list().execute_batch(sql).unwrap();
    let replace = |bytes: &[u8]| {
        for name in ["runner.db-wal", "runner.db-shm"] {
            let _ = fs::remove_file(folder.path().join(name));
        }
        fs::write(&database, bytes).unwrap();
    };
    let damages: [&dyn Fn(); 13] = [
        &|| fs::remove_file(&database).unwrap(),
        &|| replace(b"this is no database"),
        &|| replace(b""),
        &|| say("PRAGMA user_version = 6"),
        &|| say("DROP TABLE runs"),
        &|| say("DROP TABLE runs; CREATE TABLE runs (id TEXT, status BLOB)"),
        &|| say("UPDATE runs SET manifest = json_set(manifest, '$.status', 'running')"),
        &|| say("UPDATE runs SET manifest = replace(manifest, '\"passed\"', '\"failed\"')"),
        &|| say("UPDATE runs SET manifest = '{}'"),
        &|| say("UPDATE runs SET entry = replace(entry, '\"passed\"', '\"failed\"')"),
        &|| say("UPDATE runs SET entry = '{}'"),
        &|| say("UPDATE runs SET entry = 7"),
        &|| say("DELETE FROM runs"),
    ];
    for (number, damage) in damages.iter().enumerate() {
        damage();
        assert_eq!(answer(&root), expected, "{number}");
        assert_eq!(answer(&root), expected, "{number}");
        wait_for_rows(&root, 2);
        assert_eq!(root.find("latest").unwrap().id(), run.id());
    }
    // A writing process blocks other writers and changes no result.
    let mut busy = list();
    let writes = busy.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).unwrap();
    root.create(new_run(1)).unwrap();
    assert_eq!(answer(&root).0.len(), 3);
    writes.rollback().unwrap();
    drop(busy);

    // A folder in place of the list is not removed.
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    assert_eq!(answer(&root).0.len(), 3);
    fs::remove_dir(&database).unwrap();
    std::os::unix::fs::symlink("/dev/null", &database).unwrap();
    assert_eq!(answer(&root).0.len(), 3);
}

#[test]
fn the_list_follows_what_becomes_of_runs() {
    let folder = folder();
    let (root, run) = several(folder.path());
    answer(&root);
    assert_eq!(root.sweep().unwrap().len(), 1);
    let statuses = |root: &ResultsRoot| {
        answer(root).0.iter().map(|run| run.status.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&root), ["incomplete", "completed"]);
    // A copy is a run of its own.
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(run.path().join("benchmark.json"), copy.join("benchmark.json")).unwrap();
    let ids: Vec<_> = answer(&root).0.into_iter().map(|run| run.id).collect();
    assert_eq!(ids.len(), 3);
    wait_for_rows(&root, 3);
    assert!(ids.contains(&"copy".to_owned()), "{ids:?}");
    fs::remove_dir_all(copy).unwrap();
    assert_eq!(answer(&root).0.len(), 2);
    wait_for_rows(&root, 2);
}

#[test]
fn entry_is_written_before_the_root_is_closed() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 1);
    let again = root.clone();
    drop((root, owned));
    // Dropping the last handle waits for 50 ms at most; a loaded machine may take longer.
    drop(again);
    let until = Instant::now() + Duration::from_secs(60);
    while !folder.path().join("runner.db").exists() || count(folder.path()) != Some(1) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn count(path: &Path) -> Option<i64> {
    let list = rusqlite::Connection::open(path.join("runner.db")).ok()?;
    list.query_one("SELECT count(*) FROM runs", [], |row| row.get(0)).ok()
}

#[test]
fn pipe_in_place_of_file_never_blocks() {
    for name in [
        "benchmark.json",
        "index.jsonl",
        "logs.jsonl",
        "lock",
        "live.json",
        "last-words.json",
        "runner.log",
        "scenario.toml",
        "runner.db",
    ] {
        for is_pipe in [true, false] {
            let folder = folder();
            let (root, run) = several(folder.path());
            let other = answer(&root).0.len();
            let dir = if name == "runner.db" { folder.path().to_owned() } else { run.path() };
            let path = dir.join(name);
            let _ = fs::remove_file(&path);
            if is_pipe {
                mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
            } else {
                fs::create_dir(&path).unwrap();
            }
            // Commands that need the file fail with its name, and all others work.
            let runs = answer(&root);
            assert_eq!(runs.0.len() + runs.1.len(), other + 1, "{name}");
            root.sweep().unwrap();
            let claimed = root.claim(&run).and_then(|owned| {
                crate::tests::fold(&owned, 2);
                owned.writer(Box::new(|_| ()))?.close().unwrap();
                owned.dir().scenario(owned.manifest())
            });
            let is_needed = !["live.json", "last-words.json", "runner.db"].contains(&name);
            let is_named = claimed.as_ref().is_err_and(|error| error.to_string().contains(name));
            assert_eq!(claimed.is_err(), is_needed, "{name}: {claimed:?}");
            assert_eq!(is_named, is_needed, "{name}: {claimed:?}");
            // The other run is listed as before.
            assert!(runs.0.iter().any(|run| run.status.as_str() == "completed"), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bytes_of_the_database_change_no_answer(at in 0_usize..20_000, bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
        let folder = folder();
        let (root, others) = several(folder.path());
        let expected = answer(&root);
        // All entries in one file, once the thread that writes them has ended.
        drop((root, others));
        let list = rusqlite::Connection::open(folder.path().join("runner.db")).unwrap();
        while list.execute_batch("PRAGMA journal_mode = DELETE").is_err() {
            std::thread::yield_now();
        }
        drop(list);
        let path = folder.path().join("runner.db");
        let mut database = fs::read(&path).unwrap();
        let at = at % database.len();
        for (place, byte) in database[at..].iter_mut().zip(bytes) {
            *place = byte;
        }
        fs::write(&path, database).unwrap();
        let root = ResultsRoot::open(folder.path()).unwrap();
        prop_assert_eq!(&answer(&root), &expected);
        prop_assert_eq!(&answer(&root), &expected);
    }
}
