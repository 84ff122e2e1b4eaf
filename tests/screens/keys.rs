//! The key `t` on a terminal, and Ctrl-Z: what is shown, and that the terminal is as it was whatever ends or stops the run.

use std::{thread::sleep, time::Duration};

use serde_json::Value;

use crate::support::{
    processes,
    runner::{Runner, Signal},
    terminal::{AtTerminal, at_terminal},
    wait::wait_until,
};

/// A guest that computes and one that waits, neither of which ends by itself.
const ENDLESS: &str = r#"
[defaults]
timeout = "1h"
[[tests]]
id = "busy"
input = { do = "loop" }
[[tests]]
id = "idle"
input = { do = "sleep" }
"#;

/// Two that end once each has slept.
const BRIEF: &str = r#"
[[tests]]
id = "first"
input = { do = "sleep", ms = 1000 }
[[tests]]
id = "second"
input = { do = "sleep", ms = 1000 }
"#;
/// Two that sleep for nearly as long as they may.
const LONG: &str = r#"
[defaults]
timeout = "10s"
[[tests]]
id = "first"
input = { do = "sleep", ms = 8000 }
[[tests]]
id = "second"
input = { do = "sleep", ms = 8000 }
"#;
/// So long that what is left of an attempt's time would be up.
const PAUSE: Duration = Duration::from_secs(5);

fn live(runner: &Runner, args: &[&str]) -> AtTerminal {
    let args = [&["exec", "scenario.toml", "-j", "2"], args].concat();
    let live = at_terminal(runner.on_own_terminal(&args), 100);
    live.wait_for_keys();
    wait_until("both have begun", || in_flight(runner) == 2);
    live
}

fn in_flight(runner: &Runner) -> usize {
    if runner.runs().is_empty() {
        return 0;
    }
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    shown["live"]["in_flight"].as_array().map_or(0, Vec::len)
}

#[test]
fn the_key_t_shows_what_each_attempt_does() {
    let runner = Runner::hostile(ENDLESS);
    let mut live = live(&runner, &[]);
    wait_until("it is known what they do", || {
        let shown = runner.run(&["show", "--json"]).expect(0).document();
        shown["live"]["in_flight"]
            .as_array()
            .is_some_and(|all| all.iter().any(|attempt| attempt["what"] == "sleep"))
    });
    live.type_keys("xt");
    live.wait_for("doing");
    live.wait_for("busy@hostile#1");
    live.wait_for("computing");
    live.wait_for("idle@hostile#1");
    live.wait_for("sleep");
    // The progress is drawn below it again, and says how to see it.
    live.wait_for("0/2");
    live.wait_for("t: all");
    live.type_keys("t");
    live.wait_for("doing");
    runner.run(&["pause"]).expect(0);
    live.type_keys("t");
    live.wait_for("paused since ");
    live.wait_for("doing");
    live.type_keys("\x03");
    assert_eq!(live.wait().code(), Some(130));
    assert!(live.is_for_lines());
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_the_run() {
    for (workers, signals, code) in [
        ("0", &[Signal::INT][..], Some(130)),
        ("0", &[Signal::TERM], Some(143)),
        ("2", &[Signal::TERM, Signal::TERM], Some(143)),
        // Each of these ends it at once, whatever it does.
        ("2", &[Signal::INT, Signal::INT, Signal::INT], Some(130)),
        ("0", &[Signal::QUIT], None),
    ] {
        let runner = Runner::hostile(ENDLESS);
        let mut live = live(&runner, &["--workers", workers]);
        let pid = rustix::process::Pid::from_child(&live.child);
        for signal in signals {
            // It may have ended by the one before.
            let _ = rustix::process::kill_process(pid, *signal);
        }
        assert_eq!(live.wait().code(), code, "{signals:?}\n{}", live.text());
        assert!(live.is_for_lines(), "{signals:?}");
    }
    let runner = Runner::hostile(BRIEF);
    let args = ["exec", "scenario.toml", "-j", "2"];
    let mut live = at_terminal(runner.on_own_terminal(&args), 100);
    assert_eq!(live.wait().code(), Some(0), "{}", live.text());
    assert!(live.is_for_lines());
    // What it has printed last may have yet to be read.
    live.wait_for("passed: 2 of 2");
}

#[test]
fn a_terminal_is_left_alone_where_nobody_looks_at_the_progress() {
    let runner = Runner::hostile(BRIEF);
    for args in [&["--quiet"][..], &["--json"]] {
        let args = [&["exec", "scenario.toml", "-j", "2"], args].concat();
        let mut live = at_terminal(runner.on_own_terminal(&args), 100);
        let mut always = true;
        wait_until("it ends", || {
            always &= live.is_for_lines();
            live.child.try_wait().unwrap().is_some()
        });
        assert!(always, "{args:?}");
    }
}

/// The process of the only run.
fn owner(runner: &Runner) -> Option<u32> {
    let shown = runner.run(&["show", "--json"]).document();
    shown["live"]["pid"].as_u64().map(|pid| pid as u32)
}

fn is_paused(runner: &Runner) -> bool {
    runner.list(&[])[0]["paused"]["at"].is_string()
}

#[track_caller]
fn assert_goes_on_in_a_shell(workers: &str, stop: impl Fn(&mut AtTerminal, u32)) {
    let runner = Runner::hostile(LONG);
    let mut shell = at_terminal(runner.interactive_shell(), 100);
    shell.wait_for("ready> ");
    shell.type_keys(&format!(
        "$runner exec scenario.toml -j 2 --workers {workers}\n"
    ));
    wait_until("both have begun", || in_flight(&runner) == 2);
    shell.wait_for_keys();
    let pid = owner(&runner).unwrap();
    stop(&mut shell, pid);
    shell.wait_for("Stopped");
    shell.wait_for("ready> ");
    assert!(shell.is_for_lines());
    assert!(is_paused(&runner));
    sleep(PAUSE);
    assert!(is_paused(&runner));
    shell.type_keys("fg\n");
    shell.wait_for_keys();
    shell.type_keys("t");
    shell.wait_for("doing");
    shell.wait_for("passed: 2 of 2");
    shell.wait_for("ready> ");
    shell.type_keys("echo code $?\n");
    shell.wait_for("code 0");
    assert!(shell.is_for_lines());
    let manifest = runner.only_run().manifest();
    let pauses = manifest["sessions"][0]["pauses"].as_array().unwrap().len();
    assert_eq!(pauses, 1, "{manifest}");
    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(history.contains("Ctrl-Z"), "{history}");
}

#[test]
fn a_run_goes_on_after_ctrl_z_and_fg() {
    assert_goes_on_in_a_shell("0", |shell, _| shell.type_keys("\x1a"));
}

#[test]
fn a_run_with_workers_goes_on_after_ctrl_z_and_fg() {
    assert_goes_on_in_a_shell("2", |shell, _| shell.type_keys("\x1a"));
}

#[test]
fn a_run_goes_on_after_its_whole_process_group_was_stopped() {
    assert_goes_on_in_a_shell("2", |_, pid| {
        processes::wait_for_workers(pid, 2);
        let group = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process_group(group, Signal::TSTP).unwrap();
    });
}

#[test]
fn keys_of_a_run_in_the_background_are_the_shells() {
    let runner = Runner::hostile(ENDLESS);
    let mut shell = at_terminal(runner.interactive_shell(), 100);
    shell.wait_for("ready> ");
    shell.type_keys("$runner exec scenario.toml -j 2 &\n");
    wait_until("both have begun", || in_flight(&runner) == 2);
    assert!(shell.is_for_lines());
    shell.type_keys("echo to$((20+1))t\n");
    shell.wait_for("to21t");
    assert!(!is_paused(&runner));
    shell.type_keys("fg\n");
    shell.wait_for_keys();
    shell.type_keys("t");
    shell.wait_for("doing");
    shell.type_keys("\x1a");
    shell.wait_for("Stopped");
    shell.type_keys("bg\n");
    wait_until("it goes on", || !is_paused(&runner));
    shell.type_keys("echo by$((20+2))t\n");
    shell.wait_for("by22t");
    assert!(shell.is_for_lines());
    assert_eq!(in_flight(&runner), 2);
    runner.run(&["stop", "--kill"]).expect(0);
    let status = |run: &Value| run["status"].as_str().map(str::to_owned);
    assert_eq!(status(&runner.list(&[])[0]).as_deref(), Some("incomplete"));
}
