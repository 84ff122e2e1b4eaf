//! Coordinators and workers that are killed at random times.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{PLACES, go_on};
use crate::support::{
    random::{Random, times},
    runner::{Runner, tests},
    running::{Finished, Running},
    truth::{assert_consistent, assert_kept, assert_whole},
    wait::{STOP_WITHIN, wait_until},
};

const TRIALS: usize = 100;

/// Many short trials.
fn short() -> Runner {
    let repeat = TRIALS - 3;
    let list = tests(
        r#"
        fails | { do = "echo", value = 1 } | equals = 2
        traps | { do = "trap" } |
        comes | { do = "fail-until", attempt = 2 } |
        "#,
    );
    Runner::hostile_in_memory(&format!(
        "[defaults]\nretries = {{ max = 1 }}\n[[tests]]\nid = \"short\"\nrepeat = {repeat}\ninput = {{ do = \"sleep\", ms = 2 }}\n{list}"
    ))
}

/// Returns the duration of such a run from start to end.
fn whole() -> Duration {
    let runner = short();
    // The first run compiles the guest.
    runner.exec(&["--test", "fails"]).expect(1);
    let began = Instant::now();
    runner.exec(&["-j", "2"]).expect(1);
    began.elapsed()
}

fn is_row(row: &Value, outcome: &str, code: &str) -> bool {
    row["outcome"] == outcome && row["error"]["code"] == code
}

/// Waits for up to `most`, which may be too short or too long on a machine that has other work now, or for up to `rows` rows.
/// The program may end before.
#[track_caller]
fn wait_at_random(running: &mut Running, random: &mut Random, most: Duration, rows: usize) {
    if random.below(2) == 0 {
        // The kill comes at a random moment.
        thread::sleep(random.up_to(most));
        return;
    }
    let count = 1 + random.below(rows);
    wait_until("there are rows", || running.row_count() >= count || !running.is_alive());
}

/// Starts or resumes the run, and kills its coordinator within `most`, after up to `rows` rows, or at one of these places. It
/// may end before.
#[track_caller]
fn killed_session(
    runner: &Runner,
    random: &mut Random,
    most: Duration,
    rows: usize,
    places: &[&str],
) -> Finished {
    let args: &[&str] = if runner.runs().is_empty() {
        &["exec", "scenario.toml", "--json", "-j", "2"]
    } else {
        &["resume", "latest", "--json", "-j", "2"]
    };
    let mut command = runner.command(args);
    let ran = if random.below(2) == 0 {
        let mut running = Running::start(&mut command);
        wait_at_random(&mut running, random, most, rows);
        running.kill()
    } else {
        // As if killed in the middle of a write, which a signal seldom hits.
        let (place, count) = (places[random.below(places.len())], 1 + random.below(12));
        command.env("RUNNER_FAULT", format!("{place}:kill:{count}"));
        Running::start(&mut command).finish()
    };
    assert!(ran.code.is_none() || ran.code == Some(1), "{ran:?}");
    ran
}

#[test]
fn killed_coordinators_lose_no_row() {
    let (whole, mut random) = (whole(), Random::new());
    let (kills, mut done, mut with_rows) = (times(10, 600), 0, 0);
    while done < kills {
        let runner = short();
        let mut acknowledged = Vec::new();
        // Some runs are killed again during the resume.
        for session in 0.. {
            let ran = killed_session(&runner, &mut random, whole, TRIALS, &PLACES);
            let is_dead = ran.code.is_none();
            let told = ran.acknowledged();
            done += usize::from(is_dead);
            with_rows += usize::from(!told.is_empty());
            acknowledged.extend(told);
            assert_consistent(&runner);
            for run in runner.runs() {
                assert_kept(&run, &acknowledged);
            }
            if session == 2 || done == kills || random.below(3) > 0 {
                break;
            }
        }
        acknowledged.extend(go_on(&runner).expect(1).acknowledged());
        let run = assert_whole(&runner, TRIALS);
        assert_kept(&run, &acknowledged);
        let counts = ["passed", "failed", "error"].map(|outcome| run.count(outcome));
        assert_eq!(counts, [TRIALS as u64 - 2, 1, 1]);
    }
    assert!(with_rows >= kills / 10, "only {with_rows} of {kills} kills came after a row");
}

/// Trials that two graders judge.
fn graded(trials: usize) -> Runner {
    Runner::hostile_in_memory(&format!(
        r#"
        [graders.first]
        plugin = "hostile.wasm"
        input = {{ do = "echo", value = {{ verdict = "pass" }} }}
        [graders.second]
        plugin = "hostile.wasm"
        input = {{ do = "echo", value = {{ verdict = "fail" }} }}
        [[tests]]
        id = "a"
        repeat = {trials}
        input = {{ do = "echo", value = 1 }}
        expect = {{ graders = ["first", "second"] }}
        "#
    ))
}

#[test]
fn killed_coordinators_ask_no_grader_twice() {
    let mut random = Random::new();
    let (kills, trials, mut done, mut ungraded) = (times(6, 300), 20, 0, 0);
    let whole = {
        let runner = graded(trials);
        let started = Instant::now();
        runner.exec(&["-j", "2"]).expect(1);
        started.elapsed()
    };
    // At least one kill leaves grades to ask for.
    while done < kills || ungraded == 0 && done < 100 {
        let runner = graded(trials);
        let mut acknowledged = Vec::new();
        loop {
            let places = ["rows-write", "rows-sync"];
            let ran = killed_session(&runner, &mut random, whole, 2 * trials, &places);
            let is_dead = ran.code.is_none();
            done += usize::from(is_dead);
            acknowledged.extend(ran.acknowledged());
            assert_consistent(&runner);
            for run in runner.runs() {
                assert_kept(&run, &acknowledged);
                let rows = run.rows();
                let finals = rows.iter().filter(|row| row["final"] == true).count();
                let outputs = rows.iter().filter(|row| row["judged"].is_null()).count();
                ungraded += usize::from(is_dead && finals < outputs);
            }
            if !is_dead || done >= kills || random.below(3) == 0 {
                break;
            }
        }
        acknowledged.extend(go_on(&runner).expect(1).acknowledged());
        let run = assert_whole(&runner, trials);
        assert_kept(&run, &acknowledged);
        assert_eq!(run.count("failed"), trials as u64);
        for repeat in 1..=trials {
            let mut rows = run.rows();
            rows.retain(|row| row["repeat"] == repeat);
            let of_provider = rows.iter().filter(|row| row["judged"].is_null()).count();
            assert_eq!(of_provider, 1, "the provider of trial {repeat} runs once");
            for grader in 0..2 {
                // A grader that was called twice took another time.
                let grades = rows.iter().filter_map(|row| row["grades"].get(grader));
                let grades: BTreeSet<_> = grades.map(Value::to_string).collect();
                assert_eq!(grades.len(), 1, "trial {repeat}, grader {grader}: {grades:?}");
            }
        }
        runner.run(&["verify"]).expect(0);
    }
    assert!(ungraded > kills / 11, "only {ungraded} of {kills} kills left grades to ask for");
}

#[test]
fn killed_workers_lose_no_trial() {
    let (whole, mut random) = (whole(), Random::new());
    let (kills, mut done, mut lost) = (times(10, 600), 0, 0);
    // At least one kill meets an attempt.
    while done < kills || lost == 0 && done < 100 {
        let runner = short();
        let mut running = runner.start(&["-j", "2"]);
        wait_at_random(&mut running, &mut random, whole, TRIALS);
        let workers = running.workers();
        if workers.is_empty() {
            continue;
        }
        workers[random.below(workers.len())].signal(Signal::KILL);
        done += usize::from(running.is_alive());
        running.finish().expect(1);
        let run = assert_whole(&runner, TRIALS);
        let counts = ["passed", "failed", "error", "flaky"].map(|outcome| run.count(outcome));
        let errors: Vec<_> =
            run.rows().into_iter().filter(|row| row["outcome"] == "error").collect();
        let expected = [TRIALS as u64 - 2, 1, 1, 1];
        assert_eq!(counts, expected, "a death of a worker is not a result: {errors:#?}");
        lost += run.rows().iter().filter(|row| is_row(row, "stopped", "lost")).count();
        assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);
    }
    assert!(lost > 0, "no kill has met an attempt");
}

#[test]
fn guest_that_kills_workers_is_crash() {
    let list = tests(
        r#"
        killer | { do = "sleep" } |
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "sleep", ms = 30 } |
        "#,
    );
    let runner = Runner::hostile_in_memory(&format!("[defaults]\ntimeout = \"10m\"\n{list}"));
    let mut running = runner.start(&["-j", "1"]);
    let (mut killed, mut last) = (0, None);
    while running.is_alive() {
        let attempt = || {
            let run = runner.runs().pop()?;
            let attempts = run.in_flight(SystemTime::UNIX_EPOCH).into_iter();
            let mut attempts = attempts.filter(|(trial, _)| trial == "killer@hostile#1");
            attempts.next().map(|(_, attempt)| attempt)
        };
        wait_until("it runs", || !running.is_alive() || attempt() > last);
        last = attempt();
        for worker in running.workers() {
            worker.signal(Signal::KILL);
            killed += 1;
        }
        assert!(killed < 10, "it is made again and again");
    }
    running.finish().expect(1);
    let run = assert_whole(&runner, 3);
    let row = run.row("killer");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("crash")),
        "{row}"
    );
    for test in ["a", "b"] {
        assert_eq!(run.row(test)["outcome"], "passed");
    }
}

#[test]
fn no_worker_outlives_its_coordinator() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"spin\"\nrepeat = 4\ntimeout = \"10m\"\ninput = { do = \"loop\" }\n",
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let workers = running.workers();
    // Each core has a worker.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(workers.len(), cores.min(2));
    running.kill();
    let killed = Instant::now();
    wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
    assert!(killed.elapsed() < STOP_WITHIN, "{:?}", killed.elapsed());
    assert_consistent(&runner);
    // The lock is free immediately.
    let mut again = runner.started(&["resume", "latest", "--json", "-j", "2"]);
    again.wait_until_running(&runner, 2);
    again.end_by(Signal::INT).0.expect(130);
    let stopped = runner.only_run().rows();
    assert!(stopped.iter().all(|row| row["outcome"] == "stopped"), "{stopped:?}");
}

/// Creates folders in each other. More than a path may have are made by the unit tests.
fn nest(folder: &Path) {
    fs::create_dir_all(folder.join("d/".repeat(500))).unwrap();
}

#[test]
fn deep_temporary_folders_are_removed() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\", ms = 300000 }\ntimeout = \"10m\"\n",
    );
    let temporary = runner.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let start = |args: &[&str]| Running::start(runner.command(args).env("TMPDIR", &temporary));
    let left = || fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).next();
    // The worker dies, so only the session can remove its folder.
    let mut running = start(&["exec", "scenario.toml", "--json"]);
    running.wait_until_running(&runner, 1);
    nest(&left().unwrap().join("worker-1"));
    running.workers().iter().for_each(|worker| worker.signal(Signal::KILL));
    running.end_by(Signal::INT).0.expect(130);
    assert_eq!(left(), None);
    // The session dies, too.
    for upkeep in ["cleanup", "prune"] {
        let mut running = start(&["exec", "scenario.toml", "--json"]);
        running.wait_until_running(&runner, 1);
        nest(&left().unwrap().join("worker-1"));
        running.kill();
        let lock = fs::File::open(left().unwrap().join("lock")).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        start(&[upkeep]).finish().expect(0);
        assert!(left().is_some(), "it was only shown");
        start(&[upkeep, "--yes"]).finish().expect(0);
        assert_eq!(left(), None);
    }
}

#[test]
fn killed_sessions_leave_no_temporary_files() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\", ms = 300000 }\ntimeout = \"10m\"\n",
    );
    let temporary = runner.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let start = || {
        let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
        Running::start(command.env("TMPDIR", &temporary))
    };
    let left = || -> Vec<_> {
        let entries = fs::read_dir(&temporary).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut killed = start();
    killed.wait_until_running(&runner, 1);
    killed.kill();
    let folders = left();
    let [folder] = &*folders else {
        panic!("{folders:?}");
    };
    // A new folder may belong to a process that is about to take its lock.
    let lock = fs::File::open(folder.join("lock")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    lock.set_modified(long_ago).unwrap();
    let mut next = start();
    next.wait_until_running(&runner, 1);
    wait_until("it is removed", || !folder.exists());
    next.end_by(Signal::INT).0.expect(130);
    assert!(left().is_empty(), "{:?}", left());
}
