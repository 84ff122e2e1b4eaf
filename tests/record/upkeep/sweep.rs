//! `cleanup`, `reindex` and `show --history`: what became of runs, and the database that is made of them.

use serde_json::Value;

use super::{crash, document, finished, hold, recorded};
use crate::support::{masks::masked_table, runner::Run};

#[test]
fn the_database_is_made_anew_from_the_directories() {
    let runner = finished(2);
    let database = runner.path("results/runner.db");
    let expected = runner.run(&["list"]).stdout;
    let reindex = || {
        let ran = runner.run(&["reindex"]).expect(0);
        ran.stdout
    };
    assert_eq!(reindex(), "2 runs\n");
    fs_err::remove_file(&database).unwrap();
    assert_eq!(reindex(), "2 runs\n");
    fs_err::write(&database, "not a database").unwrap();
    assert!(reindex().starts_with("2 runs, in a new file"));
    let list = runner.run(&["list"]);
    assert_eq!((list.stdout, list.stderr), (expected, String::new()));
}

#[test]
fn the_history_of_a_run_is_its_sessions_and_transitions() {
    let runner = finished(1);
    let ran = runner.run(&["show", "--history"]).expect(0);
    insta::assert_snapshot!(masked_table(&ran.stdout), @r"
    [run] ✓ passed: 3 of 3

    session  began  ended  by  reran  reason
          1  [instant] UTC  [instant] UTC  exec

    at  from  to  reason  by  asked by
    [instant] UTC  running  exec
    [instant] UTC  running  completed  exec
    ");

    let document = document(&runner, &["show", "--history"]);
    assert_eq!(document["manifest"]["transitions"][1]["to"], "completed");
    assert_eq!(document["rows"], Value::Array(vec![]));
}

#[test]
fn runs_whose_process_has_died_are_shown_and_then_swept() {
    let runner = finished(4);
    let runs = runner.runs();
    crash(&runs[0]);
    runs[1].forget_its_end();
    runs[2].forget_its_end();
    let live = hold(&runs[2].dir.join("lock"));
    let before = recorded(&runner);

    let dry = runner.run(&["cleanup"]).expect(0);
    let line = |run: &Run| {
        let found = dry.stdout.lines().find(|line| line.contains(run.id()));
        found.map(str::to_owned)
    };
    let first = line(&runs[0]).unwrap();
    assert!(
        first.contains(" 2/3 ") && first.contains(" loud "),
        "{first}"
    );
    assert!(first.ends_with("incomplete (crashed)"), "{first}");
    assert!(line(&runs[1]).unwrap().ends_with("completed"), "{dry:?}");
    assert_eq!((line(&runs[2]), line(&runs[3])), (None, None));
    let counted = "2 runs: 1 completed, 1 incomplete";
    assert!(dry.stdout.contains(counted), "{dry:?}");
    assert!(dry.stderr.contains("`--no-dry-run` writes"), "{dry:?}");
    assert_eq!(recorded(&runner), before);

    let stale = ["cleanup", "--stale-hours", "1", "--no-dry-run"];
    assert_eq!(document(&runner, &stale)["runs"], Value::Array(vec![]));
    let real = document(&runner, &["cleanup", "--stale-hours", "0", "--no-dry-run"]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 2);
    assert_eq!(runs[0].manifest()["status"], "incomplete");
    assert_eq!(runs[0].manifest()["reason"], "crashed");
    assert_eq!(runs[1].manifest()["status"], "completed");
    assert_eq!(runs[1].manifest()["verdict"], "passed");
    assert_eq!(runs[2].manifest()["status"], "running");
    for run in &runs[..2] {
        runner.run(&["verify", run.id()]).expect(0);
    }
    drop(live);
    let again = document(&runner, &["cleanup"]);
    assert_eq!(again["runs"].as_array().unwrap().len(), 1);
    let exec = runner.run(&["exec", "scenario.toml"]);
    let swept = format!(
        "swept one run, because its process had died: {}",
        runs[2].id()
    );
    assert!(exec.stderr.contains(&swept), "{exec:?}");
}

#[test]
fn results_that_are_not_there_are_nothing_to_keep() {
    let runner = finished(0);
    for args in [
        ["prune", "--no-dry-run"].as_slice(),
        &["cleanup", "--no-dry-run"],
        &["reindex"],
    ] {
        runner.run(args).expect(0);
    }
    for args in [["pin", "latest"], ["unpin", "latest"], ["verify", "latest"]] {
        let ran = runner.run(&args).expect(2);
        assert!(ran.stderr.contains("no run `latest`"), "{ran:?}");
    }
    assert!(!runner.path("results").exists());
}

#[test]
fn a_run_that_the_database_refuses_is_named_and_costs_no_other_run_its_place() {
    let runner = finished(3);
    let runs = runner.runs();
    runs[1].change_manifest(|manifest| {
        let transitions = manifest["transitions"].as_array_mut().unwrap();
        transitions.insert(0, transitions[0].clone());
    });

    let says = format!("run `{}` is left out", runs[1].id());
    let count = || -> i64 {
        let database = rusqlite::Connection::open(runner.path("results/runner.db")).unwrap();
        let count = database.query_row("SELECT count(*) FROM runs", [], |row| row.get(0));
        count.unwrap()
    };
    for _ in 0..2 {
        let list = runner.run(&["list", "--json"]).expect(0);
        assert_eq!(list.stderr.matches(&says).count(), 1, "{list:?}");
        assert!(!list.stderr.contains("going on without it"), "{list:?}");
        assert_eq!(list.document()["runs"].as_array().unwrap().len(), 3);
        assert_eq!(count(), 2);
    }
    let reindex = runner.run(&["reindex"]).expect(0);
    assert_eq!(reindex.stdout, "2 runs\n");
    assert_eq!(reindex.stderr.matches(&says).count(), 1, "{reindex:?}");
    assert_eq!(count(), 2);
    runner.run(&["verify", runs[1].id()]).expect(1);

    // A row that cannot be read back costs nothing but a look at its manifest.
    let database = rusqlite::Connection::open(runner.path("results/runner.db")).unwrap();
    let spoil = "UPDATE runs SET passed = -1 WHERE run_id = ?1";
    database.execute(spoil, [runs[0].id()]).unwrap();
    drop(database);
    let listed = document(&runner, &["list"]);
    assert_eq!(listed["runs"][2]["counts"]["passed"], 3);
    assert_eq!(count(), 2);
}
