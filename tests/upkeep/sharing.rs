//! Sessions that share a results root, and sessions that want it exclusively.

use std::fs::{self, File};

use rustix::process::Signal;

use super::{ended, going_on, held, naps};
use crate::messages::outputs::snapshot;
use crate::support::{run::Run, truth::assert_kept, wait::wait_until};

#[test]
fn exclusive_sessions_name_who_is_in_the_way() {
    let runner = held(2);
    let mut running = going_on(&runner);
    let run = runner.only_run();
    let pid = format!("process {}", running.process().0);
    runner.exec(&["--exclusive"]).expect(6).says(&[run.id(), &pid, "--wait"]);
    assert_eq!(runner.runs().len(), 1);
    let mut waiting = runner.start(&["--exclusive", "--wait", "-j", "2"]);
    // Others can share it meanwhile.
    assert!(running.is_alive() && waiting.is_alive());
    running.end_by(Signal::INT).0.expect(130);
    waiting.wait_for_rows(1);
    let alone = runner.runs().pop().unwrap();
    runner.exec(&[]).expect(6).says(&[alone.id()]);
    // Reading commands are let in.
    assert_eq!(runner.list().len(), 2);
    waiting.end_by(Signal::INT).0.expect(130);
    runner.exec(&["--exclusive", "--test", "nap"]).expect(0);
    runner.exec(&["--wait"]).expect(2);
}

#[test]
fn exclusive_session_names_a_hidden_one() {
    let runner = naps(1, 1);
    ended(&runner, 1);
    // Such as a session of another user.
    let lock = File::open(runner.path("results/.lock")).unwrap();
    lock.lock_shared().unwrap();
    snapshot(&runner.exec(&["--exclusive"]).expect(6));
}

#[test]
fn moved_root_keeps_the_session() {
    let runner = naps(400, 100);
    let running = going_on(&runner);
    let run = runner.only_run();
    fs::rename(runner.path("results"), runner.path("moved")).unwrap();
    // The run writes by handle, so a renamed root does not end it.
    let ran = running.end_by(rustix::process::Signal::INT).0.expect(130);
    let moved = Run { dir: runner.path("moved").join(run.id()) };
    assert_kept(&moved, &ran.acknowledged());
    assert_eq!(moved.ending()[..2], ["incomplete", "interrupted"]);
    assert!(!runner.path("results").exists(), "it was made anew");
}

#[test]
fn deleted_root_ends_the_session() {
    let runner = naps(400, 100);
    let running = going_on(&runner);
    fs::remove_dir_all(runner.path("results")).unwrap_or_else(|_| {
        // The run has written meanwhile.
        wait_until("the root is gone", || fs::remove_dir_all(runner.path("results")).is_ok());
    });
    running.finish().expect(7);
    assert!(!runner.path("results").exists(), "it was made anew");
}

#[test]
fn foreign_pid_in_a_lock_decides_nothing() {
    let runner = naps(400, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    // This process is alive, and holds no lock.
    run.write(
        "lock",
        format!("pid {}\nhost here\nsince 2026-11-20T09:18:04.015Z\n", std::process::id()),
    );
    assert_eq!(runner.list()[0]["status"], "incomplete");
    runner.run(&["cleanup", "--yes"]).expect(0);
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
}

#[test]
fn only_the_lock_holder_writes_the_status() {
    let runner = naps(100, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    // This process holds the lock of the dead run, and does nothing with it.
    let lock = File::options().read(true).write(true).open(run.dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let look =
        || ["benchmark.json", "index.jsonl", "lock", "runner.log"].map(|name| run.bytes(name));
    let (before, into) = (look(), run.dir.to_str().unwrap());
    // The lock file names the dead process.
    snapshot(&runner.run(&["resume", run.id()]).expect(6));
    let commands = [
        (&["cleanup", "--yes"][..], 0),
        (&["prune", "--keep-last", "0", "--yes"], 0),
        (&["prune", run.id(), "--yes"], 6),
        (&["pin", run.id()], 6),
        (&["resume", run.id()], 6),
        (&["resume", run.id(), "--rerun", "all"], 6),
        (&["resume", run.id(), "--accept-changes"], 6),
        (&["exec", "scenario.toml", "--into", into], 6),
        (&["exec", "scenario.toml", "-q", "-j", "20"], 0),
    ];
    // Each waits a second for the lock.
    let started = commands.map(|(args, code)| (runner.started(args), args, code));
    for (running, args, code) in started {
        let ran = running.finish();
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    }
    assert_eq!(look(), before, "another process has written");
    assert_eq!(runner.show(&run)["run"]["status"], "running");
    drop(lock);
    assert_eq!(runner.show(&run)["run"]["status"], "incomplete");
    assert_eq!(look(), before, "a reader has written");
    runner.run(&["cleanup", "--yes"]).expect(0);
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
}
