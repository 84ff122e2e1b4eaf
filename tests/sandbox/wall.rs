//! The sandbox around real workers and compilers: it is closed, and everything works inside it.

use std::{fs, io, path::PathBuf};

use rustix::process::{Signal, geteuid};

use crate::support::{
    guests::long_to_compile,
    processes::{Process, children},
    runner::Runner,
    running::Running,
    wait::{wait_for, wait_until},
};

/// Returns a field of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

/// Asserts that a process has given up all rights of root.
#[track_caller]
fn assert_without_capabilities(pid: u32) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set).as_deref(), Some("0000000000000000"), "{set}");
    }
    // Other users cannot change what bounds their programs, and these start none.
    if geteuid().is_root() {
        assert_eq!(status(pid, "CapBnd").as_deref(), Some("0000000000000000"));
    }
}

#[test]
fn workers_run_inside_the_wall() {
    let runner =
        Runner::hostile("run.grace = \"10ms\"\n[[tests]]\nid = \"a\"\ninput = { do = \"loop\" }");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    for worker in running.workers() {
        wait_until("the worker is ready", || status(worker.0, "Seccomp").as_deref() == Some("2"));
        assert_eq!(status(worker.0, "NoNewPrivs").unwrap(), "1");
        assert_eq!(status(worker.0, "Seccomp_filters").unwrap(), "2");
        assert_without_capabilities(worker.0);
    }
    running.end_by(Signal::INT);
    let run = runner.only_run();
    let wall = run.manifest()["sessions"][0]["wall"].clone();
    let wall = wall.as_str().unwrap();
    assert!(wall.starts_with("Landlock ") && wall.ends_with(", seccomp"), "{wall}");
    assert!(run.text("runner.log").contains(wall));
    let version = runner.run(&["--version", "--verbose"]).expect(0);
    version.says(&[wall]);
}

#[test]
fn workers_inherit_nothing() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"loop\" }");
    let script = "exec 9<scenario.toml; export KEPT=9; exec $runner exec scenario.toml";
    let mut running = Running::start(&mut runner.shell(script));
    running.wait_until_running(&runner, 1);
    let folder = |process: Process| PathBuf::from(format!("/proc/{}", process.0));
    let has = |process: Process| {
        let open = fs::read_dir(folder(process).join("fd"))?;
        let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let files = open.filter(|file| file.ends_with("scenario.toml")).count();
        io::Result::Ok((files, fs::read(folder(process).join("environ"))?))
    };
    let (files, environment) = has(running.process()).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(files >= 1 && environment.contains("KEPT=9"), "{files} {environment}");
    for worker in running.workers() {
        // Another one may just have been started.
        wait_until("the worker is ready", || status(worker.0, "Seccomp").as_deref() == Some("2"));
        match has(worker) {
            Ok(has) => assert_eq!(has, (0, Vec::new())),
            // A worker is closed to processes of its own user, too.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        let limits = fs::read_to_string(folder(worker).join("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let core: Vec<_> = core.unwrap().split_whitespace().skip(4).collect();
        assert_eq!(core, ["0", "0", "bytes"]);
    }
    running.kill();
}

#[test]
fn compilers_run_inside_the_wall() {
    let runner = Runner::new(&[]);
    runner.write("p.wasm", long_to_compile());
    runner.scenario("[providers.p]\nplugin = \"p.wasm\"\n[[tests]]\nid = \"a\"\n");
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("RUNNER_CACHE", runner.path("cache"));
    let running = Running::start(&mut command);
    // The compiler works in its sandbox, for many seconds.
    let compiler = wait_for("a compiler is in its sandbox", || {
        let compilers = children(running.process().0, "__compile");
        compilers.into_iter().find(|compiler| status(compiler.0, "Seccomp").as_deref() == Some("2"))
    });
    assert_without_capabilities(compiler.0);
    running.kill();
}
