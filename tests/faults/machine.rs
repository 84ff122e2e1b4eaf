//! Limits of the machine: open files, addresses, threads. No guest is blamed, and no trial is settled.

use std::{fs, os::unix::fs::chown, thread};

use rustix::process::geteuid;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    runner::Runner,
    running::{Finished, Running, finished},
    truth::{assert_consistent, assert_whole},
};

const TRIALS: usize = 8;
/// A user without processes.
const USER: u32 = 4_351;

/// Creates a scenario of naps whose plugin is compiled already.
fn naps() -> Runner {
    let runner = Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = {TRIALS}\ninput = {{ do = \"sleep\", ms = 30 }}\n"
    ));
    runner.exec(&[]).expect(0);
    fs::remove_dir_all(runner.path("results")).unwrap();
    runner
}

/// Runs a command with a `ulimit` of the shell.
fn limited(runner: &Runner, limit: &str, command: &str) -> Finished {
    let script = format!("{limit}; exec \"$runner\" {command} -j 4");
    Running::start(&mut runner.shell(&script)).finish()
}

/// Fails unless a session ended properly under the limit, and completes without it.
#[track_caller]
fn assert_honest(runner: &Runner, ran: &Finished) {
    let codes = [Some(0), Some(3), Some(4), Some(7)];
    assert!(codes.contains(&ran.code), "{ran:?}");
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!printed.contains("panicked"), "{printed}");
    let Some(run) = runner.runs().pop() else {
        return;
    };
    let rows = run.rows();
    let is_settled = |row: &&serde_json::Value| row["final"] == true;
    assert!(rows.iter().filter(is_settled).all(|row| row["outcome"] == "passed"));
    if run.ending()[0] != "failed" {
        assert_consistent(runner);
    }
    if ran.code != Some(0) {
        runner.run(&["resume", run.id()]).expect(0);
    }
    assert_whole(runner, TRIALS);
}

/// Creates a scenario of a bundled plugin.
fn echo() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.echo]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"a\"\ninput = 1\n",
    );
    runner
}

/// Fails unless a session passed, or ended for a lack of the machine and named the limit. Removes its results.
#[track_caller]
fn assert_limit_named(runner: &Runner, ran: &Finished, limit: &str) {
    if ran.code != Some(0) {
        assert!(matches!(ran.code, Some(3 | 4 | 7)), "{ran:?}");
        ran.says(&[limit]);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    }
    for run in runner.runs() {
        let reason = run.ending()[1].clone();
        assert!(["", "machine", "storage"].contains(&&*reason), "{limit}: {reason}: {ran:?}");
    }
    let _ = fs::remove_dir_all(runner.path("results"));
}

#[test]
fn too_few_files_settle_no_trial() {
    let runner = naps();
    let mut codes = Vec::new();
    // Each core has a worker with files of its own.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for files in [10, 22, 34, 46, 58, 256 + 8 * cores] {
        let ran = limited(&runner, &format!("ulimit -n {files}"), "exec scenario.toml");
        assert_honest(&runner, &ran);
        if ran.code != Some(0) {
            snapshot(&ran);
            ran.says(&[&files.to_string()]);
        }
        codes.push(ran.code);
        let _ = fs::remove_dir_all(runner.path("results"));
    }
    // The process raises its soft limit up to the hard one.
    limited(&runner, "ulimit -Sn 16", "exec scenario.toml").expect(0);
    assert!(codes.contains(&Some(0)) && codes.iter().any(|code| *code != Some(0)), "{codes:?}");
}

#[test]
fn too_few_addresses_settle_no_trial() {
    let runner = naps();
    for kilobytes in [200_000, 1_000_000, 8_000_000, 30_000_000] {
        // Without this, the C library reserves 64 MiB for each thread, and the process itself may run out and abort.
        let limit = format!("export MALLOC_ARENA_MAX=1; ulimit -v {kilobytes}");
        let ran = limited(&runner, &limit, "exec scenario.toml");
        assert_honest(&runner, &ran);
        let blamed = runner.runs().iter().any(|run| run.ending()[1] == "plugin");
        assert!(!blamed, "{ran:?}");
        let _ = fs::remove_dir_all(runner.path("results"));
    }
}

#[test]
fn too_few_addresses_to_describe_blame_no_plugin() {
    let runner = echo();
    runner.exec(&[]).expect(0);
    fs::remove_dir_all(runner.path("results")).unwrap();
    let ran = limited(&runner, "ulimit -v 1000000", "exec scenario.toml").expect(3);
    ran.says(&["ulimit -v"]);
    assert!(runner.runs().is_empty());
    // Without addresses for all slots, each sandbox is created on demand.
    limited(&runner, "ulimit -v 8000000", "exec scenario.toml").expect(0);
}

#[test]
fn too_low_limits_are_named_before_a_run() {
    let runner = naps();
    for (limit, flag) in [
        ("ulimit -v 3145728", "ulimit -v"),
        ("ulimit -v 200000", "ulimit -v"),
        ("ulimit -d 100000", "ulimit -d"),
        ("ulimit -n 10", "ulimit -Hn"),
        ("ulimit -s 64", "ulimit -Hs"),
    ] {
        for command in ["exec scenario.toml", "exec scenario.toml scenario.toml"] {
            let ran = limited(&runner, limit, command).expect(3);
            snapshot(&ran);
            ran.says(&[flag]);
            assert!(runner.runs().is_empty(), "{limit}");
        }
    }
}

#[test]
fn file_size_limits_blame_no_plugin() {
    let runner = echo();
    for blocks in [8, 100, 300, 400, 600, 1200] {
        let limit = format!("export RUNNER_CACHE=$PWD/cache-{blocks}; ulimit -f {blocks}");
        assert_limit_named(&runner, &limited(&runner, &limit, "exec scenario.toml"), "ulimit -f");
    }
}

#[test]
fn process_limits_blame_no_plugin() {
    let runner = echo();
    // The limit does not bind root.
    let user = if geteuid().is_root() {
        chown(runner.path("."), Some(USER), Some(USER)).unwrap();
        format!("setpriv --reuid={USER} --regid={USER} --clear-groups")
    } else {
        String::new()
    };
    for processes in [1, 8, 12, 16, 20, 24, 28, 32] {
        let script = format!(
            "export RUNNER_CACHE=$PWD/cache-{processes}; exec prlimit --nproc={processes} {user} \"$runner\" exec scenario.toml -j 4"
        );
        let ran = Running::start(&mut runner.shell(&script)).finish();
        assert_limit_named(&runner, &ran, "ulimit -u");
    }
}

#[test]
fn missing_temporary_folder_is_named() {
    let runner = naps();
    for args in [
        &["plugin", "run", "bundled:echo"][..],
        &["exec", "scenario.toml"],
        &["exec", "scenario.toml", "scenario.toml"],
        &["validate", "scenario.toml"],
    ] {
        let ran = Running::start(runner.command(args).env("TMPDIR", "/nonexistent")).finish();
        ran.expect(3).says(&["/nonexistent", "`TMPDIR`"]);
        assert!(runner.runs().is_empty());
    }
}

#[test]
fn machine_without_proc_is_refused_at_once() {
    let runner = naps();
    let hidden = r#"exec unshare -Urm sh -c 'mount -t tmpfs tmpfs /proc && exec "$runner" exec scenario.toml'"#;
    let mount = finished(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"));
    if mount.code != Some(0) {
        return;
    }
    let ran = Running::start(&mut runner.shell(hidden)).finish().expect(3);
    snapshot(&ran);
    assert!(runner.runs().is_empty());
}

#[test]
fn inspected_plugins_are_refused_as_in_runs() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("folder")).unwrap();
    for plugin in ["/dev/null", "missing.wasm", "folder"] {
        runner.scenario(&format!("[providers.p]\nplugin = \"{plugin}\"\n[[tests]]\nid = \"a\"\n"));
        for args in [&["plugin", "inspect", plugin][..], &["exec", "scenario.toml"]] {
            transcript.run(&runner, args).expect(2);
        }
    }
    transcript.check("inspected_plugins_are_refused_as_in_runs");
}
