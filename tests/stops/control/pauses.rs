//! `pause` and `unpause`, Ctrl-Z, and processes that are suspended.

use std::time::{Duration, Instant, SystemTime};
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{asked, result, started};
use crate::messages::outputs::snapshot;
use crate::support::{
    cases::at_once,
    guests::steps_to_compile,
    processes::children,
    random::{Random, times},
    run::Run,
    runner::Runner,
    running::Running,
    truth::{assert_consistent, assert_whole},
    wait::{STOP_WITHIN, wait_for, wait_until},
};

/// Longest time between SIGTSTP and SIGCONT of a random test.
const MAX_GAP: Duration = Duration::from_millis(300);

#[test]
fn paused_run_is_refused_all_the_same() {
    let runner = Runner::new(&[]);
    runner.write("long.wasm", steps_to_compile(100_000));
    // It is a plain program.
    let keys = "plugin = \"long.wasm\"\nprotocol = \"json\"";
    runner.scenario(&format!("[providers.p]\n{keys}\n[[tests]]\nid = \"a\"\n"));
    let mut command = runner.command(&["exec", "scenario.toml"]);
    // Other tests must not find this plugin compiled.
    let running = Running::start(command.env("RUNNER_CACHE", runner.path("cache")));
    let coordinator = running.process().0;
    let compiler = wait_for("the plugin is compiled", || {
        runner.runs().pop().and_then(|_| children(coordinator, "__compile").pop())
    });
    compiler.signal(Signal::STOP);
    runner.run(&["pause"]).expect(0);
    compiler.signal(Signal::CONT);
    snapshot(&running.finish().expect(2));
    assert!(runner.runs().is_empty(), "there is a run");
}

/// Returns the result of a check for the shortest limit that leaves it enough time. The check returns `None` if the limit
/// ran out before the check could stop the time, as may happen on a busy machine.
#[track_caller]
fn with_limit<T>(mut check: impl FnMut(Duration) -> Option<T>) -> T {
    let found =
        [1, 2, 4, 8, 16].into_iter().find_map(|seconds| check(Duration::from_secs(seconds)));
    found.expect("16 s are enough")
}

/// Waits for as long as a run takes to end by a timeout: a paused run with the same timeout would have ended, too, if its
/// time had passed.
#[track_caller]
fn outlast(timeout: Duration) {
    let runner = Runner::hostile("[[tests]]\nid = \"nap\"\ninput = { do = \"sleep\" }\n");
    runner.exec(&["--timeout", &format!("{}ms", timeout.as_millis())]).expect(4);
}

/// Creates a guest that sleeps for half of its timeout, and a guest that computes until its timeout.
fn timed(timeout: Duration) -> Runner {
    let timeout = timeout.as_millis();
    let nap = timeout / 2;
    Runner::hostile(&format!(
        r#"
        [defaults]
        timeout = "{timeout}ms"
        [[tests]]
        id = "sleep"
        input = {{ do = "sleep", ms = {nap} }}
        [[tests]]
        id = "loop"
        input = {{ do = "loop" }}
        expect = {{ error = "timeout" }}
        "#
    ))
}

/// Waits until this number of attempts is running. Returns `false` if one or the run has ended before.
#[track_caller]
fn are_running(runner: &Runner, running: &mut Running, attempts: usize) -> bool {
    wait_for("attempts run, or one has ended", || {
        if !running.is_alive() {
            return Some(false);
        }
        let run = runner.runs().pop()?;
        let is_in_time = run.rows().is_empty();
        let count = run.in_flight(SystemTime::UNIX_EPOCH).len();
        (!is_in_time || count == attempts).then_some(is_in_time)
    })
}

/// Returns whether both guests of [`timed`] have run for less than half of their timeout. Rows do not show it: a row may be
/// written after its attempt has ended and the time was stopped.
fn are_in_time(run: &Run, timeout: Duration) -> bool {
    let path = run.dir.join("live.json");
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let age = written.elapsed().unwrap_or_default();
    let live: Value = fs::read_to_string(path).unwrap().parse().unwrap_or_default();
    let ran = |attempt: &Value| Duration::from_millis(ms(&attempt["ms"])) + age;
    let attempts = live["in_flight"].as_array();
    attempts.is_some_and(|attempts| {
        attempts.len() == 2 && attempts.iter().all(|attempt| ran(attempt) < timeout / 2)
    })
}

/// Starts the guests of [`timed`], and stops their time while both run. `freeze` returns whether it could. Returns their
/// timeout, too.
#[track_caller]
fn frozen(
    args: &[&str],
    freeze: impl Fn(&Runner, &mut Running) -> bool,
) -> (Runner, Running, Duration) {
    with_limit(|timeout| {
        let runner = timed(timeout);
        let mut running = runner.start(&[&["-j", "2"], args].concat());
        let is_frozen = are_running(&runner, &mut running, 2) && freeze(&runner, &mut running);
        let is_in_time = is_frozen && are_in_time(&runner.only_run(), timeout);
        is_in_time.then_some((runner, running, timeout))
    })
}

fn ms(value: &Value) -> u64 {
    value.as_f64().unwrap_or_default() as u64
}

/// Fails unless both attempts ended as if nothing had happened, and have the time of the suspension separately.
#[track_caller]
fn assert_undisturbed(runner: &Runner, timeout: Duration) -> Run {
    let run = assert_whole(runner, 2);
    assert_eq!(run.rows().len(), 2, "no attempt was made twice");
    let timeout = timeout.as_millis() as u64;
    for (test, range) in [("sleep", 0..timeout), ("loop", timeout..2 * timeout)] {
        let row = run.row(test);
        assert_eq!(row["outcome"], "passed", "{row}");
        assert!(ms(&row["suspended_ms"]) >= timeout * 3 / 4, "{row}");
        assert!(range.contains(&ms(&row["duration_ms"])), "{row}");
    }
    run
}

#[test]
fn no_time_passes_in_a_pause() {
    let (runner, mut running, timeout) = frozen(&[], |runner, _| {
        let pause = asked(runner, &["pause", "latest", "--reason", "a meeting"]);
        if pause["result"] == "already_terminal" {
            return false;
        }
        assert_eq!([&pause["result"], &pause["status"]], ["paused", "running"]);
        assert_eq!(pause["paused"]["by"]["reason"], "a meeting");
        true
    });
    assert_eq!(result(&runner, &["pause"]), "already_paused");
    let shown = runner.run(&["list"]).expect(0).stdout;
    assert!(shown.contains("running (paused)"), "{shown}");
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("running (paused)"), "{shown}");
    assert!(shown.contains(": a meeting\n"), "{shown}");
    outlast(timeout);
    assert_eq!(runner.only_run().rows().len(), 0);
    assert!(running.is_alive());
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    let events = running.finish().expect(0).events();
    for name in ["paused", "unpaused"] {
        assert_eq!(events.iter().filter(|event| event["event"] == name).count(), 1);
    }
    let run = assert_undisturbed(&runner, timeout);
    let session = run.manifest()["sessions"][0].clone();
    assert_eq!(session["pauses"][0]["by"]["reason"], "a meeting");
    assert!(session["pauses"][0]["to"].is_string(), "{session}");
    assert!(session["pauses"][1].is_null(), "{session}");
    assert!(ms(&session["suspended_ms"]) >= timeout.as_millis() as u64, "{session}");
    for command in ["pause", "unpause"] {
        assert_eq!(result(&runner, &[command, "latest"]), "already_terminal");
    }
}

#[test]
fn run_timeout_waits_for_a_pause() {
    let runner = with_limit(|timeout| {
        let timeout = timeout.as_millis();
        let runner = Runner::hostile(&format!(
            "[[tests]]\nid = \"nap\"\nrepeat = 2\ninput = {{ do = \"sleep\", ms = {} }}\n",
            timeout / 4
        ));
        // Compiles the guest, which would count.
        runner.run(&["validate", "scenario.toml"]).expect(0);
        let mut running = runner.start(&["-j", "1", "--timeout", &format!("{timeout}ms")]);
        if !are_running(&runner, &mut running, 1) {
            return None;
        }
        for (command, expected) in [
            ("pause", "paused"),
            ("unpause", "unpaused"),
            ("unpause", "not_paused"),
            ("pause", "paused"),
        ] {
            let result = result(&runner, &[command, "latest"]);
            if result == "already_terminal" {
                return None;
            }
            assert_eq!(result, expected);
        }
        let rows = runner.only_run().rows().len();
        outlast(Duration::from_millis(timeout as u64));
        // An attempt that ended just before the pause may have been reported after it, also the last one.
        assert!(runner.only_run().rows().len() <= rows + 1);
        if runner.only_run().ending()[0] == "completed" {
            return None;
        }
        assert_eq!(result(&runner, &["unpause"]), "unpaused");
        // Starting and two naps may take longer than the timeout on a busy machine.
        (running.finish().code == Some(0)).then_some(runner)
    });
    let run = assert_whole(&runner, 2);
    let pauses = &run.manifest()["sessions"][0]["pauses"];
    assert_eq!(pauses.as_array().unwrap().len(), 2);
}

#[test]
fn backoff_stands_still_in_a_pause() {
    let (runner, running, backoff) = with_limit(|backoff| {
        let runner = Runner::hostile(&format!(
            "[[tests]]\nid = \"late\"\ninput = {{ do = \"fail-until\", attempt = 2 }}\nretries = {{ max = 1, backoff = \"{}ms\" }}\n",
            backoff.as_millis()
        ));
        let mut running = runner.start(&["-j", "1"]);
        running.wait_for_rows(1);
        let is_paused = result(&runner, &["pause", "latest"]) == "paused";
        (is_paused && runner.only_run().rows().len() == 1).then_some((runner, running, backoff))
    });
    outlast(backoff);
    assert_eq!(runner.only_run().rows().len(), 1);
    assert_eq!(result(&runner, &["unpause"]), "unpaused");
    running.finish().expect(0);
    assert_whole(&runner, 1);
}

/// Creates one test whose guest sleeps.
fn sleeps(ms: u128) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"sleep\"\ninput = {{ do = \"sleep\", ms = {ms} }}\n"
    ))
}

#[test]
fn sleeps_stand_still_in_a_pause() {
    at_once(["pause", "suspension"], |way| {
        let (runner, running, nap) = with_limit(|nap| {
            let runner = sleeps(nap.as_millis());
            let mut running = runner.start(&["-j", "1"]);
            if !are_running(&runner, &mut running, 1) {
                return None;
            }
            if way == "pause" {
                let result = result(&runner, &["pause", "latest"]);
                assert!(["paused", "already_terminal"].contains(&&*result), "{result}");
            } else {
                running.workers().iter().for_each(|worker| worker.signal(Signal::STOP));
            }
            runner.only_run().rows().is_empty().then_some((runner, running, nap))
        });
        outlast(nap * 3 / 2);
        if way == "pause" {
            assert_eq!(result(&runner, &["unpause"]), "unpaused");
        } else {
            running.workers().iter().for_each(|worker| worker.signal(Signal::CONT));
        }
        running.finish().expect(0);
        let row = runner.only_run().row("sleep");
        // The clock counts microseconds, and the row milliseconds with fractions.
        assert!(ms(&row["duration_ms"]) >= nap.as_millis() as u64 - 1, "{way}: {row}");
        assert!(ms(&row["suspended_ms"]) >= nap.as_millis() as u64, "{way}: {row}");
    });
}

/// Runs short naps, and stops the time in the moment after the second wave of them.
#[track_caller]
fn assert_counts_in_a_pause(pause: impl Fn(&Runner, &Running)) {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 600\ninput = { do = \"sleep\", ms = 300 }\n",
    );
    let mut running = runner.start(&["-j", "8"]);
    running.wait_for_rows(16);
    pause(&runner, &running);
    let run = runner.only_run();
    wait_until("the counts are those of the rows", || {
        runner.list()[0]["counts"]["passed"] == run.rows().len()
    });
    let rows = run.rows().len();
    assert!((16..600).contains(&rows), "{rows}");
    running.process().signal(Signal::CONT);
    running.end_by(Signal::INT);
}

#[test]
fn counts_in_a_pause_are_current() {
    assert_counts_in_a_pause(|runner, _| assert_eq!(result(runner, &["pause"]), "paused"));
}

#[test]
fn counts_after_ctrl_z_are_current() {
    assert_counts_in_a_pause(|_, running| {
        running.process().signal(Signal::TSTP);
        wait_until("it is stopped", || running.process().is_stopped());
    });
}

#[test]
fn stop_ends_a_pause_and_the_run() {
    for (what, args) in
        [("loop", &["stop"][..]), ("sleep", &["cancel"]), ("loop", &["stop", "--kill"])]
    {
        let runner = Runner::endless(3, what, "");
        let running = started(&runner);
        assert_eq!(result(&runner, &["pause"]), "paused");
        let asked_at = Instant::now();
        let answer = asked(&runner, args);
        assert!(asked_at.elapsed() < STOP_WITHIN, "{args:?}");
        assert_ne!(answer["result"], "already_terminal");
        running.finish().expect(4);
        let manifest = runner.only_run().manifest();
        let pauses = &manifest["sessions"][0]["pauses"];
        assert!(pauses[0]["to"].is_string(), "{manifest}");
        assert_eq!(runner.only_run().rows().len(), 2);
    }
    let runner = Runner::endless(3, "loop", "");
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn history_shows_requests_and_requesters() {
    let runner = Runner::endless(3, "loop", "");
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
        "cancelled (cancelled), written by cancel, requested by",
        ": a wrong model",
    ]);
    runner.run(&["show", "--history", "--failed"]).expect(2);
}

#[test]
fn drain_ends_a_pause() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 8\ninput = { do = \"sleep\", ms = 1500 }\n",
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
        "[[tests]]\nid = \"nap\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 4000 }\n",
    );
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    let workers = running.workers();
    running.kill();
    wait_until("no worker is left", || workers.iter().all(|worker| !worker.is_alive()));
    assert_consistent(&runner);
    let listed = &runner.list()[0];
    assert_eq!(
        [&listed["status"], &listed["reason"], &listed["paused"]],
        [&json!("incomplete"), &json!("crashed"), &Value::Null]
    );
    runner.run(&["resume", "-j", "4"]).expect(0);
    let run = assert_whole(&runner, 4);
    let sessions = run.manifest()["sessions"].clone();
    assert!(sessions[0]["pauses"][0]["to"].is_string(), "{sessions}");
    assert!(sessions[1]["pauses"].is_null(), "{sessions}");
}

#[test]
fn ctrl_z_pauses_and_stops_the_process() {
    let (runner, running, timeout) = frozen(&[], |runner, running| {
        running.process().signal(Signal::TSTP);
        let is_paused = || runner.list()[0]["paused"]["from"].is_string();
        wait_until("it is paused", || !running.is_alive() || is_paused());
        wait_until("it is stopped", || !running.is_alive() || running.process().is_stopped());
        running.is_alive()
    });
    assert!(runner.list()[0]["paused"]["by"].is_null());
    runner.run(&["unpause"]).expect(6).says(&["is suspended"]);
    outlast(timeout);
    running.process().signal(Signal::CONT);
    running.finish().expect(0);
    let run = assert_undisturbed(&runner, timeout);
    let session = run.manifest()["sessions"][0].clone();
    assert!(session["pauses"][0]["to"].is_string(), "{session}");
    assert!(session["pauses"][1].is_null(), "{session}");
}

/// Sends SIGTSTP, and SIGCONT after `gap`.
fn suspend_and_continue(running: &Running, gap: Duration) {
    running.process().signal(Signal::TSTP);
    // The time between both signals is what the tests vary.
    thread::sleep(gap);
    running.process().signal(Signal::CONT);
}

#[test]
fn processes_continue_however_soon_sigcont_comes() {
    let nap = "[[tests]]\nid = \"nap\"\nrepeat = 100000\ninput = { do = \"sleep\", ms = 5 }\n";
    let runner = Runner::hostile_in_memory(nap);
    // Before there is a run, too.
    let mut running = runner.start(&["-j", "2"]);
    suspend_and_continue(&running, Duration::from_millis(1));
    let mut random = Random::new();
    let first = [0, 1, 2, 5, 10, 15, 19].map(Duration::from_millis);
    let gaps: Vec<_> = (0..times(20, 300)).map(|_| random.up_to(MAX_GAP)).collect();
    for gap in first.into_iter().chain(gaps) {
        running.wait_for_rows(1);
        suspend_and_continue(&running, gap);
        let rows = runner.only_run().rows().len();
        wait_until(&format!("rows are written again, {gap:?} after a signal"), || {
            runner.only_run().rows().len() > rows + 2
        });
    }
    running.end_by(Signal::INT).0.expect(130);
    let pauses = runner.only_run().manifest()["sessions"][0]["pauses"].clone();
    let has_ended = |pause: &Value| pause["to"].is_string();
    assert!(pauses.as_array().is_none_or(|pauses| pauses.iter().all(has_ended)), "{pauses}");
}

#[test]
fn suspended_processes_lose_no_time() {
    at_once(["all", "workers"], |who| {
        let suspended = |running: &Running| {
            let mut processes = running.workers();
            if who == "all" {
                processes.push(running.process());
            }
            processes
        };
        let (runner, running, timeout) = frozen(&[], |_, running| {
            for process in suspended(running) {
                process.signal(Signal::STOP);
            }
            true
        });
        outlast(timeout);
        for process in suspended(&running) {
            process.signal(Signal::CONT);
        }
        running.finish().expect(0);
        let run = assert_undisturbed(&runner, timeout);
        let suspended = ms(&run.manifest()["sessions"][0]["suspended_ms"]);
        let is_whole = suspended >= timeout.as_millis() as u64 * 3 / 4;
        assert_eq!(is_whole, who == "all", "{who}: {suspended}");
    });
}

#[test]
fn suspended_coordinator_costs_no_attempt() {
    let (runner, timeout) = with_limit(|timeout| {
        let runner = timed(timeout / 2);
        // Compiles the guest, which would count.
        runner.run(&["validate", "scenario.toml"]).expect(0);
        let timeout_ms = format!("{}ms", timeout.as_millis());
        let mut running = runner.start(&["-j", "2", "--timeout", &timeout_ms]);
        if !are_running(&runner, &mut running, 2) {
            return None;
        }
        running.process().signal(Signal::STOP);
        outlast(timeout);
        running.process().signal(Signal::CONT);
        // Starting and the attempts may take longer than the timeout on a busy machine.
        (running.finish().code == Some(0)).then_some((runner, timeout))
    });
    let run = assert_whole(&runner, 2);
    assert_eq!(run.rows().len(), 2);
    let suspended = ms(&run.manifest()["sessions"][0]["suspended_ms"]);
    assert!(suspended >= timeout.as_millis() as u64 * 3 / 4, "{suspended}");
}

#[test]
fn pauses_count_for_no_lost_attempt() {
    let started_at = Instant::now();
    let runner = Runner::endless(2, "loop", "");
    let running = started(&runner);
    assert_eq!(result(&runner, &["pause"]), "paused");
    let (before, paused_at) = (started_at.elapsed(), Instant::now());
    assert!(runner.list()[0]["paused"]["from"].is_string());
    let pause = paused_at.elapsed();
    for worker in running.workers() {
        worker.signal(Signal::KILL);
    }
    let run = runner.only_run();
    wait_until("the loss is written down", || run.rows().len() == 2);
    let all = started_at.elapsed();
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
