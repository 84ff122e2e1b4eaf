//! Dry runs write nothing, and what a repair does is said.

use std::path::PathBuf;

use crate::support::runner::{Run, Runner, tests};

/// Some completed trials.
fn completed() -> Runner {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 2 } | equals = 2
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    ));
    runner.exec(&["-j1"]).expect(0);
    runner
}

/// Makes a run look as if its process had died after its second row, in the middle of the third.
fn tear(run: &Run) {
    die(run);
    let index = run.read("index.jsonl");
    let second = index
        .split_inclusive('\n')
        .take(2)
        .map(str::len)
        .sum::<usize>();
    fs_err::write(run.dir.join("index.jsonl"), &index[..second + 40]).unwrap();
}

fn die(run: &Run) {
    let mut manifest = run.manifest();
    manifest["status"] = "running".into();
    manifest["verdict"] = "none".into();
    let map = manifest.as_object_mut().unwrap();
    map.remove("completed_at");
    map["sessions"][0]
        .as_object_mut()
        .unwrap()
        .remove("closed_at");
    map["transitions"].as_array_mut().unwrap().truncate(1);
    fs_err::write(run.dir.join("benchmark.json"), manifest.to_string()).unwrap();
}

/// Every file of a run.
fn files(run: &Run) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(&run.dir).sort_by_file_name();
    let paths = entries.into_iter().map(|entry| entry.unwrap().into_path());
    let files = paths.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs_err::read(path).unwrap()))
        .collect()
}

#[test]
fn whatever_is_only_asked_for_writes_nothing_into_a_run() {
    let runner = completed();
    let run = runner.only_run();
    tear(&run);
    let before = files(&run);
    let dir = run.dir.to_str().unwrap();
    for args in [
        &["resume", "--dry-run"][..],
        &["resume", "--from", "latest", "--dry-run"],
        &["resume", "--from", dir, "--explain"],
        &["resume", "--from", dir, "--explain", "--rerun", "all"],
        &["exec", "scenario.toml", "--into", dir, "--dry-run"],
        &["cleanup"],
        &["prune", "--keep-last", "0"],
        &["list"],
        &["show", "latest"],
        &["verify", "latest"],
    ] {
        runner.run(args).expect(0);
        assert!(files(&run) == before, "{args:?}");
    }
    let would = runner
        .run(&["resume", "--from", dir, "--dry-run"])
        .expect(0);
    assert_eq!(would.stdout, "c@hostile#1\n");

    let lock = fs_err::File::open(run.dir.join("lock")).unwrap();
    lock.try_lock().unwrap();
    runner
        .run(&["resume", "--from", dir, "--dry-run"])
        .expect(6);
}

#[test]
fn what_a_repair_moves_is_said_on_the_screen_and_in_the_log() {
    for args in [
        &["resume", "--from", "latest"][..],
        &["cleanup", "--no-dry-run"],
        &["exec", "scenario.toml"],
        &["stop", "latest"],
        &["cancel", "latest"],
    ] {
        let runner = completed();
        let run = runner.only_run();
        tear(&run);
        let from = run.read("index.jsonl").rfind('\n').unwrap() + 1;
        let ran = runner.run(args);
        let says = format!("the last 40 bytes of the rows, from byte {from} on, gave no row");
        ran.says(&[&says, "index.torn-1", "no checksum at its end"]);
        let log = run.read("runner.log");
        assert_eq!(log.matches(&says).count(), 1, "{args:?}: {log}");
    }
}

#[test]
fn rows_with_foreign_line_ends_are_whole() {
    let runner = completed();
    let run = runner.only_run();
    let foreign = run.read("index.jsonl").replace('\n', "\r\n");
    fs_err::write(run.dir.join("index.jsonl"), &foreign).unwrap();
    runner.run(&["verify", "latest"]).expect(0);
    let resumed = runner.run(&["resume", "--from", "latest"]).expect(0);
    resumed.says(&["nothing is left to run"]);
    assert_eq!(run.read("index.jsonl"), foreign);

    // Also without the last line end, or half of it; and rows go on behind them.
    for end in [1, 2] {
        let runner = completed();
        let run = runner.only_run();
        die(&run);
        let cut = &foreign_of(&run);
        fs_err::write(run.dir.join("index.jsonl"), &cut[..cut.len() - end]).unwrap();
        runner
            .run(&["resume", "--from", "latest", "--rerun", "b"])
            .expect(0);
        assert_eq!(run.rows().len(), 4);
        assert!(!run.dir.join("index.torn-1").exists());
        runner.run(&["verify", "latest"]).expect(0);
    }
}

fn foreign_of(run: &Run) -> String {
    run.read("index.jsonl").replace('\n', "\r\n")
}
