//! `stop` and `cancel`, from a second process.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{asked, result, started};
use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::Runner,
    truth::{assert_consistent, assert_kept, assert_whole},
    wait::{STOP_WITHIN, wait_until},
};

/// Returns the request files of the run.
fn requests(run: &Run) -> Vec<String> {
    let entries = fs::read_dir(&run.dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("request")).collect()
}

/// Fails unless the requester and the reason are recorded.
#[track_caller]
fn assert_by(by: &Value, reason: &str) {
    assert!(!by["user"].as_str().unwrap().is_empty(), "{by}");
    assert!(!by["host"].as_str().unwrap().is_empty(), "{by}");
    assert_eq!(by["reason"], reason, "{by}");
}

#[test]
fn run_stopped_before_its_first_trial_is_gone() {
    let runner = Runner::new(&["stuck"]);
    // This plugin never answers `describe`.
    runner.scenario("[providers.p]\nplugin = \"stuck.wasm\"\n[[tests]]\nid = \"a\"\n");
    let running = runner.started(&["exec", "scenario.toml"]);
    wait_until("there is a run", || !runner.runs().is_empty());
    let id = runner.only_run().id().to_owned();
    let mut waiting = runner.started(&["wait", &id, "--json"]);
    // Both start at once, because `describe` is given up after ten seconds.
    let logs = runner.started(&["logs", &id, "--runner", "-f"]);
    waiting.wait_for_event(|event| event["event"] == "progress");
    wait_until("the log is printed", || !logs.printed().is_empty());
    let gone = format!("run {id} no longer exists");
    let said = asked(&runner, &["stop"]);
    assert_eq!([&said["result"], &said["run"]], ["removed", &*id]);
    snapshot(&running.finish().expect(4));
    waiting.finish().expect(2).says(&[&gone]);
    logs.finish().expect(2).says(&[&gone]);
    assert!(runner.runs().is_empty(), "there is a run");
}

#[test]
fn stop_interrupts_what_guests_do() {
    for what in ["loop", "sleep", "fill-memory"] {
        let runner = Runner::endless(5, what, "");
        let running = started(&runner);
        let began = Instant::now();
        let said = asked(&runner, &["stop", "--reason", "the machine is needed"]);
        assert!(began.elapsed() < STOP_WITHIN, "{what}: {:?}", began.elapsed());
        assert_eq!(
            [&said["result"], &said["status"], &said["reason"]],
            ["stopped", "incomplete", "stopped"]
        );
        let ran = running.finish().expect(4);
        let run = runner.only_run();
        assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);
        let manifest = run.manifest();
        assert_eq!(manifest["message"], "the machine is needed");
        assert!(manifest["completed_at"].is_string());
        assert!(manifest["sessions"][0]["ended_at"].is_string());
        assert_by(&manifest["sessions"][0]["stopped_by"], "the machine is needed");
        let rows = run.rows();
        // A guest that waits for a processor may not have started.
        assert!((1..=2).contains(&rows.len()), "{what}: {rows:?}");
        for row in &rows {
            assert_eq!((&row["outcome"], &row["final"]), (&json!("stopped"), &json!(false)));
            assert_by(&row["stopped_by"], "the machine is needed");
        }
        assert_eq!(requests(&run), [""; 0]);
        assert_kept(&run, &ran.acknowledged());
        assert_consistent(&runner);
        let log = run.text("runner.log");
        assert!(log.contains("`stop` requested by"), "{log}");
    }
}

#[test]
fn stop_of_an_ended_run_changes_nothing() {
    let runner = Runner::endless(3, "loop", "");
    let running = started(&runner);
    assert_eq!(result(&runner, &["stop"]), "stopped");
    running.finish().expect(4);
    let run = runner.only_run();
    let before = run.bytes("benchmark.json");
    for args in
        [&["stop", run.id()][..], &["stop", "latest", "--kill"], &["stop", "latest", "--drain"]]
    {
        let said = asked(&runner, args);
        assert_eq!([&said["result"], &said["reason"]], ["already_terminal", "stopped"]);
    }
    runner.run(&["stop", run.id()]).expect(0);
    assert_eq!(run.bytes("benchmark.json"), before);
    assert_eq!(requests(&run), [""; 0]);
}

#[test]
fn drain_lets_attempts_in_flight_finish() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 16\ninput = { do = \"sleep\", ms = 1500 }\n",
    );
    let running = started(&runner);
    let said = asked(&runner, &["stop", "--drain", "--reason", "later"]);
    assert_eq!([&said["result"], &said["reason"]], ["stopped", "stopped"]);
    running.finish().expect(4);
    let run = runner.only_run();
    let rows = run.rows();
    assert!((2..16).contains(&rows.len()), "{rows:?}");
    for row in &rows {
        assert_eq!((&row["outcome"], &row["stopped_by"]), (&json!("passed"), &Value::Null));
    }
    assert_by(&run.manifest()["sessions"][0]["stopped_by"], "later");
    runner.run(&["resume", "-j", "16"]).expect(0);
    assert_whole(&runner, 16);
}

#[test]
fn long_drain_lists_awaited_attempts() {
    let runner = Runner::endless(2, "loop", "");
    let running = started(&runner);
    let drain = runner.started(&["stop", "--drain"]);
    wait_until("the attempts are listed", || drain.shown().contains("\nto interrupt them:"));
    let shown = drain.shown();
    assert!(shown.contains("waiting for 2 attempts: guest@hostile#"), "{shown}");
    assert!(shown.contains("runner stop") && shown.contains("--kill"), "{shown}");
    running.end_by(Signal::INT).0.expect(130);
    drain.finish().expect(0).says(&["ended meanwhile: ◐ incomplete"]);
}

#[test]
fn kill_needs_no_grace_and_ends_a_drain() {
    let runner = Runner::endless(3, "loop", "grace = \"10m\"");
    let running = started(&runner);
    let drain = runner.started(&["stop", "--drain", "--json"]);
    wait_until("the run drains", || {
        running.events().iter().any(|event| event["event"] == "stopping")
    });
    let began = Instant::now();
    assert_eq!(result(&runner, &["stop", "--kill"]), "stopped");
    assert!(began.elapsed() < STOP_WITHIN, "{:?}", began.elapsed());
    assert_eq!(drain.finish().expect(0).document()["result"], "stopped");
    running.finish().expect(4);
    assert_eq!(runner.only_run().rows().len(), 2);
}

#[test]
fn grace_lets_guests_end_themselves() {
    let runner = Runner::endless(2, "wait-for-stop", "");
    let mut running = runner.start(&["-j", "2", "--grace", "60s"]);
    running.wait_until_running(&runner, 2);
    let began = Instant::now();
    assert_eq!(result(&runner, &["stop"]), "stopped");
    assert!(began.elapsed() < STOP_WITHIN, "{:?}", began.elapsed());
    running.finish().expect(4);
    let session = &runner.only_run().manifest()["sessions"][0];
    assert_eq!(session["grace_ms"], 60_000);
}

#[test]
fn slow_stop_shows_running_attempts() {
    let runner = Runner::endless(2, "loop", "grace = \"10m\"");
    let mut running = started(&runner);
    running.process().signal(Signal::INT);
    running.wait_for_event(|event| {
        let text = event["text"].as_str().unwrap_or_default();
        text.starts_with("the stop is waiting for guest@hostile#")
    });
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn stop_may_race_the_natural_end() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 6\ninput = { do = \"sleep\", ms = 20 }\n",
    );
    for rows in 1..=6 {
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_rows(rows);
        let stop = runner.run(&["stop", "latest", "--json"]);
        let code = running.finish().code;
        let run = runner.runs().pop().unwrap();
        let said = stop.expect(0).document();
        let expected = match run.ending()[0].as_str() {
            "completed" => ("already_terminal", Some(0)),
            _ => ("stopped", Some(4)),
        };
        assert_eq!(said["run"], run.id());
        assert_eq!((said["result"].as_str().unwrap(), code), expected);
        assert_eq!(requests(&run), [""; 0]);
    }
    assert_consistent(&runner);
}

#[test]
fn two_requesters_are_both_answered() {
    let runner = Runner::endless(3, "loop", "");
    let running = started(&runner);
    let stops =
        ["one", "two"].map(|why| runner.started(&["stop", "latest", "--json", "--reason", why]));
    for stop in stops {
        assert_eq!(stop.finish().expect(0).document()["status"], "incomplete");
    }
    running.finish().expect(4);
    let manifest = runner.only_run().manifest();
    assert_eq!(manifest["transitions"].as_array().unwrap().len(), 2);
}

#[test]
fn stop_sweeps_a_dead_run() {
    let runner = Runner::endless(3, "loop", "");
    let running = started(&runner);
    running.kill();
    let run = runner.only_run();
    assert_eq!(run.ending()[0], "running");
    snapshot(&runner.run(&["stop"]).expect(2));
    assert_eq!(run.ending()[0], "running");
    assert_eq!(result(&runner, &["stop", "latest"]), "already_terminal");
    assert_eq!(run.ending(), ["incomplete", "crashed", "", "none"]);
    let manifest = run.manifest();
    assert_eq!(manifest["transitions"][1]["writer"], "sweep");
    assert!(manifest["completed_at"].is_string());
}

#[test]
fn cancel_ends_a_run_for_good() {
    let runner = Runner::endless(3, "sleep", "");
    let running = started(&runner);
    let said = asked(&runner, &["cancel", "--reason", "wrong model"]);
    assert_eq!([&said["result"], &said["status"]], ["cancelled", "cancelled"]);
    running.finish().expect(4);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["cancelled", "cancelled", "", "none"]);
    assert_eq!(run.manifest()["message"], "wrong model");
    for row in run.rows() {
        assert_by(&row["stopped_by"], "wrong model");
    }
    runner.run(&["resume", run.id()]).expect(2).says(&["cancelled"]);
    let before = run.bytes("benchmark.json");
    assert_eq!(result(&runner, &["cancel", "latest"]), "already_terminal");
    assert_eq!(run.bytes("benchmark.json"), before);
}

#[test]
fn cancel_takes_incomplete_and_dead_runs() {
    let runner = Runner::endless(3, "sleep", "");
    for is_dead in [true, false] {
        let running = started(&runner);
        if is_dead {
            running.kill();
        } else {
            running.end_by(Signal::INT).0.expect(130);
        }
        let run = runner.runs().pop().unwrap();
        runner.run(&["cancel", run.id(), "--reason", "enough"]).expect(0);
        let manifest = run.manifest();
        let steps = manifest["transitions"].as_array().unwrap();
        assert_eq!(steps.len(), 3);
        let step = ["writer", "to", "reason"].map(|key| &steps[2][key]);
        assert_eq!(step, ["cancel", "cancelled", "cancelled"]);
        assert_eq!(run.ending()[..2], ["cancelled", "cancelled"]);
        assert_by(&steps[2]["by"], "enough");
        assert_eq!(steps[1]["at"], manifest["sessions"][0]["ended_at"]);
    }
}

#[test]
fn cancel_of_a_completed_run_is_refused() {
    let runner = Runner::hostile("[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\", ms = 1 }\n");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = run.bytes("benchmark.json");
    let refused = runner.run(&["cancel", "latest"]).expect(2);
    snapshot(&refused);
    assert_eq!(run.bytes("benchmark.json"), before);
}

#[test]
fn only_running_run_needs_no_name() {
    let runner = Runner::endless(3, "sleep", "");
    for command in ["stop", "cancel", "pause", "unpause"] {
        snapshot(&runner.run(&[command]).expect(2));
        runner.run(&[command, "nothing"]).expect(2);
    }
    let both = [started(&runner), started(&runner)];
    let runs = runner.runs();
    for command in ["stop", "cancel", "pause", "unpause"] {
        let ran = runner.run(&[command]).expect(2);
        let short = |run: &Run| run.id().rsplit_once('-').unwrap().1.to_owned();
        snapshot(&ran);
        ran.says(&[&short(&runs[0]), &short(&runs[1])]);
    }
    assert_eq!(result(&runner, &["stop", runs[0].id()]), "stopped");
    assert_eq!(result(&runner, &["stop"]), "stopped");
    for running in both {
        running.finish().expect(4);
    }
}

#[test]
fn request_of_an_earlier_session_is_ignored() {
    let runner = Runner::endless(3, "sleep", "");
    let first = started(&runner);
    // The owner cannot answer, so the request stays.
    first.process().signal(Signal::STOP);
    let suspended = runner.run(&["stop", "--kill"]).expect(6);
    let next = format!("`fg` in its terminal, or kill -CONT {}", first.process().0);
    suspended.says(&[&format!("is suspended by Ctrl-Z; it stops when it continues: {next}")]);
    assert_eq!(suspended.stdout.lines().count() + suspended.stderr.lines().count(), 1);
    let paused = runner.run(&["pause"]).expect(6);
    paused.says(&[&format!("it is not paused; to let it continue: {next}")]);
    let run = runner.only_run();
    assert_eq!(requests(&run), ["request-kill.json"]);
    let old = run.bytes("request-kill.json");
    first.kill();

    let mut second = runner.started(&["resume", "--json", "-j", "2"]);
    second.wait_until_running(&runner, 2);
    run.write("request-kill.json", &old);
    run.write("request-stop.json", "no request");
    // Later requests are read. The old ones were read before.
    assert_eq!(result(&runner, &["pause"]), "paused");
    assert!(second.is_alive());
    assert!(run.manifest()["sessions"][1]["stopped_by"].is_null());
    assert_eq!(result(&runner, &["stop"]), "stopped");
    second.finish().expect(4);
    assert_eq!(requests(&run), [""; 0]);
}

#[test]
fn unwritable_request_is_reported() {
    if rustix::process::geteuid().is_root() {
        let runner = Runner::endless(3, "sleep", "");
        let running = started(&runner);
        let run = runner.only_run();
        // Root ignores modes, but cannot write a file in place of a folder.
        fs::create_dir(run.dir.join("request-stop.json")).unwrap();
        runner.run(&["stop"]).expect(7).says(&["request-stop.json"]);
        assert_eq!(result(&runner, &["stop", "--kill"]), "stopped");
        running.finish().expect(4);
    } else {
        let runner = Runner::endless(3, "sleep", "");
        let running = started(&runner);
        let run = runner.only_run();
        fs::set_permissions(&run.dir, fs::Permissions::from_mode(0o500)).unwrap();
        runner.run(&["stop"]).expect(7).says(&["cannot"]);
        fs::set_permissions(&run.dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(result(&runner, &["stop"]), "stopped");
        running.finish().expect(4);
    }
}
