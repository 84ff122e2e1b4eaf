//! Runs in the background.

use std::{fs, os::fd::OwnedFd};

use rustix::{process::Signal, pty::OpenptFlags};
use serde_json::json;

use super::{ENDLESS, SHORT, Worked, sleepers, sleeping};
use crate::support::{
    runner::Runner,
    running::{Running, finished},
    truth::{assert_consistent, assert_whole},
    wait::{wait_for, wait_until},
};

/// Starts a run in the background. Returns its id.
#[track_caller]
fn detached(runner: &Runner, args: &[&str]) -> String {
    let ran = runner.run(&[args, &["--detach"]].concat()).expect(0);
    let id = ran.stdout.strip_suffix('\n').unwrap().to_owned();
    assert!(!id.contains('\n'), "{id}");
    id
}

#[test]
fn detached_run_is_waited_for_by_its_id() {
    let runner = sleepers(4, SHORT);
    let id = detached(&runner, &["exec", "scenario.toml", "-j", "1"]);
    assert_eq!(runner.only_run().id(), id);
    runner.run(&["wait", &id]).expect(0);
    let run = assert_whole(&runner, 4);
    let manifest = run.manifest();
    let command: Vec<_> = manifest["sessions"][0]["command"].as_array().unwrap().iter().collect();
    assert_eq!(command, ["runner", "exec", "scenario.toml", "-j", "1", "--detach"]);
    // The run is complete, and the id is printed all the same.
    let ran = runner.run(&["resume", &id, "--detach"]).expect(0);
    assert_eq!(ran.stdout, format!("{id}\n"));
    assert!(ran.stderr.contains("✓ passed: 4 of 4, none run now\n"), "{}", ran.stderr);
    let begun = runner.run(&["resume", &id, "--detach", "--json"]).expect(0).document();
    assert_eq!(begun["id"], json!(id));
    assert!(begun["run_dir"].as_str().unwrap().ends_with(&id), "{begun}");
}

#[test]
fn detached_run_has_a_session_of_its_own() {
    let runner = sleepers(1, ENDLESS);
    let id = detached(&runner, &["exec", "scenario.toml"]);
    let run = runner.only_run();
    let worked = Worked::on(&run);
    let stat = fs::read_to_string(format!("/proc/{}/stat", worked.0.0)).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Fields 6 and 7 of the line: session and terminal.
    assert_eq!((fields[3], fields[4]), (&*worked.0.0.to_string(), "0"));
    for (descriptor, file) in [(0, "/dev/null"), (1, "/dev/null"), (2, "runner.log")] {
        // It replaces them a moment after it has sent the id.
        wait_until(&format!("descriptor {descriptor} is {file}"), || {
            let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", worked.0.0)).unwrap();
            link.to_str().unwrap().ends_with(file)
        });
    }
    worked.0.signal(Signal::TERM);
    runner.run(&["wait", &id]).expect(143);
    assert_eq!(run.ending(), ["incomplete", "interrupted", "SIGTERM", "none"]);
    assert!(run.text("runner.log").contains("incomplete (interrupted)"));
    // `resume` works in the background, too.
    assert_eq!(detached(&runner, &["resume", &id]), id);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 2);
    let worked = Worked::on(&run);
    let shown = runner.run(&["show"]).expect(0);
    shown.says(&["running", &format!("running process {} of", worked.0.0), "0 of 1 done"]);
    worked.0.signal(Signal::KILL);
    runner.run(&["wait", &id]).expect(4);
    assert_consistent(&runner);
}

#[test]
fn mistakes_are_reported_before_detaching() {
    let runner = sleepers(1, SHORT);
    for (args, code, says) in [
        (&["exec", "missing.toml", "--detach"][..], 2, "missing.toml"),
        (&["exec", "scenario.toml", "--detach", "--test", "none"], 5, "no test is selected"),
        (&["exec", "scenario.toml", "--detach", "-j", "0"], 2, "0"),
        (&["resume", "nothing", "--detach"], 2, "there are no runs"),
    ] {
        let ran = runner.run(args).expect(code);
        assert_eq!(ran.stdout, "");
        ran.says(&[says]);
    }
    runner.write("broken.wasm", "no plugin");
    runner.scenario(&sleeping("broken", 1, SHORT).replace("hostile.wasm", "broken.wasm"));
    let ran = runner.run(&["exec", "scenario.toml", "--detach"]).expect(2);
    ran.says(&["broken.wasm"]);
    assert!(runner.runs().is_empty());
}

#[test]
fn hangup_of_the_terminal_reaches_no_detached_run() {
    let runner = sleepers(20, SHORT);
    let terminal = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&terminal).unwrap();
    rustix::pty::unlockpt(&terminal).unwrap();
    let name = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
    let open = || -> OwnedFd {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap()
    };
    let script =
        "exec setsid --ctty sh -c '\"$runner\" exec scenario.toml -j 1 --detach >id; sleep 1000'";
    let mut command = runner.shell(script);
    command.stdin(open()).stdout(open()).stderr(open());
    let mut shell = command.spawn().unwrap();
    drop(command);
    let id = wait_for("the id is printed", || {
        let text = fs::read_to_string(runner.path("id")).unwrap_or_default();
        text.strip_suffix('\n').map(str::to_owned)
    });
    // The kernel sends SIGHUP to the terminal's session.
    drop(terminal);
    wait_until("the shell has ended", || shell.try_wait().unwrap().is_some());
    runner.run(&["wait", &id]).expect(0);
    let run = assert_whole(&runner, 20);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn run_outlives_its_first_process() {
    let runner = sleepers(20, SHORT);
    // Kill the first process as soon as the run exists, whether it has printed the id or not.
    let first = runner.started(&["exec", "scenario.toml", "-j", "1", "--detach"]);
    wait_until("there is a run", || !runner.runs().is_empty());
    first.kill();
    runner.run(&["wait", "latest"]).expect(0);
    assert_whole(&runner, 20);
}

#[test]
fn death_before_the_run_is_reported() {
    let runner = sleepers(1, ENDLESS);
    let mut first = Running::start(
        runner
            .command(&["exec", "scenario.toml", "--detach"])
            .env("RUNNER_FAULT", "manifest-write:kill"),
    );
    wait_until("it ends", || !first.is_alive());
    let ran = first.finish();
    assert_eq!(ran.stdout, "");
    ran.expect(3).says(&["ended before its run existed", "signal"]);
    assert!(runner.runs().is_empty());
    assert_eq!(runner.list().len(), 0);
}

#[test]
fn killed_detached_run_is_crashed_and_resumable() {
    // Nine seconds one after another, so the kill comes before the end.
    let runner = sleepers(30, 10 * SHORT);
    let id = detached(&runner, &["exec", "scenario.toml", "-j", "1"]);
    let run = runner.only_run();
    let worked = Worked::on(&run);
    let waiting = runner.started(&["wait", &id, "--json"]);
    wait_until("there are rows", || run.rows().len() > 2);
    worked.0.signal(Signal::KILL);
    let ran = waiting.finish().expect(4);
    let finished = ran.events().pop().unwrap();
    assert_eq!(
        [&finished["event"], &finished["status"], &finished["reason"]],
        ["finished", "incomplete", "crashed"]
    );
    assert_consistent(&runner);
    worked.wait_until_gone();
    assert_eq!(detached(&runner, &["resume", "-j", "30"]), id);
    runner.run(&["wait"]).expect(0);
    assert_whole(&runner, 30);
}

#[test]
fn detached_run_holds_no_output_open() {
    // The run must not hold the pipe of the first process open.
    let runner = sleepers(1, ENDLESS);
    let detach = "\"$runner\" exec scenario.toml --detach 2>&1 | cat";
    let printed = finished(&mut runner.shell(detach)).expect(0).stdout;
    let run = runner.only_run();
    let _worked = Worked::on(&run);
    assert!(printed.contains(run.id()), "{printed}");
}
