//! The time of day changes during a run. Release builds always use the real one.

#![cfg(debug_assertions)]

use std::time::SystemTime;

use serde_json::Value;

use crate::messages::outputs::snapshot;
use crate::support::{
    cases::at_once,
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::{assert_consistent, assert_whole},
    wait::{wait_for, wait_until},
};

const HOUR: i64 = 3_600_000;
/// Longer than any test, in milliseconds.
const LONG: u64 = 600_000;

/// Creates trials that sleep, and a trial that is retried after a backoff.
fn runner() -> Runner {
    let again = tests("again | { do = \"fail-until\", attempt = 3 } |");
    Runner::hostile_in_memory(&format!(
        "[defaults]\nretries = {{ max = 2, backoff = \"300ms\" }}\ntimeout = \"30s\"\n{again}[[tests]]\nid = \"nap\"\nrepeat = 14\ninput = {{ do = \"sleep\", ms = 500 }}\n"
    ))
}

/// Starts the scenario with a clock that [`set`] can change.
fn start(runner: &Runner, args: &[&str]) -> Running {
    set(runner, 0);
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    command.args(args).env("RUNNER_TEST_CLOCK", runner.path("clock"));
    Running::start(&mut command)
}

fn set(runner: &Runner, later: i64) {
    runner.write("new-clock", later.to_string());
    std::fs::rename(runner.path("new-clock"), runner.path("clock")).unwrap();
}

/// Fails if a time goes back, or a duration depends on the time of day.
#[track_caller]
fn assert_times(runner: &Runner, run: &Run) {
    let manifest = run.manifest();
    let mut times = vec![manifest["started_at"].clone()];
    let changes = manifest["transitions"].as_array().unwrap();
    times.extend(changes.iter().map(|change| change["at"].clone()));
    times.push(manifest["completed_at"].clone());
    let times: Vec<_> = times.iter().map(|time| time.as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let session = &manifest["sessions"][0];
    assert!(session["ended_at"].as_str() >= session["started_at"].as_str());
    for pause in session["pauses"].as_array().into_iter().flatten() {
        assert!(pause["to"].as_str() >= pause["from"].as_str(), "{pause}");
    }
    let listed = &runner.list()[0];
    for worked in [&session["worked_ms"], &listed["worked_ms"]] {
        let worked = worked.as_f64();
        assert!(worked > Some(0.0) && worked < Some(LONG as f64), "{worked:?}");
    }
}

#[test]
fn time_of_day_decides_nothing() {
    at_once([(5 * HOUR, -5 * HOUR), (-5 * HOUR, 48 * HOUR)], |(first, then)| {
        let runner = runner();
        let mut running = start(&runner, &["-j", "2", "--timeout", "5m"]);
        running.wait_for_rows(2);
        set(&runner, first);
        let pause = ["pause", "latest"];
        runner.run(&pause).expect(0);
        set(&runner, then);
        let shown = runner.list()[0]["worked_ms"].as_f64();
        assert!(shown < Some(LONG as f64), "{shown:?}");
        runner.run(&["unpause", "latest"]).expect(0);
        running.wait_for_rows(8);
        set(&runner, first);
        let ran = running.finish().expect(0);
        let run = assert_whole(&runner, 15);
        let rows = run.rows();
        // One trial has three attempts, all others have one.
        assert_eq!(rows.len(), 17);
        let duration = |row: &Value| row["duration_ms"].as_f64().unwrap() as u64;
        assert!(rows.iter().all(|row| duration(row) < LONG));
        assert_times(&runner, &run);
        let took = ran.events().pop().unwrap()["took_ms"].as_f64();
        assert!(took < Some(LONG as f64), "{took:?}");
    });
}

#[test]
fn time_of_day_ends_no_run() {
    let runner = Runner::hostile_in_memory(&tests("a | { do = \"loop\" } |"));
    // Compiles the guest, which would count.
    runner.run(&["validate", "scenario.toml"]).expect(0);
    // A busy machine may need longer to start the attempt.
    let is_late = ["3s", "12s", "1m"].iter().any(|timeout| {
        let mut running = start(&runner, &["--timeout", timeout]);
        let is_running = wait_for("the attempt runs, or the run has ended", || {
            let is_running = runner.runs().pop().is_some_and(|run| {
                run.newest_process() == Some(running.process().0)
                    && run.in_flight(SystemTime::UNIX_EPOCH).len() == 1
            });
            (is_running || !running.is_alive()).then_some(is_running)
        });
        set(&runner, -5 * HOUR);
        running.finish().expect(4);
        assert_eq!(runner.runs().pop().unwrap().ending()[..2], ["incomplete", "timeout"]);
        is_running
    });
    assert!(is_late, "a minute is enough");
    let mut running = start(&runner, &["--timeout", "5m"]);
    running.wait_until_running(&runner, 1);
    set(&runner, 5 * HOUR);
    runner.run(&["stop"]).expect(0);
    running.finish().expect(4);
    assert_eq!(runner.runs().pop().unwrap().ending()[..2], ["incomplete", "stopped"]);
}

#[test]
fn killed_run_shows_the_time_of_its_rows() {
    let runner = runner();
    let mut running = start(&runner, &["-j", "2"]);
    running.wait_for_rows(2);
    let run = runner.only_run();
    wait_until("its work is noted", || run.dir.join("live.json").exists());
    running.kill();
    let mut live: Value = serde_json::from_slice(&run.bytes("live.json")).unwrap();
    live["at"] = run.manifest()["sessions"][0]["started_at"].clone();
    live["worked_ms"] = 0.into();
    run.write("live.json", live.to_string());
    let worked = runner.list()[0]["worked_ms"].as_f64();
    assert!(worked > Some(0.0) && worked < Some(LONG as f64), "{worked:?}");
}

#[test]
fn death_at_another_time_is_listed() {
    at_once([5 * HOUR, -5 * HOUR], |later| {
        let runner = runner();
        let mut running = start(&runner, &["-j", "2"]);
        running.wait_for_rows(2);
        set(&runner, later);
        let run = runner.only_run();
        wait_until("its work is noted", || run.dir.join("live.json").exists());
        running.kill();
        assert_consistent(&runner);
        runner.run(&["cleanup", "--yes"]).expect(0);
        assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
        assert_times(&runner, &run);
        runner.run(&["resume", "-j", "14"]).expect(0);
        assert_whole(&runner, 15);
    });
}

#[test]
fn run_of_a_fast_clock_is_not_latest_for_ever() {
    let runner = Runner::new(&[]);
    let list = tests("a | 1 | equals = 1");
    runner.scenario(&format!("[providers.e]\nplugin = \"bundled:echo\"\n{list}"));
    set(&runner, 5 * HOUR);
    let mut ahead = runner.command(&["exec", "scenario.toml", "-q"]);
    Running::start(ahead.env("RUNNER_TEST_CLOCK", runner.path("clock"))).finish().expect(0);
    let ahead = runner.only_run();
    runner.scenario(
        &format!("[providers.e]\nplugin = \"bundled:echo\"\n{list}\n")
            .replace("equals = 1", "equals = 2"),
    );
    let caution = "which is in the future: a clock was or is wrong";
    let ran = runner.run(&["exec", "scenario.toml"]).expect(1);
    // The run before is the one that was recorded before.
    snapshot(&ran);
    ran.says(&[caution]);
    let newest = runner.runs().into_iter().find(|run| run.id() != ahead.id()).unwrap();
    let ids: Vec<_> = runner.list().into_iter().map(|run| run["run"].clone()).collect();
    assert_eq!(ids, [newest.id(), ahead.id()]);
    let ran = runner.run(&["show", "--json"]).expect(0);
    assert_eq!(ran.document()["run"]["run"], newest.id());
    runner.run(&["show", "latest~1"]).expect(0).says(&[ahead.id(), caution]);
    let shown = runner.run(&["show", "latest"]).expect(0);
    assert!(!shown.stderr.contains("clock"), "{}", shown.stderr);
    runner.run(&["list"]).expect(0).says(&[ahead.id(), caution]);
    let ran = runner.run(&["history", "--json"]).expect(0);
    assert_eq!(ran.document()["runs"][1]["run"], newest.id());
    let ran = runner.run(&["compare", "--json"]).expect(0).document();
    assert_eq!([&ran["base"]["run"], &ran["new"]["run"]], [ahead.id(), newest.id()]);
    runner.run(&["exec", "scenario.toml", "--last-failed", "-q"]).expect(1);
    runner.run(&["prune", "--keep-last", "1", "--yes"]).expect(0);
    assert_eq!(runner.only_run().manifest()["number"], 3);
}
