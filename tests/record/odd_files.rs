//! What is no regular file where a run or its root has one.

use std::{os::unix::fs::symlink, path::Path};

use crate::support::{
    files::pipe,
    runner::{Run, Runner, tests},
};

/// A run whose process has died before its second trial.
fn dead() -> (Runner, Run) {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } |
        b | { do = "echo", value = 2 } |
        "#,
    ));
    runner.exec(&["-j1"]).expect(0);
    let run = runner.only_run();
    run.keep_rows(1);
    run.forget_its_end();
    (runner, run)
}

fn folder(path: &Path) {
    fs_err::create_dir(path).unwrap();
}

#[test]
fn nothing_is_written_through_a_link_in_a_run() {
    let (runner, run) = dead();
    for name in ["lock", "index.jsonl", "inflight", "runner.log"] {
        let (file, precious) = (run.dir.join(name), runner.path("precious"));
        let kept = fs_err::read(&file).unwrap_or_default();
        fs_err::write(&precious, &kept).unwrap();
        _ = fs_err::remove_file(&file);
        symlink(&precious, &file).unwrap();
        let ran = runner.run(&["resume"]);
        assert_eq!(fs_err::read(&precious).unwrap(), kept, "{name}: {ran:?}");
        // A run does without its log.
        if name != "runner.log" {
            let says = format!("/{name}` is a symbolic link, and nothing is written through one");
            ran.expect(7).says(&[&says, "remove the link"]);
        }
        fs_err::remove_file(&file).unwrap();
        fs_err::write(&file, &kept).unwrap();
    }
    runner.run(&["resume"]);
    runner.run(&["verify", run.id()]).expect(0);
    assert_eq!(run.rows().len(), 2);
}

#[test]
fn what_is_no_file_is_no_lock_that_somebody_holds() {
    for (kind, make) in [("a directory", folder as fn(&Path)), ("a named pipe", pipe)] {
        let (runner, run) = dead();
        let lock = run.dir.join("lock");
        fs_err::remove_file(&lock).unwrap();
        make(&lock);
        let listed = &runner.list(&[])[0];
        assert_eq!(listed["status"], "incomplete", "{listed:#}");
        assert_eq!(listed["is_alive"], false, "{listed:#}");
        let resumed = runner.run(&["resume"]).expect(7);
        resumed.says(&[&format!(
            "/lock` is {kind}, and not a regular file: remove it"
        )]);
        let verified = runner.run(&["verify", run.id()]).expect(1);
        assert!(
            verified
                .stdout
                .contains(&format!("it is {kind} and no lock")),
            "{verified:?}"
        );
    }
}

#[test]
fn what_is_no_file_in_the_databases_place_is_told_once_and_reindex_says_what_to_do() {
    let (runner, _) = dead();
    let database = runner.path("results/runner.db");
    let replace = |make: fn(&Path)| {
        for suffix in ["", "-wal", "-shm"] {
            _ = fs_err::remove_file(runner.path(&format!("results/runner.db{suffix}")));
        }
        make(&database);
    };
    let warnings = |args: &[&str], says: &str| {
        let ran = runner.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        assert_eq!(
            ran.stderr.matches("runner.db").count(),
            1,
            "{args:?}: {ran:?}"
        );
        ran.says(&[says]);
    };

    replace(pipe);
    let says = "is a named pipe and no database, going on without it; `runner reindex`";
    warnings(&["list"], says);
    warnings(&["exec", "scenario.toml"], says);
    runner.run(&["reindex"]).expect(0);
    assert!(!runner.run(&["list"]).expect(0).stderr.contains("runner.db"));

    replace(folder);
    let says = "`results/runner.db` is a directory: remove it, or move it away";
    warnings(&["list"], says);
    warnings(&["exec", "scenario.toml"], says);
    runner.run(&["reindex"]).expect(7).says(&[says]);
    fs_err::remove_dir(&database).unwrap();
    assert!(!runner.run(&["list"]).expect(0).stderr.contains("runner.db"));
}
