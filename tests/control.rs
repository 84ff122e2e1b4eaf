//! Commands that act on a run that another process works on: stop, cancel, wait, logs; and runs in the background.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::runner::{Ran, Run, Runner, Running, Signal, tests};

/// The design's bound is one second; a debug build on a shared machine gets more.
const BOUND: Duration = Duration::from_secs(5);

/// A scenario of `count` trials that do `what`.
fn trials(count: usize, what: &str) -> String {
    format!("[[tests]]\nid = \"guest\"\nrepeat = {count}\ntimeout = \"10m\"\ninput = {what}\n")
}

fn endless() -> Runner {
    Runner::hostile(&trials(3, r#"{ do = "loop" }"#))
}

fn passing() -> Runner {
    Runner::hostile(&tests("one | { do = \"echo\", value = 1 } |"))
}

/// Starts a run, two attempts of which are being executed.
#[track_caller]
fn running(runner: &Runner) -> Running {
    running_with(runner, &[])
}

#[track_caller]
fn running_with(runner: &Runner, args: &[&str]) -> Running {
    let mut live = runner.start(&[&["-j", "2"], args].concat());
    live.wait_until_running(2);
    live
}

/// A run whose process was killed.
fn dead(runner: &Runner) -> Run {
    running(runner).kill();
    runner.runs().pop().unwrap()
}

/// What `stop --json` or `cancel --json` says.
#[track_caller]
fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

#[track_caller]
fn assert_says(ran: &Ran, run: &Run, result: &str, status: &str, reason: Value) {
    let expected = json!({
        "v": 1, "run": run.id(), "result": result, "status": status, "reason": reason
    });
    assert_eq!(document(ran), expected);
}

fn requests(run: &Run) -> Vec<String> {
    let names = fs_err::read_dir(&run.dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("request-"))
        .collect()
}

fn spawn(runner: &Runner, args: &[&str]) -> Running {
    Running::spawn(runner.command(args))
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
fn a_second_signal_waits_for_no_grace_and_a_third_for_nothing() {
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

    let mut live = running_with(&runner, &["--grace", "10m"]);
    live.signal(Signal::INT);
    live.wait_for(|event| event["event"] == "stopping");
    live.signal(Signal::INT);
    // It may be gone by now; what it wrote is whole either way.
    let (ran, took) = live.end_by(Signal::TERM);
    assert!(took < BOUND, "{took:?}");
    assert!(matches!(ran.code, Some(130 | 143)), "{ran:?}");
    let run = runner.runs().pop().unwrap();
    assert_eq!(runner.list(&[])[0]["status"], "incomplete");
    assert!(run.rows().iter().all(|row| row["outcome"] == "stopped"));
}

#[test]
fn a_run_under_nohup_does_not_hear_of_the_end_of_its_terminal() {
    let runner = Runner::hostile(&trials(2, r#"{ do = "sleep", ms = 2500 }"#));
    let script = "trap '' HUP; exec $runner exec scenario.toml --json -j 2";
    let mut live = Running::spawn(runner.shell(script));
    live.wait_until_running(2);
    live.end_by(Signal::HUP).0.expect(0);
}

#[test]
fn wait_exits_with_the_code_of_the_run() {
    let runner = passing();
    runner.exec(&[]).expect(0);
    runner
        .run(&["wait"])
        .expect(0)
        .says(&["completed, 1 of 1: 1 passed"]);
    runner.scenario(&format!(
        "{}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n",
        tests("one | { do = \"echo\", value = 1 } | equals = 2")
    ));
    runner.exec(&[]).expect(1);
    runner.run(&["wait", "latest"]).expect(1);

    let runner = endless();
    let live = running(&runner);
    let mut wait = spawn(&runner, &["wait", "--json"]);
    assert!(wait.is_alive());
    live.end_by(Signal::TERM).0.expect(143);
    let events = wait.finish().expect(143).events();
    let end = &events[0];
    assert_eq!(
        (&end["event"], &end["n"], &end["exit_code"]),
        (&json!("finished"), &json!(1), &json!(143))
    );
    assert_eq!(
        (&end["status"], &end["reason"]),
        (&json!("incomplete"), &json!("interrupted"))
    );
    assert_eq!((&end["counts"]["planned"], events.len()), (&json!(3), 1));
}

#[test]
fn wait_ends_when_the_process_of_the_run_dies() {
    let runner = endless();
    let live = running(&runner);
    let mut wait = spawn(&runner, &["wait", "--json"]);
    assert!(wait.is_alive());
    live.kill();
    let events = wait.finish().expect(4).events();
    assert_eq!(events[0]["reason"], "crashed");
    // It only reads: the sweep is left to others.
    assert_eq!(runner.only_run().ending()[0], "running");
}

#[test]
fn logs_prints_rows_and_follows_them_until_the_end() {
    let runner = Runner::hostile(&format!(
        "{}{}",
        tests("one | { do = \"echo\", value = 1 } | equals = 2"),
        trials(1, r#"{ do = "loop" }"#)
    ));
    let mut live = runner.start(&["-j", "2"]);
    live.wait_until_running(1);
    let mut logs = spawn(&runner, &["logs", "-f", "--json"]);
    let row = logs.wait_for(|event| event["event"] == "row");
    assert_eq!(
        (&row["row"]["test"], &row["row"]["outcome"]),
        (&json!("one"), &json!("failed"))
    );
    assert!(logs.is_alive());
    // The reader leaves after one line, and nothing more comes that would tell.
    let head = Running::spawn(runner.shell("$runner logs -f | head -n 1"));
    let head = head.finish().expect(0);
    assert!(
        head.stdout.starts_with("✗ failed one@hostile#1"),
        "{head:?}"
    );

    runner.run(&["stop"]).expect(0);
    live.finish().expect(4);
    let events = logs.finish().expect(0).events();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["row", "row", "finished"]);
    assert_eq!(events[1]["row"]["outcome"], "stopped");
    assert_eq!(events[2]["exit_code"], 4);

    let ran = runner.run(&["logs"]).expect(0);
    assert!(ran.stdout.contains("stopped guest@hostile#1"), "{ran:?}");
    let rows: Vec<_> = runner.run(&["logs", "--json"]).expect(0).events();
    let run = runner.only_run();
    let rows: Vec<_> = rows.into_iter().map(|event| event["row"].clone()).collect();
    assert_eq!(rows, run.rows());
}

#[test]
fn a_detached_run_has_a_session_of_its_own_and_can_be_stopped_by_its_id() {
    let runner = endless();
    let script = "$runner stop --json $($runner exec scenario.toml --detach)";
    let ran = Running::spawn(runner.shell(script)).finish().expect(0);
    let run = runner.only_run();
    assert_says(&ran, &run, "stopped", "incomplete", json!("stopped"));

    let ran = runner.exec(&["--detach", "--json"]).expect(0);
    let run = runner.runs().pop().unwrap();
    let events = ran.events();
    assert_eq!(
        (&events[0]["event"], &events[0]["run"]),
        (&json!("started"), &json!(run.id()))
    );
    assert_eq!(events.len(), 1);
    let pid = run.read("lock").lines().next().unwrap().replace("pid ", "");
    let mut ps = Command::new("ps");
    let said = ps.args(["-o", "pgid=,tty=", "-p", &pid]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), [&pid, "?"]);

    runner.run(&["stop"]).expect(0);
    runner.run(&["wait", run.id()]).expect(4);
}

#[test]
fn what_is_wrong_before_a_detached_run_is_born_is_said_at_once() {
    let runner = passing();
    runner
        .exec(&["--detach", "--test", "nothing"])
        .expect(5)
        .says(&["no test is selected"]);
    runner.scenario("");
    let ran = runner.exec(&["--detach"]).expect(2);
    assert_eq!(ran.stdout, "");
    assert!(runner.runs().is_empty());
    runner.exec(&["--detach", "--dry-run"]).expect(2);
}

#[test]
fn an_exclusive_run_is_alone_in_its_root() {
    let runner = endless();
    let live = running_with(&runner, &["--exclusive"]);
    let refused = runner.exec(&[]).expect(6);
    refused.says(&[
        "results/.lock",
        "is held by another process",
        &format!("pid {}", live.id()),
    ]);
    runner.exec(&["--exclusive"]).expect(6);
    runner.run(&["stop"]).expect(0);
    live.finish().expect(4);

    let live = running(&runner);
    runner.exec(&["--exclusive"]).expect(6);
    let mut queued = [(); 2].map(|()| runner.start(&["--exclusive", "--wait"]));
    assert!(queued.iter_mut().all(Running::is_alive));
    let [given_up, mut next] = queued;
    // The signal ends the process, which a shell reports as 130: there is no run yet that could say why.
    assert_eq!(given_up.end_by(Signal::INT).0.code, None);
    assert_eq!(runner.runs().len(), 2);
    live.end_by(Signal::INT).0.expect(130);
    next.wait_until_running(2);
    runner.exec(&[]).expect(6);
    next.end_by(Signal::INT).0.expect(130);
}

#[test]
fn a_run_begins_in_a_directory_of_choice_and_goes_on_there() {
    let runner = endless();
    let mut live = runner.start(&["--into", "here/mine", "-j", "2"]);
    live.wait_until_running(2);
    runner
        .exec(&["--into", "here/mine"])
        .expect(6)
        .says(&["is being worked on"]);
    live.end_by(Signal::INT).0.expect(130);
    let stop = ["stop", "here/mine", "--results", "here"];
    runner.run(&stop).expect(0);

    let mut again = runner.start(&["--into", "here/mine", "-j", "2"]);
    again.wait_until_running(2);
    again.end_by(Signal::INT).0.expect(130);
    let manifest: Value =
        serde_json::from_slice(&fs_err::read(runner.path("here/mine/benchmark.json")).unwrap())
            .unwrap();
    assert_eq!(manifest["run_id"], "mine");
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);

    let refused = runner
        .exec(&["--into", "here/mine", "--repeat", "2"])
        .expect(2);
    refused.says(&["a run of another plan"]);
    runner.write("full/file", "");
    runner.exec(&["--into", "full"]).expect(2);
}
