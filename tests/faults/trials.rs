//! The results of trials in `runner.db`: in any state of the file, `--last-failed` has the same answer.

use std::{fs, thread, time::Duration};

use rusqlite::Connection;

use super::disk::{lock, ordinary};
use crate::support::{
    random::{Random, times},
    runner::Runner,
    running::Running,
};

const SELECT: [&str; 5] = ["exec", "scenario.toml", "--last-failed", "--dry-run", "--json"];

/// Creates a run of `count` trials that pass, and one that fails.
fn one_failed(count: usize) -> Runner {
    let runner = Runner::hostile_in_memory(&format!(
        r#"
        [[tests]]
        id = "fails"
        input = {{ do = "echo", value = 1 }}
        expect = {{ equals = 2 }}
        [[tests]]
        id = "passes"
        repeat = {count}
        input = {{ do = "echo", value = 1 }}
        expect = {{ equals = 1 }}
        "#
    ));
    runner.exec(&["-q"]).expect(1);
    runner
}

fn remove_database(runner: &Runner) {
    for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
        let _ = fs::remove_file(runner.path("results").join(name));
    }
}

/// Asserts that these trials are selected: with an empty, a filled, a deleted, a damaged and a read-only table.
fn assert_selected(runner: &Runner, trials: &[&str]) {
    let assert = |running: Running, state: &str| {
        let ran = running.finish();
        assert_eq!(ran.code, Some(if trials.is_empty() { 5 } else { 0 }), "{state}: {ran:?}");
        let plan = ran.events();
        let selected: Vec<_> = plan.iter().filter_map(|event| event["trial"].as_str()).collect();
        assert_eq!(selected, trials, "{state}");
    };
    let ran = || runner.started(&SELECT);
    assert(ran(), "empty");
    assert(ran(), "filled");
    let root = runner.path("results");
    remove_database(runner);
    lock(&root, true);
    assert(Running::start(&mut ordinary(runner, &SELECT)), "read-only");
    assert!(!root.join("runner.db").exists());
    lock(&root, false);
    assert(ran(), "deleted");
    runner.write("results/runner.db", "this is no database");
    assert(ran(), "damaged");
    let database = Connection::open(root.join("runner.db")).unwrap();
    database.execute_batch("UPDATE trials SET outcome = 'passed'").unwrap();
    assert(ran(), "changed");
    let failed = "SELECT count(*) FROM results WHERE outcome <> 'passed'";
    let failed: isize = database.query_one(failed, [], |row| row.get(0)).unwrap();
    assert!(failed > 0 || trials.is_empty());
}

#[test]
fn last_failed_needs_no_table_of_results() {
    let runner = one_failed(20);
    assert_selected(&runner, &["fails@hostile#1"]);
    // The same run judged again, and trials of it run again.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 3"));
    runner.run(&["rescore", "-q"]).expect(1);
    assert_selected(&runner, &["fails@hostile#1"]);
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["rescore", "-q"]).expect(0);
    assert_selected(&runner, &[]);
    runner.scenario(&text);
    runner.run(&["resume", "--accept-changes", "--rerun", "all", "-q"]).expect(1);
    assert_selected(&runner, &["fails@hostile#1"]);
    // A newer run passes, and goes.
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.exec(&["-q"]).expect(0);
    assert_selected(&runner, &[]);
    runner.run(&["prune", runner.runs()[1].id(), "--yes"]).expect(0);
    assert_selected(&runner, &["fails@hostile#1"]);
    let database = Connection::open(runner.path("results/runner.db")).unwrap();
    let trials = database.query_one("SELECT count(*) FROM trials", [], |row| row.get(0));
    assert_eq!(trials, Ok(21));
}

#[test]
fn killed_readers_leave_a_whole_table() {
    let runner = one_failed(times(2_000, 50_000));
    let mut random = Random::new();
    for _ in 0..times(15, 300) {
        remove_database(&runner);
        let running = runner.started(&SELECT);
        thread::sleep(random.up_to(Duration::from_millis(60)));
        running.kill();
        let ran = runner.run(&SELECT).expect(0);
        let plan = ran.events();
        let selected: Vec<_> = plan.iter().filter_map(|event| event["trial"].as_str()).collect();
        assert_eq!(selected, ["fails@hostile#1"]);
        let database = Connection::open(runner.path("results/runner.db")).unwrap();
        let problem: String =
            database.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(problem, "ok");
    }
}
