//! Resources of the machine that run out: no guest is blamed, and the run can be resumed. Also output that cannot be
//! written.

use std::{fs, io};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    running::{Running, finished},
    truth::assert_whole,
    wait::wait_for,
};

/// Creates trials that do this to files, and fail if it fails.
fn writers(count: usize, acts: &str) -> Runner {
    let runner = Runner::new(&["files"]);
    runner.scenario(&format!(
        "[providers.files]\nplugin = \"files.wasm\"\nlimits = {{ scratch = \"4MiB\" }}\n[[tests]]\nid = \"a\"\nrepeat = {count}\ninput = [{acts}, [\"fail\"]]\n"
    ));
    runner
}

/// Fails unless three attempts in a row without a result ended the run, and a resume completes it.
#[track_caller]
fn assert_ended_by(runner: &Runner, run: &Run, code: &str, reason: &str, planned: usize) {
    assert_eq!(run.ending()[..2], ["incomplete", reason]);
    let rows = run.rows();
    let (lacking, done): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row["outcome"] == "stopped");
    let is_fault = |row: &Value| row["error"]["code"] == code && row["final"] == false;
    assert!(lacking.iter().all(|row| is_fault(row)), "{lacking:?}");
    // The worker had the next ones already.
    assert!((3..10).contains(&lacking.len()), "{lacking:?}");
    assert!(done.iter().all(|row| row["outcome"] == "passed"), "{done:?}");
    runner.run(&["resume", run.id(), "-j", "20"]).expect(0);
    assert_whole(runner, planned);
}

#[test]
fn full_temporary_folder_ends_as_storage() {
    let runner =
        writers(6, "[\"fill\", \"/scratch/a\", 3000000], [\"write\", \"/scratch/b\", \"x\"]");
    // Compiles the guest.
    runner.run(&["validate", "scenario.toml"]).expect(0);
    let script = r#"mkdir small && exec unshare -Urm sh -c '
        mount -t tmpfs -o size=1m tmpfs small && TMPDIR=$PWD/small exec "$runner" exec scenario.toml -j 1'"#;
    let mount = finished(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"));
    if mount.code != Some(0) {
        return;
    }
    let ran = Running::start(&mut runner.shell(script)).finish().expect(7);
    snapshot(&ran);
    assert_ended_by(&runner, &runner.only_run(), "host-storage", "storage", 6);
}

#[test]
fn three_attempts_without_files_end_the_run() {
    let runner = Runner::hostile_with(
        "limits = { scratch = \"1MiB\" }",
        "[[tests]]\nid = \"nap\"\nrepeat = 20\ninput = { do = \"sleep\", ms = 300 }\n",
    );
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    let few = Rlimit { current: Some(4), maximum: Some(4) };
    for worker in running.workers() {
        prlimit(Pid::from_raw(worker.0.cast_signed()), Resource::Nofile, few).unwrap();
    }
    let ran = running.finish().expect(4);
    ran.says(&["files"]);
    assert_ended_by(&runner, &runner.only_run(), "host-files", "machine", 20);
}

#[test]
fn too_low_limit_exits_3_and_changes_nothing() {
    let runner = writers(1, "[\"write\", \"/scratch/a\", \"x\"]");
    let limited = |command: &str| {
        let script = format!("ulimit -n 24; exec \"$runner\" {command}");
        let ran = Running::start(&mut runner.shell(&script)).finish().expect(3);
        snapshot(&ran);
    };
    runner.exec(&["--timeout", "1ms"]).expect(4);
    let run = runner.only_run();
    let before = (run.bytes("benchmark.json"), run.bytes("index.jsonl"));
    limited("resume latest --timeout 1m");
    assert_eq!((run.bytes("benchmark.json"), run.bytes("index.jsonl")), before);
    fs::remove_dir_all(runner.path("results")).unwrap();
    limited("exec scenario.toml");
    assert!(runner.runs().is_empty(), "there is a run");
}

#[test]
fn unwritable_output_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.exec(&[]).expect(0);
    let into_full = |command: &str| {
        let script = format!("\"$runner\" {command} > /dev/full");
        let ran = Running::start(&mut runner.shell(&script)).finish().expect(7);
        ran.says(&["cannot write to standard output", "No space left"]);
        // A reader may stop early.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let args: Vec<_> = command.split(' ').collect();
        let mut child = runner.command(&args).stdout(writer).spawn().unwrap();
        let status = wait_for("it ends", || child.try_wait().unwrap());
        assert!(status.success(), "{command}: {status}");
    };
    for command in [
        "list",
        "list --json",
        "show",
        "show --json",
        "show latest a",
        "logs --runner",
        "verify --json",
        "wait --json",
        "exec scenario.toml --json",
        "exec scenario.toml --dry-run",
        "resume latest --rerun all --json",
        "resume latest --explain",
        "prune --keep-last 0 --json",
        "plugin run bundled:echo --input 1",
        "plugin inspect bundled:echo",
        "compare",
        "history",
        "report --csv",
        "report --html",
        "report --junit",
        "report --markdown",
    ] {
        into_full(command);
    }
    // The rows are safe.
    assert!(runner.runs().iter().all(|run| run.ending()[0] == "completed"));
}
