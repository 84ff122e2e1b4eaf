//! The changes since the previous run, at the end of `exec` and in `show`. The age of that run depends on the machine.

use std::fs;

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::runner::{Runner, tests};

/// Writes a scenario whose tests echo 1 and expect these values.
pub(super) fn expect(runner: &Runner, wanted: &[(&str, u8)]) {
    let all: String = wanted
        .iter()
        .map(|(id, value)| format!("{id} | {{ do = \"echo\", value = 1 }} | equals = {value}\n"))
        .map(|line| tests(&line))
        .collect();
    runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{all}"));
}

fn since(runner: &Runner) -> Value {
    runner.run(&["show", "--json"]).expect(0).document()["since_previous"].take()
}

#[test]
fn end_of_run_counts_changes_by_class() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("falls", 1), ("rises", 2), ("stays", 2), ("leaves", 1), ("good", 1)]);
    let first = runner.exec(&[]).expect(1);
    assert!(!first.stdout.contains("since "), "{}", first.stdout);
    let base = runner.only_run();
    let (_, short) = base.id().rsplit_once('-').unwrap();
    expect(&runner, &[("falls", 2), ("rises", 1), ("stays", 2), ("comes", 1), ("good", 1)]);
    let start = format!("since {short} (");
    let line = "): 1 newly failing, 1 fixed, 1 still failing, 1 new, 1 gone";
    let list = "✗ failed 1 new falls@hostile#1, stays@hostile#1";
    let second = runner.exec(&["-j", "1"]).expect(1);
    second.says(&[list, &start, line]);
    assert!(second.stderr.contains(&format!("compare: runner compare {short} ")));
    runner.run(&["show"]).expect(0).says(&[list, &start, line]);
    let found = since(&runner);
    assert_eq!(found["run"], base.id());
    let counts = json!({
        "regressed": 1, "still_failing": 1, "fixed": 1, "flaky": 0, "new": 1, "gone": 1,
        "newly_skipped": 0, "passing": 1, "not_judged": 0, "unpaired": 0,
    });
    assert_eq!(found["counts"], counts);
}

#[test]
fn each_line_of_failure_names_its_change() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("falls", 1), ("stays", 3)]);
    runner.exec(&[]).expect(1);
    expect(&runner, &[("falls", 2), ("stays", 3), ("comes", 4)]);
    snapshot(&runner.exec(&["-j", "1"]).expect(1));
}

#[test]
fn runs_of_a_group_name_their_changes() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("falls", 1)]);
    runner.write("other.toml", fs::read(runner.path("scenario.toml")).unwrap());
    runner.run(&["exec", "scenario.toml", "other.toml"]).expect(0);
    expect(&runner, &[("falls", 2)]);
    let ran = runner.run(&["exec", "scenario.toml", "other.toml"]).expect(1);
    assert_eq!(ran.stdout.matches("): 1 newly failing\n").count(), 1, "{}", ran.stdout);
}

#[test]
fn unchanged_passing_runs_name_no_changes() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("good", 1)]);
    for _ in 0..2 {
        let ran = runner.exec(&[]).expect(0);
        assert!(!ran.stdout.contains("since "), "{}", ran.stdout);
        assert!(!ran.stderr.contains("compare"), "{}", ran.stderr);
    }
    assert_eq!(since(&runner), Value::Null);
    // A new test is a change.
    expect(&runner, &[("good", 1), ("comes", 1)]);
    snapshot(&runner.exec(&[]).expect(0));
    // `compare` refuses runs without a common test.
    expect(&runner, &[("renamed", 1)]);
    let ran = runner.exec(&[]).expect(0);
    snapshot(&ran);
    assert!(!ran.stderr.contains("compare"), "{}", ran.stderr);
}

#[test]
fn selected_tests_are_compared_with_whole_run() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1), ("b", 1)]);
    runner.exec(&[]).expect(0);
    expect(&runner, &[("a", 2), ("b", 1)]);
    // The tests that are not selected are not gone.
    let ran = runner.exec(&["--test", "a"]).expect(1);
    snapshot(&ran);
    assert!(!ran.stdout.contains("gone"), "{}", ran.stdout);
    // The base is the whole run, not the selection after it.
    snapshot(&runner.exec(&[]).expect(1));
    assert_eq!(since(&runner)["run"], runner.runs()[0].id());
}

#[test]
fn last_failed_run_is_compared_with_run_of_its_tests() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 2), ("b", 1)]);
    runner.exec(&[]).expect(1);
    expect(&runner, &[("a", 1), ("b", 1)]);
    snapshot(&runner.exec(&["--last-failed"]).expect(0));
    // The run before has not run `b`.
    expect(&runner, &[("a", 1), ("b", 2)]);
    snapshot(&runner.exec(&["--last-failed"]).expect(1));
    let runs = runner.runs();
    assert_eq!(since(&runner)["run"], runs[0].id());
    runner.run(&["compare", runs[0].id(), runs[2].id()]).expect(0).says(&["1 regressed"]);
    snapshot(&runner.exec(&["--last-failed"]).expect(1));
    assert_eq!(since(&runner)["run"], runs[2].id());
}

#[test]
fn damaged_and_foreign_runs_are_no_base() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1)]);
    runner.exec(&[]).expect(0);
    expect(&runner, &[("a", 2)]);
    runner.exec(&[]).expect(1);
    runner.runs()[1].write("index.jsonl", "");
    // Another file with the same name is another scenario.
    fs::create_dir(runner.path("other")).unwrap();
    fs::copy(runner.path("scenario.toml"), runner.path("other/scenario.toml")).unwrap();
    fs::copy(runner.path("hostile.wasm"), runner.path("other/hostile.wasm")).unwrap();
    let other = runner.run(&["exec", "other/scenario.toml"]).expect(1);
    assert!(!other.stdout.contains("since "), "{}", other.stdout);
    snapshot(&runner.exec(&[]).expect(1));
}

#[test]
fn run_that_was_cut_short_is_no_base() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1), ("b", 1)]);
    runner.exec(&[]).expect(0);
    expect(&runner, &[("a", 2), ("b", 2)]);
    let args = ["-j", "1", "--fail-fast"];
    runner.exec(&args).expect(4).says(&["): 1 newly failing"]);
    runner.exec(&[]).expect(1).says(&["): 2 newly failing"]);
    assert_eq!(since(&runner)["run"], runner.runs()[0].id());
    runner.run(&["compare"]).expect(0).says(&["2 regressed"]);
}

#[test]
fn flaky_pass_is_no_new_failure() {
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 1 }\n[[tests]]\nid = \"flaky\"\ninput = { do = \"fail-until\" }\n[[tests]]\nid = \"bad\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n",
    );
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1).says(&["1 still failing, 1 flaky"]);
}

#[test]
fn run_with_own_name_is_a_base() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1)]);
    runner.exec(&["--into", "results/nightly"]).expect(0);
    expect(&runner, &[("a", 2)]);
    snapshot(&runner.exec(&[]).expect(1));
}
