//! Workers that lie: what they say is refused, blamed on their task, and never written. Release builds have no such worker.

#![cfg(debug_assertions)]

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{runner::Runner, running::Running, truth::assert_whole};

/// Of one that says nothing, it takes ten seconds until it is given up, twice.
const BOUND: Duration = Duration::from_secs(60);

/// Runs a scenario whose worker lies about the test `a`, and echoes in all others.
fn lied_to(lie: &str) -> (Runner, Option<i32>) {
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "bundled:echo"
        config = {{ lie = "{lie}", test = "a" }}
        [[tests]]
        id = "a"
        input = 1
        timeout = "2s"
        [[tests]]
        id = "b"
        input = 2
        repeat = 20
        expect = {{ equals = 2 }}
        "#
    ));
    let mut command = runner.command(&["exec", "scenario.toml", "-j", "2"]);
    command.env("RUNNER_TEST_WORKER", "__lie");
    let (mut running, began) = (Running::start(&mut command), Instant::now());
    while running.is_alive() {
        assert!(
            began.elapsed() < BOUND,
            "`{lie}` keeps the run from its end"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let code = running.finish().code;
    (runner, code)
}

/// Fails unless the trial that was lied about is a crash, and all others have passed.
#[track_caller]
fn assert_blamed(lie: &str) -> (Runner, Option<i32>) {
    let (runner, code) = lied_to(lie);
    assert_eq!(code, Some(1), "{lie}");
    let run = assert_whole(&runner, 21);
    let row = run.row("a");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("crash")),
        "{lie}: {row}"
    );
    assert_eq!(run.count("passed"), 20, "{lie}");
    assert!(run.rows_of("a").len() <= 4, "{lie}: made again and again");
    (runner, code)
}

#[test]
fn forged_reports_are_not_written() {
    for lie in ["foreign", "line-break", "tail-key", "negative-time"] {
        assert_blamed(lie);
    }
}

#[test]
fn forged_names_become_no_paths() {
    let (runner, code) = assert_blamed("path-artifact");
    assert_eq!(code, Some(1));
    let outside = ["x", "results/x", "../x"].map(|path| runner.path(path).exists());
    assert_eq!(outside, [false; 3]);
}

#[test]
fn garbled_frames_end_the_worker() {
    for lie in ["long-prefix", "unknown-kind", "garbage"] {
        assert_blamed(lie);
    }
}

#[test]
fn workers_that_exit_are_blamed() {
    for lie in ["kill", "exit"] {
        assert_blamed(lie);
    }
}

#[test]
fn silent_workers_are_given_up() {
    assert_blamed("silence");
}

#[test]
fn reports_of_other_tasks_count_nothing() {
    assert_blamed("foreign-task");
}

#[test]
fn doubled_reports_count_once() {
    let (runner, code) = lied_to("doubled");
    assert_eq!(code, Some(0));
    let run = assert_whole(&runner, 21);
    assert_eq!(run.rows().len(), 21);
}
