//! Logs of runs and of trials, and the lines that a session says.

use super::{interrupted, three};
use crate::support::runner::{CommandExt as _, Runner, Signal, tests};

#[test]
fn the_runners_log_tells_the_story_of_every_session() {
    let runner = three();
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    runner.run(&["resume", "--dry-run"]).expect(0);
    let mut live = runner.command(&["resume", "--json"]).start();
    live.wait_until_running(1);
    live.end_by(Signal::TERM).0.expect(143);

    let log = runner.run(&["logs", "--runner"]).expect(0).stdout;
    assert_eq!(log, runner.only_run().read("runner.log"));
    let story = [
        "command: runner exec scenario.toml --json -j 1",
        &format!("runner {}, wasmtime ", env!("CARGO_PKG_VERSION")),
        ", session 1: scenario `a scenario",
        "provider `hostile` is granted nothing",
        "provider `hostile` is ready",
        "stopping (stop, interrupted): asked by SIGINT; 1 attempt in flight",
        "ended: incomplete (interrupted, SIGINT), verdict none, 2 of 3 done: 1 passed, 1 failed",
        "exit code 130",
        "command: runner resume --json",
        ", session 2: ",
        "ended: incomplete (interrupted, SIGTERM)",
        "exit code 143",
    ];
    let mut rest = log.as_str();
    for text in story {
        let (_, after) = rest
            .split_once(text)
            .unwrap_or_else(|| panic!("`{text}` is not in\n{log}"));
        rest = after;
    }
}

#[test]
fn the_runners_log_can_be_followed_and_tells_a_stop_of_a_detached_run_once() {
    let runner = three();
    let id = runner.exec(&["--detach", "-j", "1"]).expect(0).stdout;
    let follow = runner
        .command(&["logs", id.trim(), "--runner", "-f"])
        .start();
    runner.run(&["stop", "--reason", "over and out"]).expect(0);
    let followed = follow.finish().expect(0).stdout;
    assert!(
        followed.contains("ended: incomplete (stopped)"),
        "{followed}"
    );
    let log = runner.only_run().read("runner.log");
    assert!(log.starts_with(&followed), "{log}\n{followed}");
    assert_eq!(log.matches("over and out").count(), 1, "{log}");
    assert_eq!(log.matches("stopping").count(), 1, "{log}");
    runner
        .exec(&["--detach", "-j", "1", "--timeout-minutes", "0.01"])
        .expect(0);
    runner.run(&["wait"]).expect(4);
    let told = runner.run(&["logs", "--runner"]).expect(0).stdout;
    assert_eq!(told.matches("the run's time is up").count(), 1, "{told}");
}

#[test]
fn the_log_and_the_streams_of_a_trial_are_shown_by_attempt() {
    let runner = Runner::new(&["command"]);
    runner.scenario(
        r#"
        [providers.plain]
        plugin = "command.wasm"
        args = ["fail", "its own words"]
        [providers.json]
        plugin = "command.wasm"
        protocol = "json"
        [[tests]]
        id = "says"
        input = { do = "log" }
        providers = ["json"]
        [[tests]]
        id = "again"
        providers = ["plain"]
        "#,
    );
    runner.exec(&[]).expect(1);
    let shown = runner.run(&["logs", "latest", "says*"]).expect(0).stdout;
    assert!(
        shown.contains("says@json#1") && shown.contains("\n  log\n"),
        "{shown}"
    );
    assert!(
        shown.contains("careful") && !shown.contains("again@"),
        "{shown}"
    );
    let shown = runner
        .run(&["logs", "--trial", "again@plain#1"])
        .expect(0)
        .stdout;
    assert!(shown.contains("\n  stderr\n    its own words"), "{shown}");
    let document = runner
        .run(&["logs", "latest", "again", "--json"])
        .expect(0)
        .document();
    assert_eq!(document["attempts"][0]["stderr"], "its own words\n");
    runner
        .run(&["logs", "--trial", "nothing"])
        .expect(5)
        .says(&["no attempt of `nothing`"]);
    let followed = runner.run(&["logs", "latest", "again", "-f"]).expect(0);
    followed.prints("again@plain#1\n    stderr its own words\n✗ failed again@plain#1");
    runner.run(&["logs", "--trial", "["]).expect(2);
}

#[test]
fn verbose_lines_have_their_place_and_failures_are_told_once() {
    let runner = three();
    let args = ["--exclude", "endless", "-j", "1"];
    let ran = runner.exec(&[&args[..], &["-v"]].concat()).expect(1);
    ran.says(&["1/2 ✓ passed pass@hostile#1", "2/2 ✗ failed fail@hostile#1"]);
    for extra in [&["-v"][..], &["-q"], &[]] {
        let ran = runner.exec(&[&args[..], extra].concat()).expect(1);
        assert_eq!(
            ran.stderr.matches("fail@hostile#1").count(),
            1,
            "{}",
            ran.stderr
        );
    }
    // What an earlier session told is told again, once, by the one that goes on.
    let runner = three();
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let mut live = runner.command(&["resume", "-j", "1"]).start();
    live.wait_while_alive("it told of its session", || {
        runner.only_run().read("runner.log").contains("session 2")
    });
    let ran = live.end_by(Signal::INT).0.expect(130);
    assert_eq!(
        ran.stderr.matches("fail@hostile#1").count(),
        1,
        "{}",
        ran.stderr
    );
}

#[test]
fn small_things_are_said_as_people_say_them() {
    let runner = Runner::hostile(&tests(
        r#"a | { do = "echo", value = "x\n" } | equals = "x""#,
    ));
    let ran = runner.run(&["validate", "scenario.toml"]).expect(0);
    assert_eq!(ran.stdout, "scenario.toml: valid, 1 test makes 1 trial\n");
    for args in [["list", "-n", "x"], ["prune", "--keep-last", "-1x"]] {
        let ran = runner.run(&args).expect(2);
        assert!(!ran.stderr.contains("digit"), "{}", ran.stderr);
    }
    runner
        .exec(&["--dry-run"])
        .expect(0)
        .says(&["1 trial would run"]);
    let ran = runner.exec(&[]).expect(1);
    assert!(!ran.stderr.contains("No newline"), "{}", ran.stderr);
    ran.says(&["expected \"x\"", "got \"x\\n\""]);

    runner.write("broken.toml", "nome = \"x\"\n[providers.p]\nplugins = 1\n");
    let ran = runner.run(&["validate", "broken.toml"]).expect(2);
    assert!(!ran.stderr.contains("Error:"), "{}", ran.stderr);
    ran.says(&["`nome`", "`plugins`"]);

    let listed = runner
        .command(&["list", "--json"])
        .env("RUNNER_RESULTS", "")
        .env("RUNNER_LOG", "")
        .run()
        .expect(0)
        .stdout;
    assert!(listed.contains("\"run\""), "{listed}");
    let ran = runner.run(&["run", "scenario.toml"]).expect(2);
    ran.says(&["`runner exec SCENARIO` runs a scenario"]);
}
