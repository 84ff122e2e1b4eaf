//! Workers that lie: their messages are refused, blamed on their task, and never written. Release builds have no such
//! worker.

#![cfg(debug_assertions)]

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    runner::{Runner, tests},
    running::{Finished, Running},
    truth::{assert_consistent, assert_whole},
    wait::{STOP_WITHIN, wait_until},
};

/// Runs a scenario whose worker lies about the test `a`, and echoes all others.
fn lied_to(lie: &str) -> (Runner, Finished) {
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
    // Otherwise ten seconds.
    command.env("RUNNER_TEST_SILENCE_MS", "2500");
    let ran = Running::start(&mut command).finish();
    (runner, ran)
}

/// Fails unless the trial with the lie is a crash, and all others have passed.
#[track_caller]
fn assert_blamed(lie: &str) -> Runner {
    let (runner, ran) = lied_to(lie);
    assert_eq!(ran.code, Some(1), "{lie}");
    let run = assert_whole(&runner, 21);
    let row = run.row("a");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("crash")),
        "{lie}: {row}"
    );
    assert_eq!(run.count("passed"), 20, "{lie}");
    assert!(run.rows_of("a").len() <= 4, "{lie}: made again and again");
    runner
}

/// Lies for which a worker is killed and its attempt blamed.
const BLAMED: &[&str] = &[
    // In the row.
    "foreign",
    "ungraded",
    "foreign-trial",
    "other-attempt",
    "other-version",
    "line-break",
    "open",
    "two-rows",
    "doubled-key",
    "tail-key",
    "tail-judged",
    "tail-crc",
    "unknown-outcome",
    "crash",
    "negative-time",
    "huge-time",
    "huge-number",
    "not-a-number",
    "no-time",
    "far-time",
    "not-utf-8",
    "long-row",
    "path-artifact",
    "unsent-artifact",
    // Next to the row.
    "passed-and-faulted",
    "said-garbage",
    "said-lines",
    "unlisted-artifact",
    "far-artifact",
    "artifact-flood",
    // Answers to no task.
    "hello-again",
    "ready-again",
    "need-plugin",
    "need-blob",
    "returned",
    "log-flood",
    // Invalid frames.
    "long-prefix",
    "unknown-kind",
    "garbage",
    "empty-frame",
];

/// Lies that concern only the attempt, or nothing.
const HARMLESS: &[&str] = &[
    "long-time",
    "huge-metrics",
    "steering",
    "doubled",
    "foreign-task",
    "foreign-artifact",
    "foreign-doing",
    "forged-log",
];

/// Runs a scenario whose worker lies about each test as its name says, except about the test `honest`.
fn lied_to_by_name(lies: &[&str]) -> (Runner, Option<i32>) {
    let runner = Runner::new(&[]);
    let table: String = lies.iter().map(|lie| format!("{lie} | 1 |\n")).collect();
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "bundled:echo"
        config = {{ lie = "*" }}
        limits = {{ artifacts = "1MB", reply = "1MB" }}
        [[tests]]
        id = "honest"
        input = 2
        repeat = 20
        expect = {{ equals = 2 }}
        {}
        "#,
        tests(&table)
    ));
    let mut command = runner.command(&["exec", "scenario.toml", "-j", "2"]);
    command.env("RUNNER_TEST_WORKER", "__lie");
    let code = Running::start(&mut command).finish().code;
    (runner, code)
}

#[test]
fn forged_reports_are_not_written() {
    let (runner, code) = lied_to_by_name(BLAMED);
    assert_eq!(code, Some(1));
    let run = assert_whole(&runner, BLAMED.len() + 20);
    for lie in BLAMED {
        let row = run.row(lie);
        assert_eq!(
            (&row["outcome"], &row["error"]["class"]),
            (&json!("error"), &json!("crash")),
            "{lie}: {row}"
        );
        assert!(run.rows_of(lie).len() <= 4, "{lie}: made again and again");
    }
    assert_eq!(run.count("passed"), 20);
    let outside = ["x", "results/x", "../x"].map(|path| runner.path(path).exists());
    assert_eq!(outside, [false; 3]);
    // A flood is dropped.
    assert!(run.text("runner.log").len() < 3 << 20);
}

/// Lies that repeat a frame two million times.
const FLOODS: &[&str] = &[
    "hello-flood",
    "ready-flood",
    "plugin-flood",
    "blob-flood",
    "return-flood",
    "piece-flood",
    "index-flood",
    "report-flood",
    "doing-flood",
    "line-flood",
    "bye-flood",
];

/// Starts a run whose only worker floods the coordinator in each test, as the test's name says, and then echoes.
fn flooded(lies: &[&str], repeat: usize, limit: &str) -> (Runner, Running) {
    let runner = Runner::new(&[]);
    fs::write(runner.path("attached.txt"), "x").unwrap();
    let files = "files = { \"a.txt\" = \"attached.txt\" }";
    let lies =
        lies.iter().map(|lie| format!("[[tests]]\nid = \"{lie}\"\nrepeat = {repeat}\n{files}\n"));
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "bundled:echo"
        config = {{ lie = "*" }}
        {}
        [[tests]]
        id = "honest"
        repeat = 5
        {files}
        "#,
        lies.collect::<String>()
    ));
    let mut command = runner.shell(&format!("{limit}; exec \"$runner\" exec scenario.toml -j 1"));
    command.env("RUNNER_TEST_WORKER", "__lie");
    let running = Running::start(&mut command);
    (runner, running)
}

/// Returns the peak of the coordinator's memory while it runs, without that of its code.
fn peak_memory(running: &mut Running) -> u64 {
    let (process, mut peak) = (running.process(), 0);
    wait_until("it ends", || {
        peak = peak.max(process.anonymous_memory().unwrap_or(0));
        !running.is_alive()
    });
    peak
}

#[test]
fn floods_of_frames_end_their_worker() {
    let (runner, mut running) = flooded(FLOODS, 1, "true");
    let peak = peak_memory(&mut running);
    running.finish().expect(1);
    assert!(peak < 40_000_000, "{peak}");
    let run = assert_whole(&runner, FLOODS.len() + 5);
    for lie in FLOODS {
        let row = run.row(lie);
        assert_eq!(row["error"]["class"], "crash", "{lie}: {row}");
    }
    assert_eq!(run.count("passed"), 5);
    assert!(run.text("runner.log").len() < 8 << 20);
}

#[test]
fn log_of_many_lying_workers_is_bounded() {
    let (runner, running) = flooded(&["line-flood"], 4, "true");
    running.finish().expect(1);
    let log = runner.only_run().text("runner.log");
    // Two workers die of each trial, and each may log 1 MiB.
    assert!(log.len() < 5 << 20, "{}", log.len());
    assert!(log.contains("their later lines are left out"));
}

#[test]
fn floods_end_a_single_call() {
    for (lie, why) in [
        ("piece-flood", "sent artifacts in too many pieces"),
        ("line-flood", "wrote too much to `runner.log`"),
    ] {
        let runner = Runner::new(&[]);
        let config = format!("{{\"lie\": \"{lie}\"}}");
        let mut command =
            runner.command(&["plugin", "run", "bundled:echo", "--input", "1", "--config", &config]);
        let mut running = Running::start(command.env("RUNNER_TEST_WORKER", "__lie"));
        let peak = peak_memory(&mut running);
        running.finish().expect(1).says(&[why]);
        assert!(peak < 40_000_000, "{lie}: {peak}");
    }
}

#[test]
fn stop_is_graceful_in_a_flood() {
    for lie in ["line-flood", "blob-flood"] {
        let (runner, mut running) = flooded(&[lie], 1, "true");
        wait_until("there is a run", || !running.is_alive() || !runner.runs().is_empty());
        let (ran, took) = running.end_by(Signal::INT);
        assert!(took < STOP_WITHIN, "{lie}: {took:?}");
        // The run may have ended before the signal.
        assert!(matches!(ran.code, Some(130 | 1)), "{lie}: {ran:?}");
        // Without a trial, the run is removed.
        let mut runs = runner.runs().into_iter();
        assert!(!runs.any(|run| run.dir.join("last-words.json").exists()), "{lie}");
    }
}

#[test]
fn open_artifacts_end_only_their_worker() {
    for limit in ["true", "ulimit -n 128"] {
        let (runner, running) = flooded(&["draft-flood"], 1, limit);
        running.finish().expect(1);
        let run = assert_whole(&runner, 6);
        assert_eq!(run.row("draft-flood")["error"]["class"], "crash");
        assert_eq!(run.count("passed"), 5);
    }
}

#[test]
fn endless_excuses_end_the_run() {
    for lie in ["stopped", "no-memory"] {
        let (runner, ran) = lied_to(lie);
        let run = runner.only_run();
        assert_eq!(run.ending()[0], "incomplete", "{lie}: {ran:?}");
        // A trial of the other test may run between two of them.
        let rows = run.rows_of("a");
        assert!((3..=24).contains(&rows.len()), "{lie}: {} rows", rows.len());
        assert!(rows.iter().all(|row| row["final"] == false), "{lie}");
        assert_consistent(&runner);
    }
}

#[test]
fn lies_about_nothing_change_nothing() {
    let (runner, code) = lied_to_by_name(HARMLESS);
    assert_eq!(code, Some(0));
    let run = assert_whole(&runner, HARMLESS.len() + 20);
    assert_eq!(run.rows().len(), HARMLESS.len() + 20);
    for name in ["runner.log", "index.jsonl"] {
        let text = run.text(name);
        assert!(!text.contains('\u{1b}'), "{name}: {text}");
    }
    let is_forged = |line: &str| line.starts_with("2026-01-01T00:00:00");
    assert!(!run.text("runner.log").lines().any(is_forged));
    for args in [&["show"][..], &["show", "--json"], &["show", "latest", "steering"], &["list"]] {
        let shown = runner.run(args).expect(0).stdout;
        let steers = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
        assert!(!shown.contains(steers), "{args:?}: {shown}");
    }
}

#[test]
fn workers_that_exit_are_blamed() {
    for lie in ["kill", "exit", "unseen-exit"] {
        let runner = assert_blamed(lie);
        let row = runner.only_run().row("a");
        let message = row["error"]["message"].as_str().unwrap();
        let how = ["exited with code 0", "was ended by signal 6: "];
        assert!(how.iter().any(|how| message.contains(how)), "{message}");
        let shown = runner.run(&["show", "latest", "a"]).expect(0).stdout;
        for text in [shown, runner.only_run().text("runner.log")] {
            let steers = |letter: char| letter.is_control() && letter != '\n';
            assert!(!text.contains(steers), "{lie}: {text:?}");
        }
    }
}

#[test]
fn lies_about_plugins_stay_small() {
    // The second is too long for a frame.
    for (lie, code) in [("problems", 2), ("doubled-problems", 3)] {
        let (runner, ran) = lied_to(lie);
        let text = ran.expect(code).stderr;
        assert!(text.len() < 1 << 20 && !text.contains('\u{1b}'), "{lie}: {} bytes", text.len());
        assert_eq!(runner.runs().len(), usize::from(code == 3), "{lie}");
    }
}

#[test]
fn silent_workers_are_given_up() {
    assert_blamed("silence");
}
