//! Files of a run that are truncated, held by a process, or copied from elsewhere.

use std::fs;

use serde_json::json;

use crate::messages::transcript::Transcript;
use crate::support::{
    run::sealed,
    runner::Runner,
    truth::{assert_consistent, assert_whole},
};

const TRIALS: usize = 40;

/// Creates a run whose process was killed after some rows. Two at once, its trials take some seconds, so that the kill comes
/// before the end.
fn killed() -> Runner {
    let runner = Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = {TRIALS}\ninput = {{ do = \"sleep\", ms = 250 }}\n"
    ));
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(4);
    running.kill();
    runner
}

/// Returns the bytes that repairs have moved aside.
fn set_aside(runner: &Runner) -> Vec<u8> {
    let entries = fs::read_dir(runner.only_run().dir).unwrap().map(|entry| entry.unwrap());
    let torn = entries.filter(|entry| entry.file_name().to_str().unwrap().contains("torn"));
    torn.flat_map(|entry| fs::read(entry.path()).unwrap()).collect()
}

#[test]
fn torn_tails_are_moved_aside() {
    for tail in [
        &b"{\"v\":4,\"trial\":\"nap@hostile#40\",\"test\":\"na"[..],
        b"\0\0\0\0",
        b"\xff\xfe garbage",
    ] {
        let runner = killed();
        let run = runner.only_run();
        let mut index = run.bytes("index.jsonl");
        index.truncate(index.iter().rposition(|byte| *byte == b'\n').unwrap() + 1);
        let whole = index.clone();
        index.extend_from_slice(tail);
        run.write("index.jsonl", &index);
        assert_consistent(&runner);
        assert_eq!(run.bytes("index.jsonl"), index, "a reader has changed it");
        let ran = runner.run(&["resume", "latest", "-j", "40"]).expect(0);
        ran.says(&["moved to", "index.torn-1"]);
        let run = assert_whole(&runner, TRIALS);
        assert!(run.text("runner.log").contains("index.torn-1"));
        assert!(run.bytes("index.jsonl").starts_with(&whole));
        let aside = set_aside(&runner);
        assert!(aside.windows(tail.len()).any(|piece| piece == tail), "{aside:?}");
    }
}

#[test]
fn held_run_is_not_resumed() {
    let runner =
        Runner::hostile("[[tests]]\nid = \"spin\"\ntimeout = \"10m\"\ninput = { do = \"loop\" }\n");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("process {} on {}", running.process().0, host.trim());
    let lock = runner.only_run().text("lock");
    let day = lock.lines().find_map(|line| line.strip_prefix("since ")?.get(..10)).unwrap();
    let refused = runner.run(&["resume", "latest"]).expect(6);
    refused.says(&[&holder, &format!(" since {day}T")]);
    let listed = &runner.list()[0];
    assert_eq!((&listed["status"], &listed["exit_code"]), (&json!("running"), &json!(null)));
    running.end_by(rustix::process::Signal::INT).0.expect(130);
    assert_consistent(&runner);
}

#[test]
fn other_formats_are_left_alone() {
    for format in [2, 4] {
        let runner = killed();
        let run = runner.only_run();
        let mut manifest = run.manifest();
        manifest["format"] = format.into();
        run.write("benchmark.json", manifest.to_string());
        let index = run.bytes("index.jsonl");
        let said = runner.run(&["list"]);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(text.contains(&format.to_string()) && text.contains('3'), "{text}");
        let resumed = runner.run(&["resume", run.id()]).expect(2);
        resumed.says(&[&format.to_string(), "3"]);
        // This ends all other dead runs.
        runner.run(&["cleanup", "--yes"]).expect(0);
        assert_eq!(run.manifest(), manifest);
        assert_eq!(run.bytes("index.jsonl"), index);
    }
}

#[test]
fn rows_of_another_version_are_left_alone() {
    let mut transcript = Transcript::default();
    let runner = killed();
    let run = runner.only_run();
    let text = run.text("index.jsonl");
    let (first, rest) = text.split_once('\n').unwrap();
    let newer = sealed(&first.replacen("\"v\":4", "\"v\":5", 1));
    run.write("index.jsonl", format!("{newer}\n{rest}"));
    let index = run.bytes("index.jsonl");
    transcript.run(&runner, &["resume", "latest"]).expect(2);
    assert_eq!(run.bytes("index.jsonl"), index);
    transcript.check("rows_of_another_version_are_left_alone");
}

#[test]
fn lost_results_are_reported_and_run_again() {
    let runner = killed();
    runner.run(&["resume", "latest", "-j", "40"]).expect(0);
    let run = assert_whole(&runner, TRIALS);
    let rows = run.text("index.jsonl");
    let some: String = rows.split_inclusive('\n').take(TRIALS - 3).collect();
    for (left, lost) in [(some.as_str(), "3 results"), ("", "40 results")] {
        run.write("index.jsonl", left);
        let says = format!("{lost} are lost: benchmark.json counts more than index.jsonl has");
        runner.run(&["show", run.id()]).expect(0).says(&[&says]);
        let before = run.bytes("benchmark.json");
        let ran = runner.run(&["resume", run.id(), "--dry-run"]).expect(0);
        ran.says(&[&says, lost.split(' ').next().unwrap(), "nothing was changed"]);
        assert_eq!(run.bytes("benchmark.json"), before);
        runner.run(&["resume", run.id(), "-j", "40"]).expect(0).says(&[&says]);
        assert!(run.text("runner.log").contains(&says));
        assert_eq!(run.count("passed"), TRIALS as u64);
        assert!(run.text("index.jsonl").starts_with(left));
        runner.run(&["verify", run.id()]).expect(0);
        assert_whole(&runner, TRIALS);
    }
}
