//! Runs that are paused: nothing begins, nobody computes, no time of theirs passes, and they go on as if nothing had been.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    runner::{CommandExt as _, Runner, Running, Signal},
    server::{Response, Server},
    wait::wait_until,
};

/// Past the deadline of each attempt, and of the run.
const PAUSE: Duration = Duration::from_secs(8);

/// A guest that computes until its deadline, one that sleeps, one that waits for an answer which comes in the pause, and one
/// that is yet to begin.
fn busy(server: &Server) -> Runner {
    let runner = Runner::new(&["hostile", "web"]);
    let (origin, url) = (server.origin(), server.url("/"));
    runner.scenario(&format!(
        r#"
        [defaults]
        timeout = "3s"
        [providers]
        hostile = {{ plugin = "hostile.wasm" }}
        web = {{ plugin = "web.wasm", grants.net = ["{origin}"] }}

        [[tests]]
        id = "loop"
        input = {{ do = "loop" }}
        providers = ["hostile"]
        [[tests]]
        id = "sleep"
        input = {{ do = "sleep", ms = 2000 }}
        providers = ["hostile"]
        [[tests]]
        id = "send"
        input.requests = [{{ url = "{url}" }}]
        providers = ["web"]
        [[tests]]
        id = "wasi"
        input.requests = [{{ by = "wasi", url = "{url}" }}]
        providers = ["web"]
        [[tests]]
        id = "next"
        input = {{ do = "echo", value = 1 }}
        providers = ["hostile"]
        "#
    ));
    // Plugins are compiled, so that this takes nothing of the run's time.
    runner.exec(&["--limit", "time=1ms"]);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    runner
}

fn slow_server() -> Server {
    Server::start(|_| {
        sleep(Duration::from_secs(2));
        Response::ok("late")
    })
}

fn document(runner: &Runner, args: &[&str]) -> Value {
    let document = runner
        .run(&[args, &["--json"]].concat())
        .expect(0)
        .document();
    runner.assert_valid("pause", std::slice::from_ref(&document));
    document
}

fn result(runner: &Runner, args: &[&str]) -> String {
    document(runner, args)["result"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What a process and those that it has started have computed, in ticks of the kernel.
fn computed(live: &Running) -> u64 {
    let pid = live.id();
    let tasks = fs_err::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children = tasks.map(|task| {
        let path = task.unwrap().path().join("children");
        fs_err::read_to_string(path).unwrap_or_default()
    });
    let children: Vec<_> = children.collect();
    let pids = children.iter().flat_map(|text| text.split_whitespace());
    let pids = pids.map(|pid| pid.parse().unwrap()).chain([pid]);
    pids.map(|pid: u32| {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |index: usize| fields.get(index).map_or(0, |text| text.parse().unwrap());
        ticks(11) + ticks(12)
    })
    .sum()
}

#[track_caller]
fn assert_nothing_happens(runner: &Runner, live: &mut Running) {
    let rows = runner.only_run().rows().len();
    let before = computed(live);
    sleep(PAUSE);
    // Less than an eighth of one core: a guest that computes takes a whole one.
    let ticks = computed(live) - before;
    assert!(ticks < 100, "{ticks} ticks");
    assert!(live.is_alive());
    assert_eq!(runner.only_run().rows().len(), rows);
}

fn milliseconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

#[track_caller]
fn assert_nothing_has_been(runner: &Runner) {
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    for (test, outcome) in [
        ("loop", "timeout"),
        ("sleep", "passed"),
        ("send", "passed"),
        ("wasi", "passed"),
        ("next", "passed"),
    ] {
        let row = run.row(test);
        assert_eq!(row["outcome"], outcome, "{row}");
        // Half a second is what a busy machine takes to interrupt a guest.
        assert!(milliseconds(&row["duration_ms"]) < 3_500.0, "{row}");
    }
    // An attempt's time begins a moment before that of its guest, which is what the row tells.
    let row = run.row("loop");
    assert!(milliseconds(&row["duration_ms"]) >= 2_900.0, "{row}");
    let least = PAUSE.as_millis() as f64;
    for test in ["loop", "sleep"] {
        let row = run.row(test);
        assert!(milliseconds(&row["suspended_ms"]) >= least, "{row}");
    }
    let session = &run.manifest()["sessions"][0];
    assert!(milliseconds(&session["suspended_ms"]) >= least, "{session}");
    runner.assert_valid("benchmark", &[run.manifest()]);
    runner.assert_valid("row", &run.lines());
}

#[track_caller]
fn assert_pauses(workers: &str) {
    let server = slow_server();
    let runner = busy(&server);
    // Seven seconds.
    let mut live = runner.start(&[
        "-j",
        "4",
        "--workers",
        workers,
        "--timeout-minutes",
        "0.117",
    ]);
    live.wait_until_running(4);
    let paused = document(&runner, &["pause", "--reason", "a meeting"]);
    assert_eq!(
        (&paused["result"], &paused["status"]),
        (&json!("paused"), &json!("running"))
    );
    assert_eq!(paused["paused"]["by"]["text"], "a meeting");
    assert_nothing_happens(&runner, &mut live);

    assert_eq!(result(&runner, &["pause"]), "already_paused");
    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in ["○ running (paused)", "paused    since ", ": a meeting"] {
        assert!(shown.contains(text), "`{text}` is not in\n{shown}");
    }
    runner.run(&["list"]).expect(0).prints("running (paused)");
    assert_eq!(runner.list(&[])[0]["paused"]["by"]["text"], "a meeting");
    let show = runner.run(&["show", "--json"]).expect(0).document();
    runner.assert_valid("show", std::slice::from_ref(&show));
    assert_eq!(show["live"]["paused"]["by"]["text"], "a meeting");
    for attempt in show["live"]["in_flight"].as_array().unwrap() {
        assert!(milliseconds(&attempt["elapsed_ms"]) < 3_500.0, "{attempt}");
    }

    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    assert_eq!(runner.list(&[])[0]["paused"], Value::Null);
    let ran = live.finish().expect(1);
    let events = ran.events();
    runner.assert_valid("events", &events);
    let said = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((said("paused"), said("unpaused")), (1, 1));
    assert_nothing_has_been(&runner);
    let pauses = &runner.only_run().manifest()["sessions"][0]["pauses"];
    assert_eq!(pauses[0]["by"]["text"], "a meeting");
    assert!(
        pauses[0]["until"].is_string() && pauses[1].is_null(),
        "{pauses}"
    );
    for command in ["pause", "unpause"] {
        assert_eq!(result(&runner, &[command, "latest"]), "already_terminal");
    }
}

#[test]
fn a_paused_run_does_nothing_and_no_time_of_it_passes() {
    assert_pauses("0");
}

#[test]
fn a_run_with_workers_is_paused_as_well() {
    assert_pauses("2");
}

#[test]
fn ctrl_z_pauses_workers_that_no_signal_reaches_and_those_that_one_does() {
    let server = slow_server();
    let runner = busy(&server);
    let mut live = runner.start(&["-j", "4", "--workers", "2", "--timeout-minutes", "0.117"]);
    live.wait_until_running(4);
    live.signal(Signal::TSTP);
    wait_until("it says so", || {
        let listed = &runner.list(&[])[0];
        listed["paused"]["at"].is_string()
    });
    assert_nothing_happens(&runner, &mut live);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains(", by Ctrl-Z\n"), "{shown}");
    live.signal(Signal::CONT);
    live.finish().expect(1);
    assert_nothing_has_been(&runner);
}

/// Starts a run with two guests that never end by themselves, and pauses it.
fn paused(runner: &Runner, workers: &str) -> Running {
    let mut live = runner.start(&["-j", "2", "--workers", workers]);
    live.wait_until_running(2);
    // What was assigned may not have begun yet, and what has not begun has no row.
    wait_until("both have begun", || {
        let shown = runner.run(&["show", "--json"]).expect(0).document();
        shown["live"]["in_flight"].as_array().map(Vec::len) == Some(2)
    });
    assert_eq!(result(runner, &["pause"]), "paused");
    live
}

fn endless() -> Runner {
    Runner::hostile(
        r#"
        [defaults]
        timeout = "1h"
        [[tests]]
        id = "loop"
        input = { do = "loop" }
        [[tests]]
        id = "sleep"
        input = { do = "sleep" }
        "#,
    )
}

#[test]
fn a_paused_run_is_stopped_in_time() {
    for workers in ["0", "2"] {
        for (args, code, reason) in [
            (&["stop"][..], 4, "stopped"),
            (&["stop", "--kill"], 4, "stopped"),
            (&["cancel"], 4, "cancelled"),
            (&[], 130, "interrupted"),
        ] {
            let runner = endless();
            let live = paused(&runner, workers);
            let began = Instant::now();
            match args {
                [] => live.signal(Signal::INT),
                args => drop(runner.run(args).expect(0)),
            }
            live.finish().expect(code);
            assert!(began.elapsed() < Duration::from_secs(10), "{args:?}");
            let run = runner.only_run();
            assert_eq!(run.ending()[1], reason);
            assert_eq!(run.rows().len(), 2);
            let pauses = &run.manifest()["sessions"][0]["pauses"];
            assert!(pauses[0]["until"].is_string(), "{pauses}");
        }
    }
}

#[test]
fn a_run_that_is_killed_in_a_pause_has_crashed_and_can_be_gone_on_with() {
    let runner = endless();
    paused(&runner, "2").kill();
    let listed = &runner.list(&[])[0];
    assert_eq!(
        (&listed["status"], &listed["reason"]),
        (&json!("incomplete"), &json!("crashed"))
    );
    assert_eq!(listed["paused"], Value::Null);
    assert_eq!(result(&runner, &["pause", "latest"]), "already_terminal");
    let mut live = runner.command(&["resume", "--json"]).start();
    live.wait_until_running(2);
    // Nobody has paused this session.
    assert_eq!(result(&runner, &["unpause"]), "not_paused");
    live.end_by(Signal::INT).0.expect(130);
    let manifest = runner.only_run().manifest();
    let pauses = &manifest["sessions"][0]["pauses"];
    assert!(
        pauses[0]["at"].is_string() && pauses[0]["until"].is_null(),
        "{manifest}"
    );
    assert!(manifest["sessions"][1]["pauses"].is_null(), "{manifest}");
    runner.assert_valid("benchmark", &[manifest]);
}

#[test]
fn what_waits_for_its_time_waits_longer_by_a_pause() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "again"
        input = { do = "fail-until", attempt = 2 }
        retries = { max = 1, backoff = "4s", on = ["unavailable", "other", "internal"] }
        "#,
    );
    let live = runner.start(&["-j", "1"]);
    let waits = || {
        if runner.runs().is_empty() {
            return Value::Null;
        }
        let show = runner.run(&["show", "--json"]).expect(0).document();
        show["live"]["waiting"][0]["left_ms"].clone()
    };
    wait_until("it waits", || waits().is_number());
    assert_eq!(result(&runner, &["pause"]), "paused");
    let before = milliseconds(&waits());
    sleep(Duration::from_secs(6));
    assert_eq!(milliseconds(&waits()), before);
    assert_eq!(runner.only_run().rows().len(), 1);
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    live.finish().expect(0);
    assert_eq!(runner.only_run().rows().len(), 2);
}

#[test]
fn a_pause_of_nothing_is_refused_as_a_stop_is() {
    let runner = endless();
    for command in ["stop", "pause", "unpause"] {
        runner.run(&[command]).expect(2);
    }
    fs_err::create_dir(runner.path("results")).unwrap();
    for command in ["stop", "pause", "unpause"] {
        runner
            .run(&[command])
            .expect(2)
            .says(&["no run is running"]);
        runner
            .run(&[command, "nothing"])
            .expect(2)
            .says(&["no run `nothing`"]);
    }
}
