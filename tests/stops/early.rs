//! Signals in the first moments of a session, and between two sessions of one process.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::support::{
    guests,
    random::{Random, times},
    runner::Runner,
    running::{Finished, Running},
    truth::assert_consistent,
    wait::wait_until,
};

/// Longer than a session takes to start.
const START: Duration = Duration::from_millis(400);
const WAITS: [&str; 4] = ["exec", "scenario.toml", "--exclusive", "--wait"];

/// Creates an endless scenario, and a short one, `short.toml`.
fn endless() -> Runner {
    let runner = Runner::endless(2, "sleep", "");
    runner.write(
        "short.toml",
        "[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\", ms = 1 }\n[providers.hostile]\nplugin = \"hostile.wasm\"\n",
    );
    runner
}

/// Starts the endless scenario, and ends it once it runs.
fn interrupted() -> Runner {
    let runner = endless();
    let mut running = runner.started(&["exec", "scenario.toml", "-j", "2"]);
    running.wait_until_running(&runner, 2);
    running.end_by(Signal::INT).0.expect(130);
    runner
}

/// Starts a session that waits for another one, then ends that one.
fn after_waiting(runner: &Runner, signal_at: &str) -> Running {
    let mut other = runner.started(&["exec", "scenario.toml", "-j", "2"]);
    other.wait_until_running(runner, 2);
    let mut command = runner.command(&WAITS);
    let waiting = Running::start(command.env("RUNNER_TEST_SIGNAL", signal_at));
    wait_until("it waits", || {
        let runs = runner.runs();
        runs.len() == 2 && runs.iter().any(|run| run.text("runner.log").contains(" waits: "))
    });
    other.end_by(Signal::INT).0.expect(130);
    waiting
}

/// Fails unless the session ended by SIGTERM, and each run of it is interrupted.
#[track_caller]
fn assert_interrupted(runner: &Runner, ran: &Finished, what: &str) {
    assert_eq!(ran.code, Some(143), "{what}: {ran:?}");
    let last = runner.runs().pop().unwrap();
    assert_eq!(last.ending(), ["incomplete", "interrupted", "SIGTERM", "none"], "{what}");
    assert_consistent(runner);
}

#[cfg(debug_assertions)]
#[test]
fn signals_in_all_gaps_reach_the_session() {
    for (gap, args) in [
        ("listen", &["exec", "scenario.toml"][..]),
        ("create", &["exec", "scenario.toml"]),
        ("listen", &["exec", "scenario.toml", "--exclusive", "--wait"]),
        ("listen", &["exec", "scenario.toml", "short.toml"]),
        // Each scenario is validated first.
        ("checked", &["exec", "scenario.toml", "short.toml"]),
        ("listen:3", &["exec", "scenario.toml", "short.toml"]),
    ] {
        let runner = endless();
        let mut command = runner.command(args);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", gap)).finish();
        ran.expect(143);
        assert!(runner.runs().is_empty(), "{args:?} leaves a run after a signal at {gap}");
    }
    for (gap, args) in [
        ("checked:2", &["exec", "scenario.toml", "short.toml"][..]),
        ("next", &["exec", "scenario.toml", "short.toml"]),
        ("next:2", &["exec", "short.toml", "scenario.toml"]),
    ] {
        let runner = endless();
        let mut command = runner.command(args);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", gap)).finish();
        assert_interrupted(&runner, &ran, gap);
    }
}

#[cfg(debug_assertions)]
#[test]
fn signal_after_a_claim_reaches_the_session() {
    let runner = interrupted();
    let mut command = runner.command(&["resume"]);
    let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", "claimed")).finish();
    assert_interrupted(&runner, &ran, "claimed");
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 2);
}

#[cfg(debug_assertions)]
#[test]
fn signal_after_waiting_reaches_the_session() {
    let runner = endless();
    let ran = after_waiting(&runner, "waited").finish();
    assert_interrupted(&runner, &ran, "waited");
}

#[cfg(debug_assertions)]
#[test]
fn early_signal_ends_a_single_call() {
    let runner = endless();
    for place in ["listen", "describe", "call"] {
        let mut command =
            runner.command(&["plugin", "run", "hostile.wasm", "--input", r#"{"do":"loop"}"#]);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", place)).finish();
        assert_eq!(ran.code, Some(143), "{place}: {ran:?}");
        let mut command = runner.command(&["plugin", "inspect", "hostile.wasm"]);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", place)).finish();
        // The call that describes the plugin is over at the last place.
        let code = if place == "call" { 0 } else { 143 };
        assert_eq!(ran.code, Some(code), "{place}: {ran:?}");
    }
}

/// Sends SIGTERM after up to `most`. A process that has not taken signals over ends by it, without a new run.
#[track_caller]
fn end_at_random(runner: &Runner, running: Running, random: &mut Random, most: Duration) {
    let runs = runner.runs().len();
    // The signal comes at a random moment.
    thread::sleep(random.up_to(most));
    let ran = running.end_by(Signal::TERM).0;
    match ran.code {
        None => assert_eq!(runner.runs().len(), runs, "{ran:?}"),
        code => assert_eq!(code, Some(143), "{ran:?}"),
    }
    for run in runner.list() {
        assert_eq!([&run["status"], &run["reason"]], ["incomplete", "interrupted"], "{run}");
    }
}

#[test]
fn no_early_signal_is_swallowed() {
    let mut random = Random::new();
    let resumed = interrupted();
    for round in 0..times(2, 200) {
        for args in [
            &["exec", "scenario.toml"][..],
            &["exec", "scenario.toml", "--exclusive", "--wait"],
            &["exec", "scenario.toml", "short.toml"],
        ] {
            let runner = endless();
            let running = runner.started(args);
            end_at_random(&runner, running, &mut random, START);
        }
        let running = resumed.started(&["resume"]);
        end_at_random(&resumed, running, &mut random, START);
        // This takes longer.
        if round % 2 == 0 {
            let runner = endless();
            let running = after_waiting(&runner, "");
            end_at_random(&runner, running, &mut random, START / 4);
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn signal_after_the_result_keeps_its_exit_code() {
    let test = "[[tests]]\nid = \"a\"\ninput = { do = \"trap\" }\n";
    let runner = Runner::hostile(test);
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    // While the run is read for the annotations of a CI job.
    command.env("GITHUB_ACTIONS", "true").env("RUNNER_TEST_SIGNAL", "exit");
    let ran = Running::start(&mut command).finish().expect(1);
    assert_eq!(ran.events().pop().unwrap()["exit_code"], 1);
    assert!(!ran.stderr.contains("::error"), "no signal came: {ran:?}");
    // While the report is written, the exit code is not known: the report may be lost.
    let runner = Runner::hostile(&format!("[report]\njunit = \"report.xml\"\n{test}"));
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", "exit")).finish().expect(7);
    assert_ne!(ran.events().pop().unwrap()["event"], "finished");
    let run = runner.only_run();
    assert!(!run.dir.join("report.xml").exists(), "no signal came");
    ran.says(&["not all reports of run", &format!("runner resume {}", run.id())]);
    assert_eq!(runner.list()[0]["exit_code"], 7);
    runner.run(&["resume", run.id()]).expect(1).says(&["report: "]);
    assert_eq!(runner.list()[0]["exit_code"], 1);
}

#[cfg(debug_assertions)]
#[test]
fn signal_after_a_plugin_ends_planning() {
    // The problem is found while the records are planned, so a late stop would print it.
    let runner = Runner::new(&[]);
    runner.link(&guests::list(), "list.wasm");
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[[test_lists]]\nplugin = \"list.wasm\"\nconfig = { do = \"count\", count = 3 }\nid = \"{{row.missing}}\"\n",
    );
    for args in [
        &["validate", "scenario.toml"][..],
        &["exec", "scenario.toml"],
        &["exec", "scenario.toml", "--dry-run"],
    ] {
        runner.run(args).expect(2).says(&["row.missing"]);
        let mut command = runner.command(args);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", "records")).finish();
        assert!(!ran.stderr.contains("row.missing"), "{args:?} planned all: {ran:?}");
        ran.expect(143);
    }
}
