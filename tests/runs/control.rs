//! Ending a run that another process works on: stop, cancel, and signals one after the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    endless::{assert_says, endless, passing, running, running_with, spawn, trials},
    runner::{CommandExt as _, Run, Runner, Signal},
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

/// As much of an id as is offered.
fn short(run: &Run) -> &str {
    &run.id()[run.id().len() - 8..]
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
    assert!(
        ran.stdout
            .contains("had ended already: ◐ incomplete (stopped): 0 of 3 done"),
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
        short(&runs[0]),
        short(&runs[1]),
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
    let results = stops.map(|stop| stop.finish().expect(0).document()["status"].clone());
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
        .says(&["is being worked on", "pid ", "Z)", "`runner wait"]);

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
    let ends_by_the_third = || {
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
        assert!(matches!(ran.code, Some(129 | 130 | 143)), "{ran:?}");
        ran.code == Some(129)
    };
    // On a busy machine the second signal is answered first.
    assert!((0..10).any(|_| ends_by_the_third()));
}

#[test]
fn a_run_under_nohup_does_not_hear_of_the_end_of_its_terminal() {
    let runner = Runner::hostile(&trials(2, r#"{ do = "sleep", ms = 2500 }"#));
    let script = "trap '' HUP; exec $runner exec scenario.toml --json -j 2";
    let mut live = runner.shell(script).start();
    live.wait_until_running(2);
    live.end_by(Signal::HUP).0.expect(0);
}

#[test]
fn who_asked_and_why_is_in_the_rows_the_history_and_the_manifest() {
    let user = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    for (command, verb) in [("stop", "stopped"), ("cancel", "cancelled")] {
        let runner = endless();
        let mut live = running(&runner);
        let reason = "disk \u{1b}[31mneeded";
        runner.run(&[command, "--reason", reason]).expect(0);
        let told = live.wait_for(|event| event["event"] == "stopping");
        live.finish().expect(4);
        let run = runner.only_run();
        let manifest = run.manifest();
        let by = &manifest["transitions"][1]["by"];
        assert_eq!((&by["user"], &by["text"]), (&json!(user), &json!(reason)));
        let who = format!("{user}@{}: {reason}", by["host"].as_str().unwrap());
        assert_eq!(told["why"], format!("asked by {who}"));
        for row in run.rows() {
            assert_eq!(row["error"]["message"], format!("{verb} by {who}"));
        }
        runner.assert_valid("benchmark", &[manifest]);
        for args in [&["show"][..], &["show", "--history"], &["show", "--json"]] {
            let shown = runner.run(args).expect(0).stdout;
            assert!(shown.contains("needed"), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
        }
    }

    let runner = endless();
    running(&runner).end_by(Signal::TERM).0.expect(143);
    let run = runner.only_run();
    assert_eq!(run.rows()[0]["error"]["message"], "stopped by SIGTERM");
    assert_eq!(run.manifest()["transitions"][1]["signal"], "SIGTERM");
    let shown = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(shown.contains("interrupted (SIGTERM)"), "{shown}");
    // Of a run that has ended it is kept who dropped it.
    runner
        .run(&["cancel", run.id(), "--reason", "no longer needed"])
        .expect(0);
    let by = run.manifest()["transitions"][2]["by"].clone();
    assert_eq!(by["text"], "no longer needed");

    for reason in ["", " ", &"x".repeat(1025)] {
        runner
            .run(&["stop", run.id(), "--reason", reason])
            .expect(2);
    }
}

#[test]
fn a_run_whose_time_is_up_says_what_has_set_it() {
    // Long enough for a busy machine to make providers ready: a run whose time is up before has no trial to tell it of.
    let scenario = format!(
        "timeout_minutes = 0.06\n{}",
        trials(2, r#"{ do = "loop" }"#)
    );
    let runner = Runner::hostile(&scenario);
    let limits = [
        (&[][..], "`timeout_minutes = 0.06` of the scenario"),
        (&["--timeout-minutes", "0.05"], "`--timeout-minutes 0.05`"),
    ];
    for (args, limit) in limits {
        let says = format!("the run's time is up: {limit}");
        runner.exec(args).expect(4).says(&[&says]);
        let run = runner.runs().pop().unwrap();
        assert_eq!(run.manifest()["sessions"][0]["error"], says);
        assert_eq!(run.rows()[0]["error"]["message"], says);
    }
}

#[cfg(debug_assertions)]
#[test]
fn whoever_opens_a_run_is_asked_and_answers() {
    for (command, ending) in [
        ("stop", ["incomplete", "stopped", "", "none"]),
        ("cancel", ["cancelled", "cancelled", "", "none"]),
    ] {
        let runner = endless();
        running(&runner).end_by(Signal::INT).0.expect(130);
        let run = runner.only_run();
        for place in ["opening.claimed", "opening.synced"] {
            let args = ["resume", "--from", "latest", "--force", "--json"];
            let mut resume = runner.start_failing(&args, &format!("{place}=halt"));
            resume.wait_until_halted();
            let mut asking = spawn(&runner, &[command, "--json", "--reason", "disk needed"]);
            while requests(&run).is_empty() {
                assert!(asking.is_alive(), "{:?}", asking.finish());
            }
            assert!(asking.is_alive());
            resume.signal(Signal::CONT);
            resume.finish().expect(4);
            let result = if command == "stop" {
                "stopped"
            } else {
                "cancelled"
            };
            assert_says(
                &asking.finish().expect(0),
                &run,
                result,
                ending[0],
                json!(ending[1]),
            );
            assert_eq!(run.ending(), ending);
            assert_eq!(requests(&run), [""; 0]);
        }
        let manifest = run.manifest();
        assert_eq!(manifest["sessions"].as_array().unwrap().len(), 3);
        assert_eq!(manifest["transitions"][3]["by"]["text"], "disk needed");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_request_to_whoever_opens_nothing_hits_no_later_session() {
    let runner = endless();
    running(&runner).end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let mut cancel = runner.start_failing(&["cancel", run.id()], "cancel.begin=halt");
    cancel.wait_until_halted();
    let mut stop = spawn(&runner, &["stop", run.id(), "--json"]);
    while requests(&run).is_empty() {
        assert!(stop.is_alive());
    }
    // One who asks and is gone: nobody takes its request back.
    let left = run.read("request-stop.json");
    cancel.signal(Signal::CONT);
    cancel.finish().expect(0);
    let ran = stop.finish().expect(0);
    assert_says(
        &ran,
        &run,
        "already_terminal",
        "cancelled",
        json!("cancelled"),
    );
    assert_eq!(requests(&run), [""; 0]);

    run.write("request-stop.json", left);
    let mut live = spawn(
        &runner,
        &["resume", "--from", "latest", "--force", "--json", "-j2"],
    );
    live.wait_until_running(2);
    assert_eq!(requests(&run), [""; 0]);
    live.end_by(Signal::INT).0.expect(130);

    // Nobody answers while it is suspended.
    let args = ["resume", "--from", "latest", "--json"];
    let mut resume = runner.start_failing(&args, "opening.claimed=halt");
    resume.wait_until_halted();
    let ran = runner.run(&["stop", "--json"]).expect(6);
    assert_says(&ran, &run, "no_answer", "incomplete", json!("interrupted"));
    resume.signal(Signal::CONT);
    resume.finish().expect(4);
    assert_eq!(run.ending()[..2], ["incomplete", "stopped"]);
}
