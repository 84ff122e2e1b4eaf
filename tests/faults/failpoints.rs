//! Writes that fail and processes that die at each place that writes. Release builds have no such places.

#![cfg(debug_assertions)]

use super::{PLACES, TRIALS, go_on, writing_runner};
use crate::support::{
    cases::at_once,
    runner::Runner,
    running::{Finished, Running},
    truth::{assert_consistent, assert_kept, assert_whole},
};

/// Runs the scenario with a fault at the `count`th use of a place.
fn exec_with_fault(runner: &Runner, place: &str, action: &str, count: usize) -> Finished {
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "2"]);
    command.env("RUNNER_FAULT", format!("{place}:{action}:{count}"));
    Running::start(&mut command).finish()
}

/// Fails if an acknowledged row is lost now, or after a resume that completes the run.
#[track_caller]
fn assert_nothing_lost(runner: &Runner, ran: &Finished) {
    assert_consistent(runner);
    let mut acknowledged = ran.acknowledged();
    if !runner.runs().is_empty() {
        assert_kept(&runner.only_run(), &acknowledged);
    }
    acknowledged.extend(go_on(runner).expect(0).acknowledged());
    assert_kept(&assert_whole(runner, TRIALS), &acknowledged);
}

#[test]
fn death_at_any_write_loses_nothing() {
    let mut deaths = 0;
    for place in PLACES {
        for count in 1..=3 {
            let runner = writing_runner();
            let ran = exec_with_fault(&runner, place, "kill", count);
            let is_dead = ran.code.is_none();
            assert!(is_dead || ran.code == Some(0), "{place} {count}: {ran:?}");
            deaths += usize::from(is_dead);
            assert_nothing_lost(&runner, &ran);
        }
    }
    assert!(deaths >= 2 * PLACES.len(), "only {deaths} places were reached");
}

#[test]
fn failed_writes_end_sessions_honestly() {
    let mut failures = 0;
    for place in PLACES {
        for (action, count) in [("error", 1), ("full", 2), ("partial", 3)] {
            let runner = writing_runner();
            let ran = exec_with_fault(&runner, place, action, count);
            // The first passage of each place fails.
            if count == 1 || ran.code != Some(0) {
                assert_eq!(ran.code, Some(7), "{place} {action}: {ran:?}");
                ran.says(&[if action == "error" { "injected" } else { "space" }]);
                failures += 1;
            }
            assert_nothing_lost(&runner, &ran);
        }
    }
    assert!(failures > PLACES.len(), "only {failures} places were reached");
}

/// Runs the scenario with a panic at a place, also in a pause.
fn panicking(runner: &Runner, fault: &str, is_paused: bool) -> Finished {
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "2"]);
    let mut running = Running::start(command.env("RUNNER_FAULT", fault));
    if is_paused {
        running.wait_for_rows(2);
        // The owner does not answer any more.
        runner.run(&["pause", "latest"]);
    }
    running.finish()
}

#[test]
fn panicked_run_can_be_resumed() {
    let cases = [
        // In the coordinator's thread, in the writer's, and while the run is created.
        ("manifest-write:panic:2", true, 70, Some("internal")),
        ("rows-write:panic:2", false, 7, Some("storage")),
        ("manifest-write:panic:1", false, 70, None),
    ];
    at_once(cases, |(fault, is_paused, code, ending)| {
        let runner = Runner::hostile_in_memory(
            "[[tests]]\nid = \"nap\"\nrepeat = 15\ninput = { do = \"sleep\", ms = 500 }\n",
        );
        let ran = panicking(&runner, fault, is_paused).expect(code);
        ran.says(&["panicked"]);
        let mut acknowledged = ran.acknowledged();
        if let Some(reason) = ending {
            let listed = &runner.list()[0];
            assert_eq!([&listed["status"], &listed["reason"]], ["incomplete", reason]);
            assert!(!listed["message"].is_null(), "{listed}");
            assert_eq!(listed["exit_code"], code);
            assert_kept(&runner.only_run(), &acknowledged);
        } else {
            assert!(runner.list().is_empty());
        }
        acknowledged.extend(go_on(&runner).expect(0).acknowledged());
        assert_kept(&assert_whole(&runner, TRIALS), &acknowledged);
    });
}

#[test]
fn panic_before_the_first_row_is_failed() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"loop\"\ntimeout = \"10m\"\ninput = { do = \"loop\" }\n",
    );
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    let mut running = Running::start(command.env("RUNNER_FAULT", "manifest-write:panic:2"));
    running.wait_until_running(&runner, 1);
    runner.run(&["pause", "latest"]);
    running.finish().expect(70).says(&["panicked"]);
    let listed = &runner.list()[0];
    assert_eq!([&listed["status"], &listed["reason"]], ["failed", "internal"]);
    assert_eq!(listed["exit_code"], 70);
    runner.run(&["cleanup", "--yes"]).expect(0);
    assert_eq!(runner.only_run().ending()[..2], ["failed", "internal"]);
}

#[test]
fn torn_logs_belong_to_no_row() {
    // In the middle of a log line, and after it, in the middle of its row.
    for (place, whole_lines) in [("logs-write", 0), ("rows-write", 1)] {
        let runner =
            Runner::hostile_in_memory("[[tests]]\nid = \"logs\"\ninput = { do = \"log\" }\n");
        let ran = exec_with_fault(&runner, place, "kill", 1);
        assert_eq!(ran.code, None);
        let torn = runner.only_run().bytes("logs.jsonl");
        assert!(!torn.is_empty());
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines(&torn), whole_lines, "{place}");
        go_on(&runner).expect(0);
        let run = assert_whole(&runner, 1);
        assert_eq!(lines(&run.bytes("logs.jsonl")), whole_lines + 1, "{place}");
        assert_eq!(run.row("logs")["logs"]["at"], torn.len(), "{place}");
        let logs = runner.run(&["logs", "latest", "logs"]).expect(0);
        assert_eq!(logs.stdout.matches("careful").count(), 1, "{logs:?}");
        assert!(!logs.stderr.contains("lost"), "{logs:?}");
        runner.run(&["verify", "latest"]).expect(0);
    }
}
