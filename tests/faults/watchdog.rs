//! A runner that does not come round to its own end is ended, and what it would have said is known.
//!
//! Nobody reads its standard output here, so that the loop that decides everything waits for ever to write there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    runner::{Run, Runner, Running, Signal},
    truth::{assert_kept, assert_listed_truly, canonical},
    wait::wait_for,
};

/// The bound of a stop, what the watchdog adds, and a lot for a busy machine.
const BOUND: Duration = Duration::from_secs(15);

/// Longer than anything that is waited for takes on a busy machine.
const LONG: Duration = Duration::from_secs(100);

fn many() -> Runner {
    Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 30000\ninput = { do = \"echo\", value = \"x\" }\n",
    )
}

/// Waits until the program has filled the pipe that nobody empties.
fn wait_until_stuck(run: &Run) {
    let size = || fs_err::metadata(run.dir.join("index.jsonl")).map_or(0, |file| file.len());
    let begun = Instant::now();
    let mut last = (size(), Instant::now());
    // Rows are shorter than the events that tell of them, so there are fewer bytes of them than a pipe holds.
    while last.0 < 16 * 1024 || last.1.elapsed() < Duration::from_millis(700) {
        assert!(begun.elapsed() < LONG, "it does not get stuck");
        std::thread::sleep(Duration::from_millis(20));
        if size() != last.0 {
            last = (size(), Instant::now());
        }
    }
}

fn wait_for_run(runner: &Runner) -> Run {
    wait_for("there is a run", || runner.runs().pop())
}

/// Waits for the end without reading anything; gives the exit code and what lay in the pipe.
fn end_of(mut live: Running) -> (i32, String) {
    let waited = Instant::now();
    while live.is_alive() {
        assert!(waited.elapsed() < BOUND, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = live.finish();
    (ran.code.unwrap(), ran.stdout)
}

/// Fails unless a stuck run has left word, and the next sweep takes the reason from there.
fn assert_word_is_taken(runner: &Runner, told: &str, reason: &str, signal: Option<&str>) {
    let run = runner.only_run();
    assert_eq!(run.manifest()["status"], "running");
    let words: Value = serde_json::from_str(&run.read("last-words.json")).unwrap();
    assert_eq!(
        (&words["session"], &words["reason"]),
        (&json!(1), &json!(reason))
    );
    assert_eq!(words["signal"].as_str(), signal);
    assert_kept(&run, &crate::support::truth::acknowledged(told));
    assert_listed_truly(runner);

    runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    let manifest = run.manifest();
    let session = &manifest["sessions"][0];
    assert_eq!(manifest["status"], "incomplete");
    assert_eq!(
        (&manifest["reason"], &session["reason"]),
        (&json!(reason), &json!(reason))
    );
    assert_eq!(manifest["signal"].as_str(), signal);
    assert!(!run.dir.join("last-words.json").exists());

    runner
        .run(&["resume", "--quiet", "--timeout-minutes", "5"])
        .expect(0);
    assert_eq!(canonical(&run).len(), 30_000);
}

#[test]
fn a_stop_ends_a_runner_that_is_stuck() {
    let runner = many();
    let live = runner.start(&["-j", "2"]);
    wait_until_stuck(&wait_for_run(&runner));
    live.signal(Signal::TERM);
    let (code, told) = end_of(live);
    assert_eq!(code, 143);
    assert_word_is_taken(&runner, &told, "interrupted", Some("SIGTERM"));
}

#[test]
fn the_deadline_ends_a_runner_that_is_stuck() {
    let runner = many();
    let live = runner.start(&["-j", "2", "--timeout-minutes", "0.05"]);
    let (code, told) = end_of(live);
    assert_eq!(code, 4);
    assert_word_is_taken(&runner, &told, "timeout", None);
}
