//! Keeping results: `cleanup`, `prune`, `pin`, `unpin`, `reindex`, `verify`, `show --history`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{
    files::{contents, files},
    runner::{CommandExt as _, Run, Runner},
};

/// Prints more than fits into a row, and a little talk.
const LOUD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func $print (param $to i32) (param $length i32) (local $at i32)
        (local.set $at (i32.const 1024))
        (block $done (loop $more
            (br_if $done (i32.eqz (local.get $length)))
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $length))
            (br_if $done (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
            (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
            (br $more))))
    (func (export "_start")
        (memory.fill (i32.const 1024) (i32.const 97) (i32.const 70000))
        (call $print (i32.const 1) (i32.const 70000))
        (call $print (i32.const 2) (i32.const 10))))"#;

const SCENARIO: &str = r#"
name = "loud"

[providers.loud]
plugin = "loud.wasm"

[[tests]]
id = "one"
expect = { contains = "aaaa" }

[[tests]]
id = "two"
expect = { contains = "aaaa" }
files = { note = "note.txt" }

[[tests]]
id = "three"
expect = { contains = "aaaa" }
"#;

/// A folder with so many finished runs.
fn finished(runs: usize) -> Runner {
    let runner = Runner::new(&[]);
    runner.wat("loud.wasm", LOUD);
    runner.write("note.txt", "a note");
    runner.scenario(SCENARIO);
    for _ in 0..runs {
        runner.exec(&["--quiet", "-j1"]).expect(0);
    }
    runner
}

/// What a command says as one document.
#[track_caller]
fn document(runner: &Runner, args: &[&str]) -> Value {
    runner.run(&[args, &["--json"]].concat()).document()
}

/// Fails unless the run directories are these.
#[track_caller]
fn assert_left(runner: &Runner, runs: &[Run]) {
    let left: Vec<_> = runs.iter().map(Run::id).collect();
    assert_eq!(runner.ids(), left);
}

/// Every file in the content store but its lock.
fn stored(runner: &Runner) -> Vec<PathBuf> {
    let store = runner.path("results/store");
    let mut files = files(&store);
    files.retain(|file| file.parent() != Some(&store));
    files
}

/// Makes a run look as if its process had died before its last row.
fn crash(run: &Run) {
    run.keep_rows(run.rows().len() - 1);
    run.forget_its_end();
}

/// Holds a lock as another process would.
fn hold(lock: &Path) -> fs_err::File {
    let file = fs_err::File::open(lock).unwrap();
    file.try_lock().unwrap();
    file
}

/// Everything below the results root, but what probing and projecting may touch.
fn recorded(runner: &Runner) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = contents(&runner.path("results"));
    files.retain(|(path, _)| !path.to_string_lossy().contains("runner.db"));
    files
}

/// Makes everything in the content store look as if nobody had used it for two days.
fn age(runner: &Runner) {
    for path in stored(runner) {
        let file = fs_err::File::open(path).unwrap();
        let two_days_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
        file.set_modified(two_days_ago).unwrap();
    }
}

#[test]
fn a_run_is_verified_by_id_part_path_and_latest() {
    let runner = finished(2);
    let runs = runner.runs();
    let (oldest, newest) = (runs[0].id(), runs[1].id());
    let path = format!("results/{oldest}");
    for (run, found) in [
        ("latest", newest),
        (oldest, oldest),
        (&oldest[24..], oldest),
        (&path, oldest),
        (runs[0].dir.to_str().unwrap(), oldest),
    ] {
        let ran = runner.run(&["verify", run]).expect(0);
        assert!(ran.stdout.contains(found), "{ran:?}");
        assert!(ran.stdout.contains("intact; looked at 3 rows"), "{ran:?}");
    }
    for run in ["2026", "nonsense", "./nonsense"] {
        runner.run(&["verify", run]).expect(2);
    }
}

#[test]
fn every_damage_is_found_and_placed() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let check = |path: &Path, damage: &dyn Fn(String) -> String, expected: &str| {
        let before = fs_err::read_to_string(path).unwrap();
        fs_err::write(path, damage(before.clone())).unwrap();
        let ran = runner.run(&["verify"]).expect(1);
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
        let document = document(&runner, &["verify"]);
        assert_eq!(document["is_intact"], false);
        assert_ne!(document["damages"][0]["problem"], Value::Null);
        fs_err::write(path, &before).unwrap();
    };
    let lines = |text: &str, picked: &[usize]| {
        let lines: Vec<&str> = text.lines().collect();
        let picked = picked.iter().map(|line| lines[*line]);
        picked.map(|line| format!("{line}\n")).collect::<String>()
    };

    let index = run.dir.join("index.jsonl");
    let check_lines = |picked: &[usize], expected: &str| {
        check(&index, &|text| lines(&text, picked), expected);
    };
    check_lines(
        &[0, 2],
        "index.jsonl:2: rows are missing between row 1 and row 3",
    );
    check_lines(&[0, 2, 1], "index.jsonl:3: row 2 comes after row 3");
    check_lines(&[0, 1, 2, 2], "index.jsonl:4: row 3 comes after row 3");
    check_lines(&[0, 1, 2, 2], "comes after attempt 1");
    check_lines(
        &[0, 1],
        "1 of its 3 trials have no final row: those with the ordinals 2",
    );
    check_lines(&[0, 1], "benchmark.json: it counts 3 final rows");
    let flip = |text: String| text.replacen("#1", "#2", 1);
    check(&index, &flip, "index.jsonl:1: the checksum does not match");
    let tear = |text: String| text[..text.len() - 10].to_owned();
    check(&index, &tear, "index.jsonl:3: no checksum at its end");
    check(&index, &|text| text + "{", "index.jsonl:4: too short");

    let manifest = run.dir.join("benchmark.json");
    check(&manifest, &|_| "{".into(), "benchmark.json: ");
    let status = |text: String| text.replacen("completed", "failed", 1);
    check(
        &manifest,
        &status,
        "its status `failed` is not its last transition's",
    );
    let comment = |text: String| text + "# a comment\n";
    check(
        &run.dir.join("scenario.toml"),
        &comment,
        "scenario.toml: its digest is ",
    );
    let note = stored(&runner)
        .into_iter()
        .find(|path| fs_err::read(path).unwrap() == b"a note");
    check(&note.unwrap(), &|_| "a lie!".into(), ": its digest is ");

    let files = run.dir.join("artifacts/0/0-1");
    let bend = |text: String| text.replacen('a', "b", 1);
    check(
        &files.join("output.json"),
        &bend,
        "another content than it had",
    );
    for name in ["output.json", "stderr"] {
        let path = fs_err::read_dir(&files)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains(name));
        check(&path.unwrap(), &|text| text + "a", "bytes and should have");
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn whatever_is_missing_from_a_run_is_found() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let stored = stored(&runner);
    let files = [
        run.dir.join("index.jsonl"),
        run.dir.join("scenario.toml"),
        run.dir.join("artifacts/0/0-1"),
        stored[0].clone(),
        stored[1].clone(),
        stored[2].clone(),
    ];
    for file in files {
        let aside = runner.path("aside");
        fs_err::rename(&file, &aside).unwrap();
        let ran = runner.run(&["verify"]).expect(1);
        assert!(ran.stdout.contains("is missing"), "{ran:?}");
        fs_err::rename(&aside, &file).unwrap();
    }
    // Somebody who reads must not be taken for an owner, nor write anything.
    let before = recorded(&runner);
    runner.run(&["verify"]).expect(0);
    assert_eq!(recorded(&runner), before);
}

#[test]
fn a_torn_end_is_no_damage_until_the_run_is_at_rest() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    run.forget_its_end();
    let index = run.read("index.jsonl");
    run.write("index.jsonl", &index[..index.len() - 10]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn a_pinned_run_is_marked_and_stays() {
    let runner = finished(2);
    let run = &runner.runs()[0];
    let pin = runner.run(&["pin", run.id(), "--reason", "release 1"]);
    assert_eq!(pin.expect(0).stdout, "");
    runner.run(&["pin", run.id()]).expect(0);
    assert_eq!(run.manifest()["pinned"]["reason"], "release 1");

    let list = runner.run(&["list"]).stdout;
    let marked: Vec<_> = list
        .lines()
        .filter(|line| line.ends_with(" pinned"))
        .collect();
    assert_eq!(marked.len(), 1);
    assert!(marked[0].contains(run.id()), "{list}");
    let show = runner.run(&["show", run.id()]).stdout;
    assert!(show.contains("UTC: release 1"), "{show}");
    let document = document(&runner, &["list"]);
    assert_eq!(document["runs"][0]["pinned"], Value::Null);
    assert_eq!(document["runs"][1]["pinned"]["reason"], "release 1");

    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let pruned = runner.run(&prune);
    assert!(pruned.stdout.contains("stays: it is pinned"), "{pruned:?}");
    assert_left(&runner, std::slice::from_ref(run));
    runner.run(&["unpin", "latest"]).expect(0);
    runner.run(&["unpin", "latest"]).expect(0);
    runner.run(&prune).expect(0);
    assert!(runner.runs().is_empty());
}

#[test]
fn a_run_that_somebody_holds_is_not_pinned() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let before = contents(&run.dir);
    let lock = hold(&run.dir.join("lock"));
    let pin = runner.run(&["pin", "latest"]).expect(6);
    assert!(pin.stderr.contains("is being worked on"), "{pin:?}");
    drop(lock);
    assert_eq!(contents(&run.dir), before);
}

#[test]
fn pruning_shows_first_and_deletes_when_told() {
    let runner = finished(3);
    let runs = runner.runs();
    age(&runner);
    let before = recorded(&runner);

    let dry = runner.run(&["prune", "--keep-last", "1"]).expect(0);
    assert!(dry.stdout.contains("would delete 2 runs ("), "{dry:?}");
    assert!(dry.stderr.contains("`--no-dry-run` deletes"), "{dry:?}");
    assert_eq!(recorded(&runner), before);

    let real = document(&runner, &["prune", "--keep-last", "1", "--no-dry-run"]);
    assert_eq!(real["is_dry_run"], false);
    assert_eq!(real["runs"][0]["run"], runs[1].id());
    assert_eq!(real["runs"][1]["because_of"][0], "keep-last");
    assert_eq!(real["left"]["count"], 1);
    assert_left(&runner, &runs[2..]);
    assert_eq!(
        document(&runner, &["list"])["runs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    runner.run(&["verify"]).expect(0);

    // What nobody needs any more goes with the last run, and a new run brings it back.
    let real = document(&runner, &["prune", "--older-than", "0s", "--no-dry-run"]);
    assert_eq!(real["stored_files"]["count"], 3);
    assert!(stored(&runner).is_empty());
    runner.run(&["exec", "--quiet", "scenario.toml"]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn runs_are_pruned_by_name_and_by_status() {
    let runner = finished(3);
    let runs = runner.runs();
    let cancelled = runs[1].id().to_owned();
    crash(&runs[1]);
    runner.run(&["cancel", &cancelled]).expect(0);

    let dry = runner.run(&["prune", "--status", "cancelled,failed"]);
    assert!(dry.stdout.contains("would delete 1 run ("), "{dry:?}");
    assert!(dry.stdout.contains(&cancelled), "{dry:?}");
    let none = document(
        &runner,
        &["prune", "--status", "cancelled", "--older-than", "1d"],
    );
    assert_eq!(none["runs"].as_array().unwrap().len(), 0);

    runner.run(&["pin", runs[0].id()]).expect(0);
    let pinned = runner
        .run(&["prune", "--no-dry-run", runs[0].id()])
        .expect(2);
    assert!(pinned.stdout.contains("stays: it is pinned"), "{pinned:?}");
    let lock = hold(&runs[2].dir.join("lock"));
    runner
        .run(&["prune", "--no-dry-run", runs[2].id()])
        .expect(6);
    drop(lock);
    assert_left(&runner, &runs);

    let real = document(
        &runner,
        &["prune", "--no-dry-run", runs[2].id(), &cancelled],
    );
    assert_eq!(real["runs"].as_array().unwrap().len(), 2);
    assert_eq!(real["runs"][0]["because_of"][0], "named");
    assert_left(&runner, &runs[..1]);

    runner.run(&["prune", "2031"]).expect(2);
    runner
        .run(&["prune", "latest", "--keep-last", "1"])
        .expect(2);
}

#[test]
fn without_a_policy_no_run_goes() {
    let runner = finished(1);
    age(&runner);
    let real = document(&runner, &["prune", "--no-dry-run"]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 0);
    runner.run(&["verify"]).expect(0);
    for args in [
        ["--older-than", "30d"],
        ["--max-size", "1GiB"],
        ["--keep-last", "1"],
    ] {
        let real = document(
            &runner,
            &[&["prune", "--no-dry-run"], args.as_slice()].concat(),
        );
        assert_eq!(real["runs"].as_array().unwrap().len(), 0, "{args:?}");
    }
    for args in [
        ["--older-than", "soon"],
        ["--max-size", "big"],
        ["--keep-last", "-1"],
    ] {
        runner
            .run(&[&["prune"], args.as_slice()].concat())
            .expect(2);
    }
}

#[test]
fn results_that_are_too_large_lose_their_oldest_run() {
    let runner = finished(3);
    let runs = runner.runs();
    let all = document(&runner, &["prune"])["left"]["bytes"]
        .as_u64()
        .unwrap();
    let limit = (all - 1).to_string();
    let real = document(&runner, &["prune", "--max-size", &limit, "--no-dry-run"]);
    assert_eq!(real["runs"][0]["because_of"][0], "max-size");
    assert!(real["left"]["bytes"].as_u64().unwrap() < all);
    assert_left(&runner, &runs[1..]);
}

#[test]
fn while_a_run_is_born_nothing_of_the_content_store_goes() {
    let runner = finished(1);
    age(&runner);
    let birth = fs_err::File::open(runner.path("results/store/.lock")).unwrap();
    birth.try_lock_shared().unwrap();
    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let busy = runner.run(&prune).expect(6);
    assert!(
        busy.stderr.contains("is held by another process"),
        "{busy:?}"
    );
    assert_eq!((runner.runs().len(), stored(&runner).len()), (0, 3));

    drop(birth);
    runner.run(&prune).expect(0);
    assert!(stored(&runner).is_empty());
}

#[test]
fn a_run_that_cannot_be_deleted_is_reported_and_the_others_go() {
    let runner = finished(3);
    let runs = runner.runs();
    // So deep that the few files which the program may open at a time do not reach its bottom.
    let depth = "deep/".repeat(200);
    fs_err::create_dir_all(runs[1].dir.join("artifacts").join(depth)).unwrap();
    let script = "ulimit -n 100; exec \"$runner\" prune --keep-last 0 --no-dry-run";
    let ran = runner.shell(script).run().expect(7);
    assert!(ran.stderr.contains("cannot be pruned"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 2 runs"), "{ran:?}");
    assert_eq!(
        [0, 1, 2].map(|n| runs[n].dir.exists()),
        [false, true, false]
    );
    // What is left of it is no run, and goes once it is old enough to belong to nobody.
    assert_eq!(document(&runner, &["list"])["runs"], Value::Array(vec![]));
}

#[test]
fn a_link_to_a_run_is_never_followed() {
    let (runner, elsewhere) = (finished(1), finished(1));
    let target = &elsewhere.runs()[0];
    let link = runner.path("results").join(target.id());
    std::os::unix::fs::symlink(&target.dir, &link).unwrap();
    let before = contents(&target.dir);

    let ran = runner.run(&["prune", "--keep-last", "0", "--no-dry-run"]);
    assert!(ran.stdout.contains("it is a symbolic link"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 1 run "), "{ran:?}");
    assert_eq!(contents(&target.dir), before);
    assert!(link.is_symlink());
}

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
    let ran = runner.run(&["show", "--history"]);
    let words: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        words
            .iter()
            .any(|line| line.first() == Some(&"1") && line.last() == Some(&"exec"))
    );
    assert!(
        words
            .iter()
            .any(|line| line.ends_with(&["running", "exec"]))
    );
    assert!(
        words
            .iter()
            .any(|line| line.ends_with(&["running", "completed", "exec"]))
    );

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
