//! `pause` and `unpause`, Ctrl-Z, and processes that are suspended.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{asked, result, started, trials};
use crate::support::{
    run::Run,
    runner::Runner,
    running::Running,
    truth::{assert_told_truly, assert_whole},
    wait::wait_until,
};

/// Longer than the timeouts of the attempts.
const LONG_ENOUGH: Duration = Duration::from_millis(4_000);

/// A guest that sleeps shorter than its timeout, and one that computes until its timeout.
fn timed() -> Runner {
    Runner::hostile(
        r#"
        [defaults]
        timeout = "3s"
        [[tests]]
        id = "sleep"
        input = { do = "sleep", ms = 2000 }
        [[tests]]
        id = "loop"
        input = { do = "loop" }
        expect = { error = "timeout" }
        "#,
    )
}

fn ms(value: &Value) -> u64 {
    value.as_f64().unwrap_or_default() as u64
}

/// Fails unless both attempts ended as if nothing had been, with the time of the suspension beside their own.
#[track_caller]
fn assert_nothing_has_been(runner: &Runner) -> Run {
    let run = assert_whole(runner, 2);
    assert_eq!(run.rows().len(), 2, "no attempt was made twice");
    let least = LONG_ENOUGH.as_millis() as u64 * 3 / 4;
    for (test, range) in [("sleep", 0..3_000), ("loop", 3_000..6_000)] {
        let row = run.row(test);
        assert_eq!(row["outcome"], "passed", "{row}");
        assert!(ms(&row["suspended_ms"]) >= least, "{row}");
        assert!(range.contains(&ms(&row["duration_ms"])), "{row}");
    }
    run
}

/// Waits until both guests are at it.
#[track_caller]
fn busy(runner: &Runner) -> Running {
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(runner, 2);
    running
}

#[test]
fn no_time_passes_in_a_pause() {
    let runner = timed();
    let mut running = busy(&runner);
    let said = asked(&runner, &["pause", "--reason", "a meeting"]);
    assert_eq!([&said["result"], &said["status"]], ["paused", "running"]);
    assert_eq!(said["paused"]["by"]["reason"], "a meeting");
    assert_eq!(result(&runner, &["pause"]), "already_paused");
    let rows = runner.only_run().rows().len();
    let shown = runner.run(&["list"]).expect(0).stdout;
    assert!(shown.contains("running (paused)"), "{shown}");
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("running (paused)"), "{shown}");
    assert!(shown.contains(": a meeting\n"), "{shown}");
    thread::sleep(LONG_ENOUGH);
    assert_eq!(runner.only_run().rows().len(), rows);
    assert!(running.is_alive());
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    let ran = running.finish().expect(0);
    let said = |name: &str| {
        let events = ran.events();
        events.iter().filter(|event| event["event"] == name).count()
    };
    assert_eq!((said("paused"), said("unpaused")), (1, 1));
    let run = assert_nothing_has_been(&runner);
    let session = run.manifest()["sessions"][0].clone();
    assert_eq!(session["pauses"][0]["by"]["reason"], "a meeting");
    assert!(session["pauses"][0]["to"].is_string(), "{session}");
    assert!(session["pauses"][1].is_null(), "{session}");
    assert!(session["suspended_ms"].as_u64() >= Some(4_000), "{session}");
    for command in ["pause", "unpause"] {
        assert_eq!(result(&runner, &[command, "latest"]), "already_terminal");
    }
}

#[test]
fn run_timeout_waits_for_a_pause() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 2\ninput = { do = \"sleep\", ms = 1500 }\n",
    );
    let mut running = runner.start(&["-j", "1", "--timeout", "8s"]);
    running.wait_until_running(&runner, 1);
    assert_eq!(result(&runner, &["pause"]), "paused");
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    assert_eq!(result(&runner, &["unpause"]), "not_paused");
    assert_eq!(result(&runner, &["pause"]), "paused");
    let rows = runner.only_run().rows().len();
    thread::sleep(Duration::from_secs(10));
    // What was reported in the moment of the pause may come yet.
    assert!(runner.only_run().rows().len() <= rows + 1);
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    running.finish().expect(0);
    let run = assert_whole(&runner, 2);
    let pauses = &run.manifest()["sessions"][0]["pauses"];
    assert_eq!(pauses.as_array().unwrap().len(), 2);
}

#[test]
fn backoff_stands_still_in_a_pause() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"late\"\ninput = { do = \"fail-until\", attempt = 2 }\nretries = { max = 1, backoff = \"3s\" }\n",
    );
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    assert_eq!(result(&runner, &["pause"]), "paused");
    thread::sleep(LONG_ENOUGH);
    assert_eq!(runner.only_run().rows().len(), 1);
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    running.finish().expect(0);
    assert_whole(&runner, 1);
}

#[test]
fn stop_ends_a_pause_and_the_run() {
    for (what, args) in
        [("loop", &["stop"][..]), ("sleep", &["cancel"]), ("loop", &["stop", "--kill"])]
    {
        let runner = trials(3, what, "");
        let running = started(&runner);
        assert_eq!(result(&runner, &["pause"]), "paused");
        let began = Instant::now();
        let said = asked(&runner, args);
        assert!(began.elapsed() < Duration::from_secs(5), "{args:?}");
        assert_ne!(said["result"], "already_terminal");
        running.finish().expect(4);
        let manifest = runner.only_run().manifest();
        let pauses = &manifest["sessions"][0]["pauses"];
        assert!(pauses[0]["to"].is_string(), "{manifest}");
        assert_eq!(runner.only_run().rows().len(), 2);
    }
    let runner = trials(3, "loop", "");
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn history_tells_who_did_what() {
    let runner = trials(3, "loop", "");
    let running = started(&runner);
    asked(&runner, &["pause", "--reason", "a meeting"]);
    asked(&runner, &["stop", "--reason", "enough of it"]);
    running.finish().expect(4);
    asked(&runner, &["cancel", "latest", "--reason", "a wrong model"]);
    let shown = runner.run(&["show", "--history"]).expect(0);
    shown.says(&[
        "1 runner exec scenario.toml --json -j 2",
        ", worked ",
        ", paused or suspended ",
        ": a meeting",
        ": enough of it",
        "running, written by exec",
        "incomplete (stopped), written by exec",
        "cancelled (cancelled), written by cancel, asked by",
        ": a wrong model",
    ]);
    runner.run(&["show", "--history", "--failed"]).expect(2);
}

#[test]
fn drain_ends_a_pause() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 1500 }\n",
    );
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    assert_eq!(result(&runner, &["stop", "--drain"]), "stopped");
    running.finish().expect(4);
    for row in runner.only_run().rows() {
        assert_eq!(row["outcome"], "passed");
    }
}

#[test]
fn killed_in_a_pause_resumes_unpaused() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 500 }\n",
    );
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    let workers = running.workers();
    running.kill();
    wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
    assert_told_truly(&runner);
    let listed = &runner.list()[0];
    assert_eq!(
        [&listed["status"], &listed["reason"], &listed["paused"]],
        [&json!("incomplete"), &json!("crashed"), &Value::Null]
    );
    runner.run(&["resume"]).expect(0);
    let run = assert_whole(&runner, 4);
    let sessions = run.manifest()["sessions"].clone();
    assert!(sessions[0]["pauses"][0]["to"].is_string(), "{sessions}");
    assert!(sessions[1]["pauses"].is_null(), "{sessions}");
}

#[test]
fn ctrl_z_pauses_and_stops_the_process() {
    let runner = timed();
    let running = busy(&runner);
    running.process().signal(Signal::TSTP);
    wait_until("it is paused", || runner.list()[0]["paused"]["from"].is_string());
    wait_until("it is stopped", || running.process().is_stopped());
    assert!(runner.list()[0]["paused"]["by"].is_null());
    runner.run(&["unpause"]).expect(6).says(&["has not answered"]);
    thread::sleep(LONG_ENOUGH);
    running.process().signal(Signal::CONT);
    running.finish().expect(0);
    let run = assert_nothing_has_been(&runner);
    let session = run.manifest()["sessions"][0].clone();
    assert!(session["pauses"][0]["to"].is_string(), "{session}");
    assert!(session["pauses"][1].is_null(), "{session}");
}

#[test]
fn suspended_processes_lose_no_time() {
    for who in ["all", "workers"] {
        let runner = timed();
        let running = busy(&runner);
        let mut processes = running.workers();
        if who == "all" {
            processes.push(running.process());
        }
        for process in &processes {
            process.signal(Signal::STOP);
        }
        thread::sleep(LONG_ENOUGH);
        for process in &processes {
            process.signal(Signal::CONT);
        }
        running.finish().expect(0);
        let run = assert_nothing_has_been(&runner);
        let suspended = run.manifest()["sessions"][0]["suspended_ms"].as_u64();
        assert_eq!(suspended >= Some(3_000), who == "all", "{who}: {suspended:?}");
    }
}

#[test]
fn suspended_coordinator_costs_no_attempt() {
    let runner = timed();
    let running = runner.start(&["-j", "2", "--timeout", "7s"]);
    let mut running = running;
    running.wait_until_running(&runner, 2);
    running.process().signal(Signal::STOP);
    thread::sleep(Duration::from_secs(8));
    running.process().signal(Signal::CONT);
    running.finish().expect(0);
    let run = assert_whole(&runner, 2);
    assert_eq!(run.rows().len(), 2);
    let suspended = run.manifest()["sessions"][0]["suspended_ms"].as_u64();
    assert!(suspended >= Some(6_000), "{suspended:?}");
}

#[test]
fn pauses_count_for_no_lost_attempt() {
    let began = Instant::now();
    let runner = trials(2, "loop", "");
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    let before = began.elapsed();
    let pause = Duration::from_millis(400);
    thread::sleep(pause);
    for worker in running.workers() {
        worker.signal(Signal::KILL);
    }
    let run = runner.only_run();
    wait_until("the loss is written down", || run.rows().len() == 2);
    let all = began.elapsed();
    for row in run.rows() {
        assert_eq!(row["error"]["code"], "lost", "{row}");
        let [took, suspended] = ["duration_ms", "suspended_ms"].map(|key| {
            let ms = row[key].as_f64().unwrap();
            Duration::from_secs_f64(ms / 1e3)
        });
        assert!(suspended >= pause && took + suspended <= all, "{row}");
        assert!(took <= before, "{row}");
    }
    assert_eq!(result(&runner, &["stop"]), "stopped");
    running.finish().expect(4);
}
