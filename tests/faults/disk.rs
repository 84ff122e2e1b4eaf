//! Full disks and folders without write permission.

use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
use std::process::{Command, Stdio};
use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::printing,
    run::Run,
    runner::{Runner, tests},
    running::{Finished, Running},
    truth::{assert_kept, results},
    wait::wait_until,
};

const TRIALS: usize = 2_500;

fn many() -> Runner {
    let output = "some output of some length. ".repeat(35);
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"a\"\nrepeat = {TRIALS}\ninput = {{ do = \"echo\", value = \"{output}\" }}\n"
    ));
    // Compiles the guest, so that only results need room.
    runner.run(&["validate", "scenario.toml"]).expect(0);
    runner
}

/// Returns whether users may mount file systems of their own.
fn may_mount(runner: &Runner) -> bool {
    Running::start(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt")).finish().code
        == Some(0)
}

#[test]
fn full_disk_keeps_earlier_rows() {
    let runner = many();
    // A small tmpfs where mounts are allowed, else a limit of the file size.
    let script = if may_mount(&runner) {
        r#"mkdir full && exec unshare -Urm sh -c '
             mount -t tmpfs -o size=1536k tmpfs full && "$runner" exec scenario.toml --json --results full
             code=$?; cp -r full results; exit $code'"#
    } else {
        r#"ulimit -f 1536; exec "$runner" exec scenario.toml --json"#
    };
    let ran = Running::start(&mut runner.shell(script)).finish().expect(7);
    ran.says(&["space"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "storage", "", "none"]);
    let acknowledged = ran.acknowledged();
    assert!((100..TRIALS).contains(&acknowledged.len()), "{}", acknowledged.len());
    assert_kept(&run, &acknowledged);
    let finished = ran.events().pop().unwrap();
    assert_eq!((&finished["reason"], &finished["exit_code"]), (&json!("storage"), &json!(7)));
    assert_eq!(finished["counts"]["passed"], acknowledged.len());

    runner.run(&["resume", "latest"]).expect(0);
    let run = runner.only_run();
    assert_eq!((results(&run).len(), run.rows().len()), (TRIALS, TRIALS));
    assert_kept(&run, &acknowledged);
}

#[test]
fn unwritable_results_root_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.write("file", "");
    for (root, code) in
        [("file", 2), ("file/under", 2), ("/dev/null/results", 2), ("/proc/results", 7)]
    {
        let ran = runner.exec(&["--results", root]).expect(code);
        ran.says(&[if root == "file/under" { "file" } else { root }]);
        assert_eq!(ran.stdout, "");
    }
    // A missing folder is created, and the environment may name it.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("RUNNER_RESULTS", runner.path("new/results"));
    Running::start(&mut command).finish().expect(0);
    assert_eq!(Run::all(&runner.path("new/results")).len(), 1);
}

/// Forbids creating files in a folder, or allows it again.
pub(crate) fn lock(folder: &Path, is_locked: bool) {
    let mode = if is_locked { 0o555 } else { 0o755 };
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the program, without root's right to ignore modes.
pub(crate) fn ordinary(runner: &Runner, args: &[&str]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return runner.command(args);
    }
    let drop = "exec setpriv --bounding-set=-dac_override,-dac_read_search \"$runner\" \"$@\"";
    let mut command = runner.shell(drop);
    command.arg("sh").args(args);
    command
}

/// Starts a run of two endless trials in a results root that modes protect.
fn endless() -> (Runner, Running, Run) {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 2\ntimeout = \"1h\"\ninput = { do = \"sleep\", ms = 3000000 }\n",
    );
    let mut command = ordinary(&runner, &["exec", "scenario.toml", "-j", "1", "--json"]);
    let mut running = Running::start(&mut command);
    running.wait_until_running(&runner, 1);
    let run = runner.only_run();
    (runner, running, run)
}

#[test]
fn read_only_run_ends_with_storage() {
    let (runner, running, run) = endless();
    lock(&run.dir, true);
    let ran = running.end_by(Signal::INT).0.expect(7);
    ran.says(&["cannot", "benchmark.json", "check the owner and the mode"]);
    let finished = ran.events().pop().unwrap();
    assert_eq!(finished["event"], "finished");
    assert_eq!([&finished["status"], &finished["reason"]], ["incomplete", "storage"]);
    assert_eq!(finished["exit_code"], 7);
    // The files are those of a dead process.
    assert_eq!(run.ending()[0], "running");
    let listed = runner.list();
    assert_eq!(listed[0]["status"], "incomplete", "{listed:?}");
    // `resume` needs a writable folder.
    let resumed = Running::start(&mut ordinary(&runner, &["resume", run.id()]));
    resumed.finish().expect(7).says(&["check the owner"]);
    lock(&run.dir, false);
    let mut resumed = runner.started(&["resume", run.id(), "--json"]);
    resumed.wait_until_running(&runner, 1);
    resumed.end_by(Signal::INT).0.expect(130);
    assert_eq!(run.ending()[..2], ["incomplete", "interrupted"]);
}

#[test]
fn read_only_root_costs_only_the_list() {
    let (runner, running, run) = endless();
    let root = runner.path("results");
    let list = root.join("runner.db");
    let _ = fs::remove_file(&list);
    lock(&root, true);
    let refused = Running::start(&mut ordinary(&runner, &["exec", "scenario.toml"]));
    refused.finish().expect(7).says(&["results"]);
    let (ran, took) = running.end_by(Signal::INT);
    ran.expect(130);
    assert!(took.as_secs() < 10, "{took:?}");
    assert_eq!(run.ending()[..2], ["incomplete", "interrupted"]);
    let listed = Running::start(&mut ordinary(&runner, &["list", "--json"])).finish();
    assert_eq!(listed.expect(0).document()["runs"][0]["reason"], "interrupted");
    lock(&root, false);
}

#[test]
fn deleted_run_ends_with_storage() {
    let (runner, running, run) = endless();
    // The run writes `live.json` meanwhile.
    wait_until("the run is gone", || fs::remove_dir_all(&run.dir).is_ok());
    let (ran, took) = running.end_by(Signal::INT);
    let ran = ran.expect(7);
    ran.says(&[run.id(), "another program has moved or removed the run"]);
    assert!(!ran.stdout.contains("results: "), "{}", ran.stdout);
    assert!(took.as_secs() < 10, "{took:?}");
    assert!(!run.dir.exists(), "it was made anew");
    assert!(runner.list().is_empty());
    runner.run(&["resume"]).expect(2);
}

#[test]
fn read_only_cache_fails_the_set_up() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    let cache = runner.path("cache");
    let start = |args: &[&str]| {
        let mut command = ordinary(&runner, args);
        Running::start(command.env("RUNNER_CACHE", &cache)).finish()
    };
    start(&["exec", "scenario.toml"]).expect(0);
    fs::remove_dir_all(runner.path("results")).unwrap();
    // The cache knows the file, but the compiled code is gone.
    for entry in fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none() {
            fs::remove_file(path).unwrap();
        }
    }
    lock(&cache, true);
    let ran = start(&["exec", "scenario.toml"]).expect(3);
    snapshot(&ran);
    let run = runner.only_run();
    assert_eq!(run.ending()[..2], ["failed", "setup"]);
    assert_eq!(runner.list()[0]["exit_code"], 3);
    lock(&cache, false);
    start(&["resume", run.id()]).expect(0);
    assert_eq!(run.ending()[0], "completed");
}

#[test]
fn prune_leaves_what_it_cannot_delete() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.exec(&[]).expect(0);
    let (root, run) = (runner.path("results"), runner.only_run());
    let id = run.id();
    for folder in [&root, &run.dir] {
        lock(folder, true);
        let args = ["prune", id, "--yes"];
        let ran = Running::start(&mut ordinary(&runner, &args)).finish().expect(7);
        snapshot(&ran);
        ran.says(&[&format!("cannot remove results/{id}")]);
        lock(folder, false);
        runner.run(&["verify", id]).expect(0).says(&["1 row"]);
    }
    let deleted = runner.run(&["prune", id, "--yes"]).expect(0);
    snapshot(&deleted);
    assert!(!run.dir.exists());
}

/// Creates a module that the cache has, and a run of it. A limit of the file size then concerns only files of runs.
fn small() -> Runner {
    let runner = Runner::new(&[]);
    runner.wat("plugin.wasm", &printing("1"));
    runner.scenario("[providers.p]\nplugin = \"plugin.wasm\"\n[[tests]]\nid = \"a\"\n");
    runner.exec(&[]).expect(0);
    fs::remove_dir_all(runner.path("results")).unwrap();
    runner
}

/// Runs the scenario with this limit of the file size, in blocks of 512 bytes or, for some shells, 1 KiB.
fn limited(runner: &Runner, blocks: u32) -> Finished {
    let script = format!("ulimit -f {blocks}; exec \"$runner\" exec scenario.toml --json");
    Running::start(&mut runner.shell(&script)).finish()
}

#[test]
fn run_without_reserve_is_not_created() {
    let runner = small();
    let ran = limited(&runner, 60).expect(7);
    snapshot(&ran);
    assert_eq!(ran.stdout, "");
    let left = fs::read_dir(runner.path("results")).unwrap();
    let left: Vec<_> =
        left.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()).collect();
    assert_eq!(left.len(), 1, "only the store: {left:?}");
    let ran = limited(&runner, 1000).expect(0);
    assert_eq!(ran.events().pop().unwrap()["event"], "finished");
    // A session that is resumed needs the space, too.
    let run = runner.only_run();
    let before = run.manifest();
    let script = "ulimit -f 60; exec \"$runner\" resume latest --rerun all";
    let resumed = Running::start(&mut runner.shell(script)).finish().expect(7);
    snapshot(&resumed);
    assert_eq!(run.manifest(), before);
}

#[test]
fn file_size_limit_is_named() {
    let runner = small();
    let tests: String = (0..4000).map(|number| format!("{{\"id\":\"test-{number}\"}}\n")).collect();
    runner.write("list.jsonl", tests);
    runner.scenario(
        "[providers.p]\nplugin = \"plugin.wasm\"\n[[test_lists]]\nfiles = [\"list.jsonl\"]\n",
    );
    let ran = limited(&runner, 90).expect(3);
    ran.says(&["File too large", "`ulimit -f`", "TMPDIR"]);
    assert!(runner.runs().is_empty());
    // Each command survives the signal.
    for (command, folder) in [("init new", "new"), ("plugin new mine --lang c", "mine")] {
        let script = format!("ulimit -f 0; exec \"$runner\" {command}");
        let ran = Running::start(&mut runner.shell(&script)).finish().expect(7);
        ran.says(&[folder, "`ulimit -f`"]);
        // Nothing is left that a second call would refuse.
        let args: Vec<_> = command.split(' ').collect();
        runner.run(&args).expect(0);
    }
}

#[test]
fn read_only_file_system_can_be_read() {
    let runner = small();
    if !may_mount(&runner) {
        return;
    }
    runner.exec(&[]).expect(0);
    let id = runner.only_run().id().to_owned();
    let run = |args: &[&str]| {
        let script = r#"exec unshare -Urm sh -c 'mount --bind results results && mount -o remount,ro,bind results && exec "$runner" "$@"' sh "$@""#;
        let mut command = runner.shell(script);
        Running::start(command.arg("sh").args(args)).finish()
    };
    for args in
        [&["list"][..], &["show", &id], &["verify", &id], &["wait", &id], &["cleanup", "--yes"]]
    {
        let ran = run(args).expect(0);
        assert!(!ran.stderr.contains("warning"), "{args:?}: {}", ran.stderr);
    }
    for args in [
        &["exec", "scenario.toml"][..],
        &["resume", &id, "--rerun", "all"],
        &["prune", &id, "--yes"],
    ] {
        snapshot(&run(args).expect(7));
    }
    runner.run(&["verify", &id]).expect(0);
}

#[test]
fn full_temporary_folder_loses_no_event() {
    // Rows of two runs are limited one by one, their events together.
    let text =
        "[[tests]]\nid = \"a\"\nrepeat = 80\ninput = { do = \"huge-reply\", bytes = 20000 }\n";
    let runner = Runner::hostile(text);
    const LIMIT: u64 = 2_000_000;
    let script =
        format!("exec prlimit --fsize={LIMIT} \"$runner\" exec scenario.toml scenario.toml --json");
    let mut command = runner.shell(&script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().unwrap();
    let files = format!("/proc/{}/fd", child.id());
    // Nothing reads the events, so they wait in a temporary file.
    wait_until("a write has failed", || {
        let mut files = fs::read_dir(&files).unwrap().map(|file| file.unwrap().path());
        files.any(|file| fs::metadata(file).is_ok_and(|file| file.len() == LIMIT))
    });
    let events = Running::read(&command, child).finish().expect(0).events();
    let rows = events.iter().filter(|event| event["event"] == "row").count();
    assert_eq!((rows, &events.last().unwrap()["event"]), (160, &json!("finished")));
}
