//! Ending a run that another process works on: stop, cancel, and signals one after the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    endless::{assert_says, document, endless, passing, running, running_with, spawn, trials},
    runner::{Run, Runner, Running, Signal},
};

/// The design's bound is one second; a debug build on a shared machine gets more.
const BOUND: Duration = Duration::from_secs(5);

/// A run whose process was killed.
fn dead(runner: &Runner) -> Run {
    running(runner).kill();
    runner.runs().pop().unwrap()
}

fn requests(run: &Run) -> Vec<String> {
    let names = fs_err::read_dir(&run.dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("request-"))
        .collect()
}

#[test]
fn stop_ends_the_only_running_run_and_is_idempotent() {
    let runner = endless();
    let live = running(&runner);
    let asked = Instant::now();
    let ran = runner.run(&["stop", "--json"]).expect(0);
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    let run = runner.only_run();
    assert_says(&ran, &run, "stopped", "incomplete", json!("stopped"));
    live.finish().expect(4);
    assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);
    assert_eq!(run.rows().len(), 2);
    assert_eq!(requests(&run), [""; 0]);

    let before = run.read("benchmark.json");
    let ran = runner.run(&["stop", run.id(), "--json"]).expect(0);
    assert_says(
        &ran,
        &run,
        "already_terminal",
        "incomplete",
        json!("stopped"),
    );
    let ran = runner.run(&["stop", run.id()]).expect(0);
    assert!(ran.stdout.contains("already_terminal: "), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("incomplete (stopped), 0 of 3: none done"),
        "{}",
        ran.stdout
    );
    assert_eq!(run.read("benchmark.json"), before);
}

#[test]
fn stop_names_what_it_cannot_choose_or_find() {
    let runner = endless();
    runner
        .run(&["stop"])
        .expect(2)
        .says(&["no run is running in `results`"]);
    runner
        .run(&["stop", "nothing"])
        .expect(2)
        .says(&["no run `nothing` in `results`"]);
    runner.run(&["cancel", "nothing"]).expect(2);
    runner.run(&["wait", "nothing"]).expect(2);
    runner.run(&["logs", "nothing"]).expect(2);

    let both = [running(&runner), running(&runner)];
    let runs = runner.runs();
    runner.run(&["stop"]).expect(2).says(&[
        "several runs are running in `results`",
        runs[0].id(),
        runs[1].id(),
    ]);
    runner.run(&["cancel"]).expect(2);
    runner.run(&["stop", runs[0].id()]).expect(0);
    runner.run(&["stop"]).expect(0);
    for live in both {
        live.finish().expect(4);
    }
}

#[test]
fn stop_of_a_run_whose_process_has_died_sweeps_it() {
    let runner = endless();
    let run = dead(&runner);
    runner.run(&["stop"]).expect(2).says(&["no run is running"]);
    assert_eq!(run.ending()[0], "running");

    let ran = runner.run(&["stop", "latest", "--json"]).expect(0);
    assert_says(
        &ran,
        &run,
        "already_terminal",
        "incomplete",
        json!("crashed"),
    );
    assert_eq!(run.ending(), ["incomplete", "crashed", "", "none"]);
}

#[test]
fn two_stops_at_once_are_answered_both() {
    let runner = endless();
    let live = running(&runner);
    let stops = [(); 2].map(|()| spawn(&runner, &["stop", "latest", "--json"]));
    let results = stops.map(|stop| document(&stop.finish().expect(0))["status"].clone());
    assert_eq!(results, ["incomplete", "incomplete"]);
    live.finish().expect(4);
    assert_eq!(
        runner.only_run().manifest()["transitions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_drained_run_finishes_what_is_in_flight() {
    let runner = Runner::hostile(&trials(5, r#"{ do = "sleep", ms = 2500 }"#));
    let live = running(&runner);
    let ran = runner.run(&["stop", "--drain", "--json"]).expect(0);
    let run = runner.only_run();
    assert_says(&ran, &run, "stopped", "incomplete", json!("stopped"));
    live.finish().expect(4);
    let rows = run.rows();
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().all(|row| row["outcome"] == "passed"),
        "{rows:?}"
    );
}

#[test]
fn a_stop_that_comes_after_a_drain_is_stronger() {
    let runner = endless();
    let live = running(&runner);
    let drain = spawn(&runner, &["stop", "--drain"]);
    runner.run(&["stop"]).expect(0);
    drain.finish().expect(0);
    live.finish().expect(4);
}

#[test]
fn kill_waits_for_no_grace() {
    let runner = endless();
    let live = running_with(&runner, &["--grace", "10m"]);
    let asked = Instant::now();
    let ran = runner.run(&["stop", "--kill", "--json"]).expect(0);
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    assert_says(
        &ran,
        &runner.only_run(),
        "stopped",
        "incomplete",
        json!("stopped"),
    );
    live.finish().expect(4);
}

#[test]
fn a_run_that_does_not_answer_is_no_success_and_sees_the_request_later() {
    let runner = endless();
    let live = running(&runner);
    live.signal(Signal::STOP);
    let ran = runner.run(&["stop", "--kill", "--json"]).expect(6);
    let run = runner.only_run();
    assert_says(&ran, &run, "no_answer", "running", Value::Null);
    ran.says(&["has not answered"]);
    runner
        .run(&["resume", "--from", run.id()])
        .expect(6)
        .says(&["is being worked on", "pid "]);

    live.signal(Signal::CONT);
    live.finish().expect(4);
    assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);
}

#[test]
fn a_run_that_dies_instead_of_answering_is_swept_and_dropped_if_that_was_asked() {
    for (command, status, reason) in [
        ("stop", "incomplete", "crashed"),
        ("cancel", "cancelled", "cancelled"),
    ] {
        let runner = endless();
        let live = running(&runner);
        live.signal(Signal::STOP);
        let mut asking = spawn(&runner, &[command, "--json"]);
        let run = runner.only_run();
        while requests(&run).is_empty() {
            assert!(asking.is_alive());
        }
        live.kill();
        let result = if command == "stop" {
            "stopped"
        } else {
            "cancelled"
        };
        let ran = asking.finish().expect(0);
        assert_says(&ran, &run, result, status, json!(reason));
        assert_eq!(run.ending(), [status, reason, "", "none"]);
        assert_eq!(requests(&run), [""; 0]);
    }
}

#[test]
fn a_cancelled_run_goes_on_only_by_force() {
    let runner = endless();
    let live = running(&runner);
    let ran = runner.run(&["cancel", "--json"]).expect(0);
    let run = runner.only_run();
    assert_says(&ran, &run, "cancelled", "cancelled", json!("cancelled"));
    live.finish().expect(4);
    assert_eq!(run.ending(), ["cancelled", "cancelled", "", "none"]);

    let ran = runner.run(&["cancel", run.id(), "--json"]).expect(0);
    assert_says(
        &ran,
        &run,
        "already_terminal",
        "cancelled",
        json!("cancelled"),
    );
    runner.run(&["stop", run.id()]).expect(0);
    runner.run(&["wait", run.id()]).expect(4);
    let before = run.read("benchmark.json");
    let ran = runner.run(&["resume", "--from", run.id()]).expect(2);
    ran.says(&["was cancelled", "--force"]);
    assert_eq!(run.read("benchmark.json"), before);
    runner
        .run(&["resume", "--from", run.id(), "--force", "--dry-run"])
        .expect(0);
}

#[test]
fn cancel_drops_what_was_cut_short_and_refuses_what_is_complete() {
    let runner = endless();
    running(&runner).end_by(Signal::INT).0.expect(130);
    let dead = dead(&runner);
    for run in runner.runs() {
        let ran = runner.run(&["cancel", run.id(), "--json"]).expect(0);
        assert_says(&ran, &run, "cancelled", "cancelled", json!("cancelled"));
    }
    let transitions = dead.manifest()["transitions"].clone();
    let to: Vec<_> = transitions
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["to"])
        .collect();
    assert_eq!(to, ["running", "incomplete", "cancelled"]);

    let runner = passing();
    runner.exec(&[]).expect(0);
    let before = runner.only_run().read("benchmark.json");
    runner
        .run(&["cancel", "latest"])
        .expect(2)
        .says(&["is completed"]);
    assert_eq!(runner.only_run().read("benchmark.json"), before);
}

#[test]
fn a_second_signal_waits_for_no_grace() {
    let runner = endless();
    let mut live = running_with(&runner, &["--grace", "10m"]);
    live.signal(Signal::INT);
    live.wait_for(|event| event["event"] == "stopping");
    let (ran, took) = live.end_by(Signal::INT);
    assert!(took < BOUND, "{took:?}");
    ran.expect(130);
    let run = runner.only_run();
    assert_eq!(
        run.ending(),
        ["incomplete", "interrupted", "SIGINT", "none"]
    );
    assert_eq!(run.rows().len(), 2);
}

#[test]
fn a_third_signal_ends_the_process_where_it_is() {
    // Guests that cannot be interrupted, and so keep the second signal from being answered at once.
    let runner = Runner::hostile(&trials(2, r#"{ do = "fill-memory" }"#));
    let mut live = runner.start(&["--grace", "10m"]);
    live.wait_for(|event| event["running"].as_u64() > Some(0));
    for signal in [Signal::INT, Signal::TERM] {
        live.signal(signal);
        live.wait_for(|event| event["event"] == "stopping");
    }
    let (ran, took) = live.end_by(Signal::HUP);
    assert!(took < BOUND, "{took:?}");
    assert_eq!(runner.list(&[])[0]["status"], "incomplete");
    // On a busy machine the second signal is answered first.
    assert!(matches!(ran.code, Some(129 | 143)), "{ran:?}");
}

#[test]
fn a_run_under_nohup_does_not_hear_of_the_end_of_its_terminal() {
    let runner = Runner::hostile(&trials(2, r#"{ do = "sleep", ms = 2500 }"#));
    let script = "trap '' HUP; exec $runner exec scenario.toml --json -j 2";
    let mut live = Running::spawn(runner.shell(script));
    live.wait_until_running(2);
    live.end_by(Signal::HUP).0.expect(0);
}
