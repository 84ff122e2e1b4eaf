//! `exec --watch`.

use std::fs;

use rustix::process::Signal;

use crate::support::guests::command;
use crate::support::runner::Runner;
use crate::support::running::Running;
use crate::support::wait::wait_until;

const SCENARIO: &str = r#"
[providers.p]
plugin = "bundled:echo"
[[test_lists]]
files = ["cases/*.txt"]
format = "file"
id = "{{file.stem}}"
input = "{{row.text}}"
expect = { file = "expected/{{file.stem}}.txt" }
"#;

fn watch(runner: &Runner) -> Running {
    Running::start(&mut runner.command(&["exec", "--watch", "scenario.toml"]))
}

impl Running {
    /// Waits until it has watched `times` times.
    fn watched(&self, times: usize) {
        wait_until("it watches", || self.shown().matches("watching").count() >= times);
    }
}

/// Replaces a file in one step, as editors do. Between the steps of a write, a slow machine runs a session of half a change.
fn replace(runner: &Runner, name: &str, text: &str) {
    runner.write("draft", text);
    fs::rename(runner.path("draft"), runner.path(name)).unwrap();
}

fn cases() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(SCENARIO);
    fs::create_dir(runner.path("cases")).unwrap();
    fs::create_dir(runner.path("expected")).unwrap();
    for name in ["a", "b"] {
        runner.write(&format!("cases/{name}.txt"), name);
        runner.write(&format!("expected/{name}.txt"), name);
    }
    runner
}

#[test]
fn only_changed_tests_run_again() {
    let runner = cases();
    let watching = watch(&runner);
    watching.watched(1);
    let attempts = |test: &str| {
        let rows = runner.only_run().rows();
        rows.iter().filter(|row| row["test"] == test).count()
    };
    let outcome = || {
        let rows = runner.only_run().rows();
        rows.iter().rfind(|row| row["test"] == "a").unwrap()["outcome"].clone()
    };
    assert_eq!((attempts("a"), attempts("b")), (1, 1));
    // An editor writes a file next to another one, and replaces that one.
    runner.write("cases/a.new", "other");
    fs::rename(runner.path("cases/a.new"), runner.path("cases/a.txt")).unwrap();
    watching.watched(2);
    assert_eq!((attempts("a"), attempts("b")), (2, 1));
    assert_eq!(outcome(), "failed");
    // A golden file, and a new case.
    runner.write("expected/a.txt", "other");
    watching.watched(3);
    wait_until("it passes", || outcome() == "passed");
    runner.write("expected/c.txt", "c");
    runner.write("cases/c.txt", "c");
    wait_until("the new case has run", || attempts("c") == 1);
    assert_eq!(attempts("b"), 1);
    let (ended, _) = watching.end_by(Signal::INT);
    assert!(ended.stderr.contains("watching"), "{}", ended.stderr);
}

/// A judge's folder: each program is a provider, which prints its own text, and each case a test.
#[test]
fn removed_run_is_followed_by_a_new_one() {
    let runner = cases();
    let watching = watch(&runner);
    watching.watched(1);
    let old = runner.only_run();
    runner.run(&["prune", old.id(), "--yes"]).expect(0);
    replace(&runner, "cases/a.txt", "b");
    watching.watched(2);
    let new = runner.only_run();
    assert_ne!(new.id(), old.id());
    fs::rename(&new.dir, runner.path("moved")).unwrap();
    replace(&runner, "cases/a.txt", "c");
    watching.watched(3);
    assert_ne!(runner.only_run().id(), new.id());
    watching.end_by(Signal::INT).0.expect(1);
}

#[test]
fn only_trials_of_an_edited_program_run_again() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.scenario(
        r#"
        [providers.judged]
        plugin = "command.wasm"
        matrix = { entry = { files = "entries/*.py" } }
        files = { "main.py" = "{{matrix.entry.path}}" }
        args = ["cat"]
        stdin = { file = "main.py" }
        [[test_lists]]
        files = ["cases/*.in"]
        format = "file"
        id = "{{file.stem}}"
        expect = { file = "cases/{{file.stem}}.out", trim = true }
        "#,
    );
    for folder in ["cases", "entries"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    for case in ["1", "2", "3"] {
        runner.write(&format!("cases/{case}.in"), "");
        runner.write(&format!("cases/{case}.out"), "right");
    }
    for (program, text) in [("ada", "right\n"), ("ben", "wrong\n"), ("eve", "right\n")] {
        runner.write(&format!("entries/{program}.py"), text);
    }
    let watching = watch(&runner);
    watching.watched(1);
    assert_eq!(runner.only_run().rows().len(), 9);
    replace(&runner, "entries/ben.py", "right\n");
    watching.watched(2);
    watching.end_by(Signal::INT);
    runner.write("entries/eve.py", "wrong\n");
    runner.run(&["resume", "--accept-changes"]).expect(1);
    let rows = runner.only_run().rows();
    let again: Vec<_> = rows[9..]
        .iter()
        .map(|row| (row["provider"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
        .collect();
    let of = |entry, outcome| vec![(entry, outcome); 3];
    let (ben, eve) = (of("judged[entry=ben]", "passed"), of("judged[entry=eve]", "failed"));
    assert_eq!(again, [ben, eve].concat());
}

#[test]
fn broken_scenario_is_reported_and_mended() {
    let runner = cases();
    runner.scenario("[providers.p]\nplugin = \"bundled:echo\"\n[[tests]\n");
    let watching = watch(&runner);
    watching.watched(1);
    assert!(watching.shown().contains("scenario.toml:3"), "{}", watching.shown());
    replace(&runner, "scenario.toml", SCENARIO);
    watching.watched(2);
    assert_eq!(runner.only_run().rows().len(), 2);
    replace(&runner, "scenario.toml", "[[tests");
    watching.watched(3);
    replace(&runner, "scenario.toml", SCENARIO);
    watching.watched(4);
    assert_eq!(runner.only_run().rows().len(), 2);
    watching.end_by(Signal::TERM);
}

#[test]
fn change_during_a_session_is_not_missed() {
    let test = "[[tests]]\nid = \"t\"\ninput = { do = \"sleep\", ms = 2000 }\n";
    let runner = Runner::hostile(test);
    let mut watching = watch(&runner);
    watching.wait_until_running(&runner, 1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    replace(&runner, "scenario.toml", &text.replace("2000", "1"));
    watching.watched(2);
    assert_eq!(runner.only_run().rows().len(), 2);
    watching.end_by(Signal::INT);
}

#[test]
fn watching_is_for_one_scenario_in_the_foreground() {
    let runner = cases();
    runner.write("other.toml", SCENARIO);
    runner.refused(&["--watch", "other.toml"], &["one scenario"]);
    for flag in ["--detach", "--queue", "--dry-run", "--json"] {
        runner.refused(&["--watch", flag], &["--watch"]);
    }
    let missing = runner.run(&["exec", "--watch", "missing.toml"]).expect(2);
    assert!(missing.stderr.contains("the scenario does not exist"), "{}", missing.stderr);
}
