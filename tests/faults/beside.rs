//! Other processes change a run's files or use its processes' ids, during a session or between two.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    random::{Random, times},
    run::Run,
    runner::Runner,
    running::{Running, finished},
    truth::{assert_consistent, assert_kept, assert_whole},
    wait::{SOON, wait_until},
};

/// Creates trials that take `ms` milliseconds.
fn naps(count: usize, ms: u64) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = {count}\ninput = {{ do = \"sleep\", ms = {ms} }}\n"
    ))
}

/// Creates a run that was interrupted after some of its 40 trials.
fn interrupted() -> (Runner, Run) {
    // Two at once, they take some seconds, so that the signal comes before the end.
    let runner = naps(40, 200);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(5);
    running.end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    (runner, run)
}

#[test]
fn moved_directory_ends_the_session() {
    let runner = naps(200, 50);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(5);
    let run = runner.only_run();
    let moved = Run { dir: runner.path("results/moved") };
    fs::rename(&run.dir, &moved.dir).unwrap();
    let ran = running.finish().expect(7);
    assert!(!run.dir.exists(), "it was made anew");
    assert_kept(&moved, &ran.acknowledged());
    runner.run(&["resume", "results/moved", "-j", "40"]).expect(0);
    assert_kept(&assert_whole(&runner, 200), &ran.acknowledged());
    assert!(!run.dir.exists(), "it was made anew");
}

#[test]
fn removed_lock_ends_the_session() {
    for is_replaced in [false, true] {
        let runner = naps(400, 20);
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_rows(5);
        let run = runner.only_run();
        fs::remove_file(run.dir.join("lock")).unwrap();
        if is_replaced {
            run.write("lock", "");
        }
        // Another session can lock the run now.
        let again = runner.started(&["resume", run.id(), "--json", "-j", "40"]);
        let ran = running.finish().expect(7);
        ran.says(&["has removed or replaced the lock", "`resume`"]);
        let mut told = ran.acknowledged();
        told.extend(again.finish().expect(0).acknowledged());
        assert_kept(&assert_whole(&runner, 400), &told);
    }
}

#[test]
fn changed_rows_end_the_session() {
    for is_cut in [true, false] {
        let runner = naps(400, 30);
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_rows(5);
        let run = runner.only_run();
        let mut index = OpenOptions::new().append(true).open(run.dir.join("index.jsonl")).unwrap();
        if is_cut {
            index.set_len(0).unwrap();
        } else {
            index.write_all(b"what is this?\n").unwrap();
        }
        // Acknowledged rows are lost.
        running.finish().expect(if is_cut { 8 } else { 7 }).says(&["index.jsonl"]);
        assert_eq!(run.ending()[..2], ["incomplete", "storage"]);
        runner.run(&["resume", "latest", "-j", "40"]).expect(0);
        assert_consistent(&runner);
        assert_eq!(runner.list()[0]["status"], "completed");
    }
}

#[test]
fn database_may_vanish_while_running() {
    let runner = naps(60, 100);
    let mut running = runner.start(&["-j", "2"]);
    let database = runner.path("results/runner.db");
    for count in 1..6 {
        running.wait_for_rows(5 * count);
        let _ = fs::remove_file(&database);
        if count % 2 == 0 {
            fs::write(&database, "this is no database").unwrap();
        }
        runner.list();
    }
    running.finish().expect(0);
    assert_whole(&runner, 60);
}

#[test]
fn locked_database_delays_no_run() {
    let runner = naps(10, 10);
    let started = Instant::now();
    runner.exec(&[]).expect(0);
    let usual = started.elapsed();
    let database = Connection::open(runner.path("results/runner.db")).unwrap();
    database.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = Instant::now();
    runner.exec(&[]).expect(0);
    let took = started.elapsed();
    assert!(took < SOON + 3 * usual, "{took:?} instead of {usual:?}");
    assert_consistent(&runner);
    assert_eq!(runner.list().len(), 2);
    database.execute_batch("COMMIT").unwrap();
    assert_consistent(&runner);
}

#[test]
fn deleted_plugin_cache_changes_no_row() {
    let runner = Runner::new(&[]);
    // It counts for some milliseconds.
    runner.wat(
        "count.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start") (local i32)
             (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5000000))))))"#,
    );
    runner.scenario("[providers.p]\nplugin = \"count.wasm\"\n[[tests]]\nid = \"a\"\nrepeat = 60\n");
    let cache = runner.path("cache");
    let start = |args: &[&str]| {
        let mut command = runner.command(args);
        Running::start(command.env("RUNNER_CACHE", &cache))
    };
    let mut running = start(&["exec", "scenario.toml", "--json", "-j", "1"]);
    running.wait_for_rows(5);
    fs::remove_dir_all(&cache).unwrap();
    running.finish().expect(0);
    let run = assert_whole(&runner, 60);
    start(&["resume", run.id(), "--rerun", "all", "--json"]).finish().expect(0);
    assert!(cache.exists(), "the plugin was not compiled again");
    let rows = run.rows();
    assert_eq!(rows.len(), 120);
    for (first, second) in rows[..60].iter().zip(&rows[60..]) {
        for key in ["outcome", "output", "fingerprint", "judgement_fingerprint"] {
            assert_eq!(first[key], second[key], "{key}");
        }
    }
}

#[test]
fn probing_lists_let_resumes_through() {
    let (runner, _) = interrupted();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    runner.list();
                }
            });
        }
        let ran = runner.run(&["resume", "latest", "-j", "40"]);
        is_over.store(true, Ordering::Relaxed);
        ran.expect(0);
    });
    assert_whole(&runner, 40);
}

#[test]
fn resume_outlasts_a_probe_of_its_lock() {
    let (runner, run) = interrupted();
    let path = run.dir.join("lock");
    let resumed = || {
        let probe = fs::File::open(&path).unwrap();
        probe.lock_shared().unwrap();
        let events = inotify::init(CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&events, &path, WatchFlags::CLOSE_WRITE).unwrap();
        let began = Instant::now();
        let resume = runner.started(&["resume", "latest", "-j", "40"]);
        // A failed attempt to take the lock closes its file.
        wait_until("an attempt has failed", || rustix::io::read(&events, &mut [0; 64]).is_ok());
        drop(probe);
        let is_late = began.elapsed() > Duration::from_secs(1);
        let ran = resume.finish();
        // It tries for a second, and a slow machine may notice the first attempt after that.
        (!is_late || ran.code != Some(6)).then_some(ran)
    };
    let ran = (0..5).find_map(|_| resumed());
    ran.expect("one of five attempts is noticed in time").expect(0);
    assert_whole(&runner, 40);
}

#[test]
fn one_of_many_resumes_wins() {
    let (runner, _) = interrupted();
    let resume = ["resume", "latest", "--json", "-j", "40"];
    let resumes: Vec<_> = (0..5).map(|_| Running::start(&mut runner.command(&resume))).collect();
    let codes: Vec<_> = resumes.into_iter().map(|running| running.finish().code.unwrap()).collect();
    assert!(codes.contains(&0), "{codes:?}");
    // A resume that starts after the end finds nothing to do.
    assert!(codes.iter().all(|code| matches!(code, 0 | 6)), "{codes:?}");
    let run = assert_whole(&runner, 40);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn strange_entries_are_left_out() {
    let (runner, run) = interrupted();
    let root = runner.path("results");
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::create_dir(root.join("2026-01-01_00-00-00-000-empty-00000000")).unwrap();
    fs::write(root.join("2026-01-01_00-00-00-000-file-00000000"), "").unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"not-\xff-text"))).unwrap();
    fs::create_dir(root.join("broken")).unwrap();
    fs::write(root.join("broken/benchmark.json"), "{").unwrap();
    make_pipe(&root.join("pipe"));
    // Folders that could be runs are named with their problem.
    for name in ["linked", "piped", "nested"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    symlink(run.dir.join("benchmark.json"), root.join("linked/benchmark.json")).unwrap();
    make_pipe(&root.join("piped/benchmark.json"));
    fs::create_dir(root.join("nested/benchmark.json")).unwrap();
    let is_listed = |runs: usize| {
        let ran = runner.run(&["list", "--json"]).expect(0);
        let list = ran.document();
        assert_eq!(list["runs"].as_array().unwrap().len(), runs, "{list}");
        let unreadable = list["unreadable"].as_array().unwrap();
        let names: Vec<_> = unreadable.iter().map(|one| one["run"].as_str().unwrap()).collect();
        assert_eq!(names, ["broken", "linked", "nested", "piped"]);
        assert!(unreadable.iter().all(|one| one["problem"].as_str().unwrap().len() > 10));
    };
    is_listed(1);
    let shown = runner.run(&["list"]).expect(0);
    shown.says(&[run.id(), "warning: broken: ", "warning: linked: ", "warning: nested: "]);
    runner.exec(&["-j", "40"]).expect(0);
    is_listed(2);
}

#[test]
fn pipe_blocks_no_reader() {
    for name in ["benchmark.json", "index.jsonl", "runner.log", "live.json", "lock"] {
        let (runner, run) = interrupted();
        let _ = fs::remove_file(run.dir.join(name));
        make_pipe(&run.dir.join(name));
        // Opening the pipe as a file would block forever.
        runner.run(&["list"]);
        runner.run(&["show", run.id()]);
        runner.run(&["resume", run.id(), "-j", "40"]);
        runner.exec(&["--json", "-j", "40"]).expect(0);
        let others = runner.list().into_iter().filter(|listed| listed["run"] != run.id());
        let statuses: Vec<_> = others.map(|listed| listed["status"].clone()).collect();
        assert_eq!(statuses, ["completed"], "{name}");
    }
}

fn make_pipe(path: &std::path::Path) {
    finished(Command::new("mkfifo").arg(path)).expect(0);
}

#[test]
fn only_the_lock_shows_live_runs() {
    let runner = naps(40, 200);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(5);
    running.kill();
    let run = runner.only_run();
    // All times are of another year, and the process with this pid is alive.
    let manifest = run.text("benchmark.json");
    let year = manifest.split("\"started_at\":").nth(1).unwrap().trim_start()[1..5].to_owned();
    let mut manifest = run.manifest();
    manifest["sessions"][0]["pid"] = 1.into();
    let manifest = manifest.to_string().replace(&format!("\"{year}-"), "\"2019-");
    run.write("benchmark.json", manifest);
    let listed = &runner.list()[0];
    assert_eq!((&listed["status"], &listed["reason"]), (&json!("incomplete"), &json!("crashed")));
    runner.run(&["resume", "latest", "-j", "40"]).expect(0);
    assert_whole(&runner, 40);
}

#[test]
fn signals_around_the_end_agree() {
    let mut random = Random::new();
    let whole = {
        let (runner, began) = (naps(4, 20), Instant::now());
        runner.exec(&["-j", "2"]).expect(0);
        began.elapsed()
    };
    for _ in 0..times(10, 100) {
        let runner = naps(4, 20);
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_event(|event| event["event"] == "started");
        // The signal comes at a random moment, also at the end.
        thread::sleep(random.up_to(whole));
        let (ran, _) = running.end_by(Signal::INT);
        let ending = runner.only_run().ending();
        match ran.code {
            Some(0) => assert_eq!(ending, ["completed", "", "", "passed"]),
            Some(130) => assert_eq!(ending, ["incomplete", "interrupted", "SIGINT", "none"]),
            _ => panic!("{ran:?}"),
        }
        let finished = ran.events().pop().unwrap();
        assert_eq!(
            (finished["status"].as_str(), finished["exit_code"].as_i64()),
            (Some(&*ending[0]), ran.code.map(i64::from))
        );
        runner.run(&["resume", "latest"]).expect(0);
        assert_whole(&runner, 4);
    }
}
