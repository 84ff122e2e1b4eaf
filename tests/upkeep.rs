//! Keeping results: `cleanup`, `prune`, `pin`, `unpin`, `reindex`, `verify`, `show --history`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

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

/// A folder with a scenario, and its results.
struct Results(TempDir);

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Results {
    /// So many finished runs.
    fn new(runs: usize) -> Self {
        let results = Self(tempfile::tempdir().unwrap());
        let write = |name: &str, bytes: &[u8]| fs_err::write(results.path(name), bytes).unwrap();
        write("loud.wasm", &wat::parse_str(LOUD).unwrap());
        write("note.txt", b"a note");
        write("scenario.toml", SCENARIO.as_bytes());
        for _ in 0..runs {
            let ran = results.run(&["exec", "--quiet", "-j1", "scenario.toml"]);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        results
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env(
                "RUNNER_CACHE",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
            )
            .env("NO_COLOR", "1")
            .env_remove("RUNNER_RESULTS");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
    }

    /// The run directories, oldest first.
    fn runs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<_> = fs_err::read_dir(self.path("results"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("benchmark.json").exists())
            .collect();
        dirs.sort();
        dirs
    }

    /// Every file in the content store.
    fn stored(&self) -> Vec<PathBuf> {
        let shelves = fs_err::read_dir(self.path("results/store")).unwrap();
        shelves
            .map(|shelf| shelf.unwrap().path())
            .filter(|shelf| shelf.is_dir())
            .flat_map(|shelf| fs_err::read_dir(shelf).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect()
    }
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

fn name(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

fn write(path: &Path, text: &str) {
    fs_err::write(path, text).unwrap();
}

/// Makes a run look as if its process had died before its last row.
fn crash(run: &Path) {
    let index = run.join("index.jsonl");
    let text = fs_err::read_to_string(&index).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    write(&index, &text[..last]);
    die(run);
}

/// Makes a run look as if its process had died before it wrote how it ended.
fn die(run: &Path) {
    let mut manifest = manifest(run);
    manifest["status"] = "running".into();
    manifest["verdict"] = "none".into();
    let map = manifest.as_object_mut().unwrap();
    map.remove("completed_at");
    map["sessions"][0]
        .as_object_mut()
        .unwrap()
        .remove("closed_at");
    map["transitions"].as_array_mut().unwrap().truncate(1);
    write(&run.join("benchmark.json"), &manifest.to_string());
}

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(run.join("benchmark.json")).unwrap()).unwrap()
}

/// Holds a lock as another process would.
fn hold(lock: &Path) -> fs_err::File {
    let file = fs_err::File::open(lock).unwrap();
    file.try_lock().unwrap();
    file
}

/// Everything below a folder, but what probing and projecting may touch.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file() && !path.to_string_lossy().contains("runner.db"))
        .map(|path| (path.clone(), fs_err::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Makes everything in the content store look as if nobody had used it for two days.
fn age(results: &Results) {
    for path in results.stored() {
        let file = fs_err::File::open(path).unwrap();
        let two_days_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
        file.set_modified(two_days_ago).unwrap();
    }
}

#[test]
fn a_run_is_verified_by_id_part_path_and_latest() {
    let results = Results::new(2);
    let runs = results.runs();
    let (oldest, newest) = (name(&runs[0]), name(&runs[1]));
    let path = format!("results/{oldest}");
    for (run, found) in [
        ("latest", newest),
        (oldest, oldest),
        (&oldest[24..], oldest),
        (&path, oldest),
        (runs[0].to_str().unwrap(), oldest),
    ] {
        let ran = results.run(&["verify", run]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(found), "{ran:?}");
        assert!(ran.stdout.contains("intact; looked at 3 rows"), "{ran:?}");
    }
    for run in ["2026", "nonsense", "./nonsense"] {
        assert_eq!(results.run(&["verify", run]).code, 2, "{run}");
    }
}

#[test]
fn every_damage_is_found_and_placed() {
    let results = Results::new(1);
    let run = &results.runs()[0];
    let check = |path: &Path, damage: &dyn Fn(String) -> String, expected: &str| {
        let before = fs_err::read_to_string(path).unwrap();
        write(path, &damage(before.clone()));
        let ran = results.run(&["verify"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
        let document = results.json(&["verify"]);
        assert_eq!(document["is_intact"], false);
        assert_ne!(document["damages"][0]["problem"], Value::Null);
        write(path, &before);
    };
    let lines = |text: &str, picked: &[usize]| {
        let lines: Vec<&str> = text.lines().collect();
        let picked = picked.iter().map(|line| lines[*line]);
        picked.map(|line| format!("{line}\n")).collect::<String>()
    };

    let index = run.join("index.jsonl");
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

    let manifest = run.join("benchmark.json");
    check(&manifest, &|_| "{".into(), "benchmark.json: ");
    let status = |text: String| text.replacen("completed", "failed", 1);
    check(
        &manifest,
        &status,
        "its status `failed` is not its last transition's",
    );
    let comment = |text: String| text + "# a comment\n";
    check(
        &run.join("scenario.toml"),
        &comment,
        "scenario.toml: its digest is ",
    );
    let note = results
        .stored()
        .into_iter()
        .find(|path| fs_err::read(path).unwrap() == b"a note");
    check(&note.unwrap(), &|_| "a lie!".into(), ": its digest is ");

    let files = run.join("artifacts/0/0-1");
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
    assert_eq!(results.run(&["verify"]).code, 0);
}

#[test]
fn whatever_is_missing_from_a_run_is_found() {
    let results = Results::new(1);
    let run = &results.runs()[0];
    let stored = results.stored();
    let files = [
        run.join("index.jsonl"),
        run.join("scenario.toml"),
        run.join("artifacts/0/0-1"),
        stored[0].clone(),
        stored[1].clone(),
        stored[2].clone(),
    ];
    for file in files {
        let aside = results.path("aside");
        fs_err::rename(&file, &aside).unwrap();
        let ran = results.run(&["verify"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stdout.contains("is missing"), "{ran:?}");
        fs_err::rename(&aside, &file).unwrap();
    }
    // Somebody who reads must not be taken for an owner, nor write anything.
    let before = tree(&results.path("results"));
    assert_eq!(results.run(&["verify"]).code, 0);
    assert_eq!(tree(&results.path("results")), before);
}

#[test]
fn a_torn_end_is_no_damage_until_the_run_is_at_rest() {
    let results = Results::new(1);
    let run = &results.runs()[0];
    die(run);
    let index = run.join("index.jsonl");
    let text = fs_err::read_to_string(&index).unwrap();
    write(&index, &text[..text.len() - 10]);
    assert_eq!(results.run(&["verify"]).code, 0);
}

#[test]
fn a_pinned_run_is_marked_and_stays() {
    let results = Results::new(2);
    let run = &results.runs()[0];
    let pin = results.run(&["pin", name(run), "--reason", "release 1"]);
    assert_eq!((pin.code, pin.stdout.as_str()), (0, ""));
    assert_eq!(results.run(&["pin", name(run)]).code, 0);
    assert_eq!(manifest(run)["pinned"]["reason"], "release 1");

    let list = results.run(&["list"]).stdout;
    let marked: Vec<_> = list
        .lines()
        .filter(|line| line.ends_with(" pinned"))
        .collect();
    assert_eq!(marked.len(), 1);
    assert!(marked[0].contains(name(run)), "{list}");
    let show = results.run(&["show", name(run)]).stdout;
    assert!(show.contains("UTC: release 1"), "{show}");
    let document = results.json(&["list"]);
    assert_eq!(document["runs"][0]["pinned"], Value::Null);
    assert_eq!(document["runs"][1]["pinned"]["reason"], "release 1");

    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let pruned = results.run(&prune);
    assert!(pruned.stdout.contains("stays: it is pinned"), "{pruned:?}");
    assert_eq!(results.runs(), std::slice::from_ref(run));
    assert_eq!(results.run(&["unpin", "latest"]).code, 0);
    assert_eq!(results.run(&["unpin", "latest"]).code, 0);
    assert_eq!(results.run(&prune).code, 0);
    assert!(results.runs().is_empty());
}

#[test]
fn a_run_that_somebody_holds_is_not_pinned() {
    let results = Results::new(1);
    let run = &results.runs()[0];
    let before = tree(run);
    let lock = hold(&run.join("lock"));
    let pin = results.run(&["pin", "latest"]);
    assert_eq!(pin.code, 6, "{pin:?}");
    assert!(pin.stderr.contains("is being worked on"), "{pin:?}");
    drop(lock);
    assert_eq!(tree(run), before);
}

#[test]
fn pruning_shows_first_and_deletes_when_told() {
    let results = Results::new(3);
    let runs = results.runs();
    age(&results);
    let before = tree(&results.path("results"));

    let dry = results.run(&["prune", "--keep-last", "1"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.stdout.contains("would delete 2 runs ("), "{dry:?}");
    assert!(dry.stderr.contains("`--no-dry-run` deletes"), "{dry:?}");
    assert_eq!(tree(&results.path("results")), before);

    let real = results.json(&["prune", "--keep-last", "1", "--no-dry-run"]);
    assert_eq!(real["is_dry_run"], false);
    assert_eq!(real["runs"][0]["run"], name(&runs[1]));
    assert_eq!(real["runs"][1]["because_of"][0], "keep-last");
    assert_eq!(real["left"]["count"], 1);
    assert_eq!(results.runs(), runs[2..]);
    assert_eq!(results.json(&["list"])["runs"].as_array().unwrap().len(), 1);
    assert_eq!(results.run(&["verify"]).code, 0);

    // What nobody needs any more goes with the last run, and a new run brings it back.
    let real = results.json(&["prune", "--older-than", "0s", "--no-dry-run"]);
    assert_eq!(real["stored_files"]["count"], 3);
    assert!(results.stored().is_empty());
    assert_eq!(results.run(&["exec", "--quiet", "scenario.toml"]).code, 0);
    assert_eq!(results.run(&["verify"]).code, 0);
}

#[test]
fn runs_are_pruned_by_name_and_by_status() {
    let results = Results::new(3);
    let runs = results.runs();
    let cancelled = name(&runs[1]).to_owned();
    crash(&runs[1]);
    assert_eq!(results.run(&["cancel", &cancelled]).code, 0);

    let dry = results.run(&["prune", "--status", "cancelled,failed"]);
    assert!(dry.stdout.contains("would delete 1 run ("), "{dry:?}");
    assert!(dry.stdout.contains(&cancelled), "{dry:?}");
    let none = results.json(&["prune", "--status", "cancelled", "--older-than", "1d"]);
    assert_eq!(none["runs"].as_array().unwrap().len(), 0);

    assert_eq!(results.run(&["pin", name(&runs[0])]).code, 0);
    let pinned = results.run(&["prune", "--no-dry-run", name(&runs[0])]);
    assert_eq!(pinned.code, 2, "{pinned:?}");
    assert!(pinned.stdout.contains("stays: it is pinned"), "{pinned:?}");
    let lock = hold(&runs[2].join("lock"));
    let held = results.run(&["prune", "--no-dry-run", name(&runs[2])]);
    assert_eq!(held.code, 6, "{held:?}");
    drop(lock);
    assert_eq!(results.runs(), runs);

    let real = results.json(&["prune", "--no-dry-run", name(&runs[2]), &cancelled]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 2);
    assert_eq!(real["runs"][0]["because_of"][0], "named");
    assert_eq!(results.runs(), runs[..1]);

    assert_eq!(results.run(&["prune", "2031"]).code, 2);
    let both = results.run(&["prune", "latest", "--keep-last", "1"]);
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn without_a_policy_no_run_goes() {
    let results = Results::new(1);
    age(&results);
    let real = results.json(&["prune", "--no-dry-run"]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 0);
    assert_eq!(results.run(&["verify"]).code, 0);
    for args in [
        ["--older-than", "30d"],
        ["--max-size", "1GiB"],
        ["--keep-last", "1"],
    ] {
        let real = results.json(&[&["prune", "--no-dry-run"], args.as_slice()].concat());
        assert_eq!(real["runs"].as_array().unwrap().len(), 0, "{args:?}");
    }
    for args in [
        ["--older-than", "soon"],
        ["--max-size", "big"],
        ["--keep-last", "-1"],
    ] {
        assert_eq!(results.run(&[&["prune"], args.as_slice()].concat()).code, 2);
    }
}

#[test]
fn results_that_are_too_large_lose_their_oldest_run() {
    let results = Results::new(3);
    let runs = results.runs();
    let all = results.json(&["prune"])["left"]["bytes"].as_u64().unwrap();
    let limit = (all - 1).to_string();
    let real = results.json(&["prune", "--max-size", &limit, "--no-dry-run"]);
    assert_eq!(real["runs"][0]["because_of"][0], "max-size");
    assert!(real["left"]["bytes"].as_u64().unwrap() < all);
    assert_eq!(results.runs(), runs[1..]);
}

#[test]
fn while_a_run_is_born_nothing_of_the_content_store_goes() {
    let results = Results::new(1);
    age(&results);
    let birth = fs_err::File::open(results.path("results/store/.lock")).unwrap();
    birth.try_lock_shared().unwrap();
    let prune = ["prune", "--keep-last", "0", "--no-dry-run"];
    let busy = results.run(&prune);
    assert_eq!(busy.code, 6, "{busy:?}");
    assert!(
        busy.stderr.contains("is held by another process"),
        "{busy:?}"
    );
    assert_eq!((results.runs().len(), results.stored().len()), (0, 3));

    drop(birth);
    assert_eq!(results.run(&prune).code, 0);
    assert!(results.stored().is_empty());
}

#[test]
fn a_run_that_cannot_be_deleted_is_reported_and_the_others_go() {
    let results = Results::new(3);
    let runs = results.runs();
    // So deep that the few files which the program may open at a time do not reach its bottom.
    let depth = "deep/".repeat(200);
    fs_err::create_dir_all(runs[1].join("artifacts").join(depth)).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "ulimit -n 100; exec \"$0\" prune --keep-last 0 --no-dry-run",
        ])
        .arg(env!("CARGO_BIN_EXE_runner"))
        .current_dir(results.0.path())
        .env("NO_COLOR", "1")
        .env_remove("RUNNER_RESULTS");
    let ran = Ran::of(&mut shell);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("cannot be pruned"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 2 runs"), "{ran:?}");
    assert!(runs[1].exists() && !runs[0].exists() && !runs[2].exists());
    // What is left of it is no run, and goes once it is old enough to belong to nobody.
    assert_eq!(results.json(&["list"])["runs"], Value::Array(vec![]));
}

#[test]
fn a_link_to_a_run_is_never_followed() {
    let (results, elsewhere) = (Results::new(1), Results::new(1));
    let target = &elsewhere.runs()[0];
    let link = results.path("results").join(name(target));
    std::os::unix::fs::symlink(target, &link).unwrap();
    let before = tree(target);

    let ran = results.run(&["prune", "--keep-last", "0", "--no-dry-run"]);
    assert!(ran.stdout.contains("it is a symbolic link"), "{ran:?}");
    assert!(ran.stdout.contains("deleted 1 run "), "{ran:?}");
    assert_eq!(tree(target), before);
    assert!(link.is_symlink());
}

#[test]
fn the_database_is_made_anew_from_the_directories() {
    let results = Results::new(2);
    let database = results.path("results/runner.db");
    let expected = results.run(&["list"]).stdout;
    let reindex = || {
        let ran = results.run(&["reindex"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    assert_eq!(reindex(), "2 runs\n");
    fs_err::remove_file(&database).unwrap();
    assert_eq!(reindex(), "2 runs\n");
    write(&database, "not a database");
    assert!(reindex().starts_with("2 runs, in a new file"));
    let list = results.run(&["list"]);
    assert_eq!((list.stdout, list.stderr), (expected, String::new()));
}

#[test]
fn the_history_of_a_run_is_its_sessions_and_transitions() {
    let results = Results::new(1);
    let ran = results.run(&["show", "--history"]);
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

    let document = results.json(&["show", "--history"]);
    assert_eq!(document["manifest"]["transitions"][1]["to"], "completed");
    assert_eq!(document["rows"], Value::Array(vec![]));
}

#[test]
fn runs_whose_process_has_died_are_shown_and_then_swept() {
    let results = Results::new(4);
    let runs = results.runs();
    crash(&runs[0]);
    die(&runs[1]);
    die(&runs[2]);
    let live = hold(&runs[2].join("lock"));
    let before = tree(&results.path("results"));

    let dry = results.run(&["cleanup"]);
    assert_eq!(dry.code, 0, "{dry:?}");
    let line = |run: &Path| {
        let found = dry.stdout.lines().find(|line| line.contains(name(run)));
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
    assert_eq!(tree(&results.path("results")), before);

    let stale = ["cleanup", "--stale-hours", "1", "--no-dry-run"];
    assert_eq!(results.json(&stale)["runs"], Value::Array(vec![]));
    let real = results.json(&["cleanup", "--stale-hours", "0", "--no-dry-run"]);
    assert_eq!(real["runs"].as_array().unwrap().len(), 2);
    assert_eq!(manifest(&runs[0])["status"], "incomplete");
    assert_eq!(manifest(&runs[0])["reason"], "crashed");
    assert_eq!(manifest(&runs[1])["status"], "completed");
    assert_eq!(manifest(&runs[1])["verdict"], "passed");
    assert_eq!(manifest(&runs[2])["status"], "running");
    for run in &runs[..2] {
        assert_eq!(results.run(&["verify", name(run)]).code, 0);
    }
    drop(live);
    let again = results.json(&["cleanup"]);
    assert_eq!(again["runs"].as_array().unwrap().len(), 1);
    let exec = results.run(&["exec", "scenario.toml"]);
    let swept = format!(
        "swept one run, because its process had died: {}",
        name(&runs[2])
    );
    assert!(exec.stderr.contains(&swept), "{exec:?}");
}

#[test]
fn results_that_are_not_there_are_nothing_to_keep() {
    let results = Results::new(0);
    for args in [
        ["prune", "--no-dry-run"].as_slice(),
        &["cleanup", "--no-dry-run"],
        &["reindex"],
    ] {
        let ran = results.run(args);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    for args in [["pin", "latest"], ["unpin", "latest"], ["verify", "latest"]] {
        let ran = results.run(&args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("no run `latest`"), "{ran:?}");
    }
    assert!(!results.path("results").exists());
}

#[test]
fn a_run_that_the_database_refuses_is_named_and_costs_no_other_run_its_place() {
    let results = Results::new(3);
    let runs = results.runs();
    let mut odd = manifest(&runs[1]);
    let first = odd["transitions"][0].clone();
    odd["transitions"].as_array_mut().unwrap().insert(0, first);
    write(&runs[1].join("benchmark.json"), &odd.to_string());

    let says = format!("run `{}` is left out", name(&runs[1]));
    let count = || -> i64 {
        let database = rusqlite::Connection::open(results.path("results/runner.db")).unwrap();
        let count = database.query_row("SELECT count(*) FROM runs", [], |row| row.get(0));
        count.unwrap()
    };
    for _ in 0..2 {
        let list = results.run(&["list", "--json"]);
        assert_eq!(list.code, 0, "{list:?}");
        assert_eq!(list.stderr.matches(&says).count(), 1, "{list:?}");
        assert!(!list.stderr.contains("going on without it"), "{list:?}");
        let document: Value = serde_json::from_str(&list.stdout).unwrap();
        assert_eq!(document["runs"].as_array().unwrap().len(), 3);
        assert_eq!(count(), 2);
    }
    let reindex = results.run(&["reindex"]);
    assert_eq!((reindex.code, reindex.stdout.as_str()), (0, "2 runs\n"));
    assert_eq!(reindex.stderr.matches(&says).count(), 1, "{reindex:?}");
    assert_eq!(count(), 2);
    assert_eq!(results.run(&["verify", name(&runs[1])]).code, 1);

    // A row that cannot be read back costs nothing but a look at its manifest.
    let database = rusqlite::Connection::open(results.path("results/runner.db")).unwrap();
    let spoil = "UPDATE runs SET passed = -1 WHERE run_id = ?1";
    database.execute(spoil, [name(&runs[0])]).unwrap();
    drop(database);
    let listed = results.json(&["list"]);
    assert_eq!(listed["runs"][2]["counts"]["passed"], 3);
    assert_eq!(count(), 2);
}
